#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "backend/check_values.hpp"
#include "cpu/backend_impl.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::cpu {

void* CpuBackend::allocate(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  // From 4 MiB on, whole 2 MiB pages: a pass over 25 M weights otherwise waits for the page tables.
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  const bool large = bytes >= 2 * kHugePage;
  const std::size_t alignment = large ? kHugePage : 64;
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* pointer = rounded < bytes ? nullptr : std::aligned_alloc(alignment, rounded);
  if (pointer == nullptr) {
    throw InternalError({"memory", "could not allocate", std::to_string(bytes) + " bytes",
                         "use a smaller network or batch, or a machine with more memory"});
  }
  if (large) ::madvise(pointer, rounded, MADV_HUGEPAGE);
  return pointer;
}

void CpuBackend::set_stream(void* stream) {
  if (stream == nullptr) return;
  refuse("set_stream", "the CPU has no streams", hex(stream), "pass a null pointer");
}

void CpuBackend::deallocate(void* pointer) noexcept {
  std::free(pointer);
}

void CpuBackend::upload(void* to, const void* from, std::size_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
}

void CpuBackend::copy(void* to, const void* from, std::size_t bytes) {
  upload(to, from, bytes);
}

void CpuBackend::zero(void* to, std::size_t bytes) {
  if (bytes != 0) std::memset(to, 0, bytes);
}

void CpuBackend::download(void* to, const void* from, std::size_t bytes) {
  upload(to, from, bytes);
  bytes_to_host_ += bytes;
}

void CpuBackend::gather_rows(void* to, const void* from, const std::int64_t* index,
                             std::int64_t rows, std::size_t row_bytes, const StepRows& of_step) {
  if (rows == 0) return;
  index += first_row(of_step);
  auto* target = static_cast<char*>(to);
  const auto* source = static_cast<const char*>(from);
  threads_.ranges(rows, 4096, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::memcpy(target + static_cast<std::size_t>(i) * row_bytes,
                  source + static_cast<std::size_t>(index[i]) * row_bytes, row_bytes);
    }
  });
}

}  // namespace cuthresh::cpu
