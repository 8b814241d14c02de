#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "cuda/check.hpp"

namespace cuthresh::cuda {

/// A stream that someone else owns. The default stream, where work waits for everything else on the
/// device, has to be named by callers(): nothing lands there by a forgotten argument.
class StreamView {
 public:
  StreamView(int) = delete;
  StreamView(std::nullptr_t) = delete;
  /// The caller's cudaStream_t; null is the default stream.
  static StreamView callers(void* stream) noexcept {
    return StreamView(static_cast<cudaStream_t>(stream));
  }
  cudaStream_t get() const noexcept { return stream_; }

 private:
  friend class Stream;
  explicit StreamView(cudaStream_t stream) noexcept : stream_(stream) {}
  cudaStream_t stream_;
};

/// Owner of a stream of its own on a device, which does not wait for the default stream.
class Stream {
 public:
  Stream(Health& health, int device);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  StreamView view() const noexcept { return StreamView(stream_); }

 private:
  Health& health_;
  cudaStream_t stream_ = nullptr;
};

/// Whether what is enqueued there goes into a graph.
bool is_captured(Health& health, StreamView stream);

/// Makes what is enqueued on one stream from here on wait for what is on another by now.
class Handover {
 public:
  explicit Handover(Health& health) noexcept : health_(health) {}
  ~Handover();
  Handover(const Handover&) = delete;
  Handover& operator=(const Handover&) = delete;

  /// Nothing where one of them is being captured: a graph holds what is enqueued into it, and work
  /// outside it cannot be waited for from inside.
  void order(StreamView earlier, StreamView later);

 private:
  Health& health_;
  cudaEvent_t event_ = nullptr;  // made when first needed
};

/// Keeps a host that only enqueues near its device: every kSteps steps, or after more at once, it
/// waits for the mark before this one, so that at most twice as many are under way. Nothing is read
/// back.
class Pace {
 public:
  /// Enough to hide a wait behind, few enough that little is enqueued for nothing after a stop.
  static constexpr std::int64_t kSteps = 32;

  explicit Pace(Health& health) noexcept : health_(health) {}
  ~Pace();
  Pace(const Pace&) = delete;
  Pace& operator=(const Pace&) = delete;

  /// After `steps` steps were enqueued.
  void step(StreamView stream, std::int64_t steps);

 private:
  Health& health_;
  std::array<cudaEvent_t, 2> marks_{};  // made when first needed
  std::int64_t steps_ = 0;              // since the last mark
  std::size_t turn_ = 0;
};

}  // namespace cuthresh::cuda
