#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "cuda/check.hpp"

namespace cuthresh::cuda {

/// A stream that someone else owns. There is none for the default stream: it cannot be made from 0,
/// so work never lands there, where it would wait for everything else on the device.
class StreamView {
 public:
  StreamView(int) = delete;
  StreamView(std::nullptr_t) = delete;
  cudaStream_t get() const noexcept { return stream_; }

 private:
  friend class Stream;
  explicit StreamView(cudaStream_t stream) noexcept : stream_(stream) {}
  cudaStream_t stream_;
};

/// Owner of a stream of its own, which does not wait for the default stream.
class Stream {
 public:
  explicit Stream(Health& health);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  StreamView view() const noexcept { return StreamView(stream_); }
  /// Waits until everything enqueued is done.
  void synchronize() const;

 private:
  Health& health_;
  cudaStream_t stream_ = nullptr;
};

}  // namespace cuthresh::cuda
