#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace cuthresh::testing {

/// Address space of which only the pages that are touched exist: tensors of more than 2^31 entries
/// on a small machine. False where the system refuses.
class SparseMemory {
 public:
  explicit SparseMemory(std::int64_t bytes)
      : bytes_(static_cast<std::size_t>(bytes)),
        at_(mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  ~SparseMemory() {
    if (at_ != MAP_FAILED) munmap(at_, bytes_);
  }
  SparseMemory(const SparseMemory&) = delete;
  SparseMemory& operator=(const SparseMemory&) = delete;

  explicit operator bool() const { return at_ != MAP_FAILED; }
  std::size_t bytes() const { return bytes_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(at_);
  }

 private:
  std::size_t bytes_;
  void* at_;
};

}  // namespace cuthresh::testing
