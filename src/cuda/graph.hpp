#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <string>

#include "backend/backend.hpp"
#include "cuda/context.hpp"

namespace cuthresh::cuda {

/// Owner of a captured graph.
class Graph {
 public:
  explicit Graph(Health& health) noexcept : health_(health) {}
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  cudaGraph_t get() const noexcept { return graph_; }
  /// Where cudaStreamEndCapture puts it.
  cudaGraph_t* place() noexcept { return &graph_; }

 private:
  Health& health_;
  cudaGraph_t graph_ = nullptr;
};

/// Owner of a graph that can be launched.
class CudaStepGraph final : public StepGraph {
 public:
  /// Throws when the graph cannot be instantiated.
  CudaStepGraph(Context& context, const Graph& graph);
  ~CudaStepGraph() override;

  void launch();

 private:
  Context& context_;
  cudaGraphExec_t exec_ = nullptr;
};

/// Empty when every node is one that replays as it was enqueued; else which is not, and why. Of a
/// memory node its bytes, of a host node that it is one: a graph with either would wait or give
/// memory at every replay.
std::string find_foreign_node(Health& health, const Graph& graph);

/// Captures what `enqueue` enqueues on the context's stream, in thread-local mode: other threads of
/// the process go on with what they do. What fails in between is the refusal, and the stream is as
/// before. Throws what is no refusal: an unusable context, or another exception of `enqueue`.
Captured capture_steps(Context& context, const std::function<void()>& enqueue);

}  // namespace cuthresh::cuda
