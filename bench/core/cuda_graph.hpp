#pragma once

// CUDA graphs for whoever times or tests what the room enqueues.

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#include "cuda/backend_impl.hpp"
#include "cuda/check.hpp"

namespace cuthresh::bench {

inline void expect_success(cudaError_t status, const char* call) {
  if (status != cudaSuccess) {
    throw std::runtime_error(std::string(call) + ": " + cuda::error_text(status));
  }
}

inline cudaStream_t stream_of(Backend& room) {
  return dynamic_cast<cuda::CudaBackend&>(room).context().stream().get();
}

/// What `enqueue` puts on a stream, as a graph.
class Graph {
 public:
  template <class F>
  Graph(cudaStream_t stream, F enqueue) : stream_(stream) {
    cudaGraph_t graph{};
    expect_success(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
                   "cudaStreamBeginCapture");
    try {
      enqueue();
    } catch (...) {  // the stream is to be usable by whoever comes next
      if (cudaStreamEndCapture(stream, &graph) == cudaSuccess) (void)cudaGraphDestroy(graph);
      (void)cudaGetLastError();
      throw;
    }
    expect_success(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
    const cudaError_t status = cudaGraphInstantiate(&executable_, graph, 0);
    (void)cudaGraphDestroy(graph);
    expect_success(status, "cudaGraphInstantiate");
  }
  ~Graph() { (void)cudaGraphExecDestroy(executable_); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void launch() { expect_success(cudaGraphLaunch(executable_, stream_), "cudaGraphLaunch"); }

 private:
  cudaStream_t stream_;
  cudaGraphExec_t executable_{};
};

}  // namespace cuthresh::bench
