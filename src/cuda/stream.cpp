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

}  // namespace cuthresh::cuda
