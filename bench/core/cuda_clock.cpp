#include "bench/core/cuda_clock.hpp"

#include <algorithm>
#include <memory>

#include "bench/core/cuda_graph.hpp"

namespace cuthresh::bench {
namespace {

// Nodes of a graph: of the shortest kernels more than 2 ms.
constexpr std::int64_t kMostGraphCalls = 4096;

class Event {
 public:
  Event() { expect_success(cudaEventCreate(&event_), "cudaEventCreate"); }
  ~Event() { (void)cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(cudaStream_t stream) {
    expect_success(cudaEventRecord(event_, stream), "cudaEventRecord");
  }
  double seconds_since(const Event& begin) const {
    expect_success(cudaEventSynchronize(event_), "cudaEventSynchronize");
    float milliseconds = 0.0f;
    expect_success(cudaEventElapsedTime(&milliseconds, begin.event_, event_),
                   "cudaEventElapsedTime");
    return 1e-3 * static_cast<double>(milliseconds);
  }

 private:
  cudaEvent_t event_{};
};

}  // namespace

Timing CudaClock::time(Workload& workload, const CallLimits& limits) {
  if (limits.waits) return wall_.time(workload, limits);
  const cudaStream_t stream = stream_of(backend_);
  Event begin, end;
  std::unique_ptr<Graph> graph;
  std::int64_t captured = 0;
  const auto capture = [&](std::int64_t calls) {
    graph.reset();
    graph = std::make_unique<Graph>(stream, [&] {
      for (std::int64_t i = 0; i < calls; ++i) workload.call(i % limits.sets);
    });
    captured = calls;
  };
  const std::int64_t most = std::max(kMostGraphCalls, limits.sets);
  CallLimits of_graph = limits;
  of_graph.max_calls = limits.max_calls > 0 ? std::min(limits.max_calls, most) : most;
  return take_samples(options_, of_graph, [&](std::int64_t calls) {
    if (calls != captured) capture(calls);
    workload.reset();
    begin.record(stream);
    graph->launch();
    end.record(stream);
    return end.seconds_since(begin);
  });
}

}  // namespace cuthresh::bench
