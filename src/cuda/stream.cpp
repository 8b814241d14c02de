#include "cuda/stream.hpp"

#include "cuda/device.hpp"

namespace cuthresh::cuda {

Stream::Stream(Health& health, int device) : health_(health) {
  const OnDevice here(health, device);
  health.check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking),
               "cudaStreamCreateWithFlags");
}

Stream::~Stream() {
  health_.note(cudaStreamDestroy(stream_), "cudaStreamDestroy");
}

Handover::~Handover() {
  if (event_ != nullptr) health_.note(cudaEventDestroy(event_), "cudaEventDestroy");
}

bool is_captured(Health& health, StreamView stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  const cudaError_t error = cudaStreamIsCapturing(stream.get(), &status);
  // The default stream, while another that waits for it is captured.
  if (error == cudaErrorStreamCaptureImplicit) {
    (void)cudaGetLastError();
    return true;
  }
  health.check(error, "cudaStreamIsCapturing");
  return status != cudaStreamCaptureStatusNone;
}

void Handover::order(StreamView earlier, StreamView later) {
  if (is_captured(health_, earlier) || is_captured(health_, later)) return;
  if (event_ == nullptr) {
    health_.check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming),
                  "cudaEventCreateWithFlags");
  }
  health_.check(cudaEventRecord(event_, earlier.get()), "cudaEventRecord");
  health_.check(cudaStreamWaitEvent(later.get(), event_, 0), "cudaStreamWaitEvent");
}

Pace::~Pace() {
  for (const cudaEvent_t mark : marks_) {
    if (mark != nullptr) health_.note(cudaEventDestroy(mark), "cudaEventDestroy");
  }
}

void Pace::step(StreamView stream, std::int64_t steps) {
  steps_ += steps;
  if (steps_ < kSteps) return;
  steps_ = 0;
  turn_ = 1 - turn_;
  if (marks_[turn_] == nullptr) {
    // The thread sleeps while it waits; times are not taken.
    health_.check(
        cudaEventCreateWithFlags(&marks_[turn_], cudaEventDisableTiming | cudaEventBlockingSync),
        "cudaEventCreateWithFlags");
  }
  health_.check(cudaEventRecord(marks_[turn_], stream.get()), "cudaEventRecord");
  const cudaEvent_t earlier = marks_[1 - turn_];
  if (earlier != nullptr) health_.check(cudaEventSynchronize(earlier), "cudaEventSynchronize");
}

}  // namespace cuthresh::cuda
