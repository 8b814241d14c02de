#include "cuda/stream.hpp"

namespace cuthresh::cuda {

Stream::Stream(Health& health) : health_(health) {
  health.check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking),
               "cudaStreamCreateWithFlags");
}

Stream::~Stream() {
  health_.note(cudaStreamDestroy(stream_), "cudaStreamDestroy");
}

void Stream::synchronize() const {
  health_.check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
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
