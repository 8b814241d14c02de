#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "backend/backend.hpp"

namespace cuthresh {

/// Owner of `size` elements of device memory, or a view of them. The backend must outlive it.
template <class T>
class Array {
 public:
  Array() = default;
  Array(Backend& backend, std::int64_t size)
      : backend_(&backend),
        data_(static_cast<T*>(backend.allocate(static_cast<std::size_t>(size) * sizeof(T)))),
        size_(size) {}
  Array(Backend& backend, std::span<const T> host)
      : Array(backend, static_cast<std::int64_t>(host.size())) {
    backend.upload(data_, host.data(), bytes());
  }
  /// Of a room whose memory is the host's (Operation::kHostMemory): nobody's memory, which is not
  /// written and stays.
  static Array view(std::span<const T> host) {
    Array array;
    array.data_ = const_cast<T*>(host.data());
    array.size_ = static_cast<std::int64_t>(host.size());
    return array;
  }
  Array(Array&& other) noexcept { swap(other); }
  Array& operator=(Array&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Array() {
    if (backend_ != nullptr && data_ != nullptr) backend_->deallocate(data_);
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::int64_t size() const { return size_; }
  std::size_t bytes() const { return static_cast<std::size_t>(size_) * sizeof(T); }

  void zero() { backend_->zero(data_, bytes()); }
  void copy_from(const Array& other) { backend_->copy(data_, other.data_, bytes()); }
  std::vector<T> to_host() const {
    std::vector<T> host(static_cast<std::size_t>(size_));
    backend_->download(host.data(), data_, bytes());
    return host;
  }

 private:
  void swap(Array& other) noexcept {
    std::swap(backend_, other.backend_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  Backend* backend_ = nullptr;
  T* data_ = nullptr;
  std::int64_t size_ = 0;
};

}  // namespace cuthresh
