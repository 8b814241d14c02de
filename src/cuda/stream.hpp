#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <cstdint>

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

/// Keeps a host that only enqueues near its device: every kSteps steps it waits for the step that
/// was enqueued kSteps earlier, so that at most 2·kSteps are under way. Nothing is read back.
class Pace {
 public:
  /// Enough to hide a wait behind, few enough that little is enqueued for nothing after a stop.
  static constexpr std::int64_t kSteps = 32;

  explicit Pace(Health& health) noexcept : health_(health) {}
  ~Pace();
  Pace(const Pace&) = delete;
  Pace& operator=(const Pace&) = delete;

  /// After a step was enqueued.
  void step(StreamView stream);

 private:
  Health& health_;
  std::array<cudaEvent_t, 2> marks_{};  // made when first needed
  std::int64_t steps_ = 0;
};

}  // namespace cuthresh::cuda
