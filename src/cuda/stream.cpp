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

bool Handover::is_captured(StreamView stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  const cudaError_t error = cudaStreamIsCapturing(stream.get(), &status);
  // The default stream, while another that waits for it is captured.
  if (error == cudaErrorStreamCaptureImplicit) {
    (void)cudaGetLastError();
    return true;
  }
  health_.check(error, "cudaStreamIsCapturing");
  return status != cudaStreamCaptureStatusNone;
}

void Handover::order(StreamView earlier, StreamView later) {
  if (is_captured(earlier) || is_captured(later)) return;
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

void Pace::step(StreamView stream) {
  if (++steps_ % kSteps != 0) return;
  const auto turn = static_cast<std::size_t>(steps_ / kSteps % 2);
  if (marks_[turn] == nullptr) {
    // The thread sleeps while it waits; times are not taken.
    health_.check(
        cudaEventCreateWithFlags(&marks_[turn], cudaEventDisableTiming | cudaEventBlockingSync),
        "cudaEventCreateWithFlags");
  }
  health_.check(cudaEventRecord(marks_[turn], stream.get()), "cudaEventRecord");
  const cudaEvent_t earlier = marks_[1 - turn];
  if (earlier != nullptr) health_.check(cudaEventSynchronize(earlier), "cudaEventSynchronize");
}

}  // namespace cuthresh::cuda
