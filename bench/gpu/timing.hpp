#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

#include "gpu/support.hpp"

namespace cuthresh::bench {

/// Microseconds a call.
struct Timing {
  double min = 0.0, median = 0.0, p90 = 0.0;
  int samples = 0;
  std::int64_t calls = 0;  ///< in each sample
};

inline Timing timing_of(std::vector<double> samples, std::int64_t calls) {
  std::sort(samples.begin(), samples.end());
  const std::size_t n = samples.size();
  return {samples.front(), samples[n / 2], samples[std::min(n - 1, n * 9 / 10)],
          static_cast<int>(n), calls};
}

inline int sample_count() {
  return testing::is_small() ? 3 : 40;
}

/// The device's own time, by events round replays of a graph of many calls that lasts 2 ms or more.
/// `enqueue(i)` puts the i-th of `sets` calls on the stream; each set has buffers of its own.
inline Timing time_graph(cudaStream_t stream, std::int64_t sets,
                         const std::function<void(std::int64_t)>& enqueue) {
  using testing::expect_success;
  struct Event {
    cudaEvent_t event{};
    Event() { expect_success(cudaEventCreate(&event), "cudaEventCreate"); }
    ~Event() { (void)cudaEventDestroy(event); }
  } begin, end;
  const auto replay = [&](testing::Graph& graph) {
    expect_success(cudaEventRecord(begin.event, stream), "cudaEventRecord");
    graph.launch();
    expect_success(cudaEventRecord(end.event, stream), "cudaEventRecord");
    expect_success(cudaEventSynchronize(end.event), "cudaEventSynchronize");
    float milliseconds = 0.0f;
    expect_success(cudaEventElapsedTime(&milliseconds, begin.event, end.event),
                   "cudaEventElapsedTime");
    return 1e3 * static_cast<double>(milliseconds);
  };
  const auto capture = [&](std::int64_t calls) {
    return std::make_unique<testing::Graph>(stream, [&] {
      for (std::int64_t i = 0; i < calls; ++i) enqueue(i % sets);
    });
  };
  const std::int64_t most = testing::is_small() ? 2 * sets : 4096;
  std::int64_t calls = std::max<std::int64_t>(sets, testing::is_small() ? 1 : 16);
  auto graph = capture(calls);
  replay(*graph);  // the first replay uploads it
  const double once = std::max(replay(*graph), 1.0);
  if (once < 2000.0 && calls < most) {
    const double more =
        std::min(2500.0 / once, static_cast<double>(most) / static_cast<double>(calls));
    calls = std::max<std::int64_t>(
                1, static_cast<std::int64_t>(more * static_cast<double>(calls)) / sets) *
            sets;
    graph = capture(calls);
    replay(*graph);
  }
  std::vector<double> samples;
  for (int i = 0; i < sample_count(); ++i) {
    samples.push_back(replay(*graph) / static_cast<double>(calls));
  }
  return timing_of(samples, calls);
}

/// Wall time of calls that wait for their result, or of a batch that is waited for at its end.
inline Timing time_calls(std::int64_t calls, const std::function<void()>& batch) {
  using Clock = std::chrono::steady_clock;
  batch();
  std::vector<double> samples;
  for (int i = 0; i < sample_count(); ++i) {
    const auto start = Clock::now();
    batch();
    const std::chrono::duration<double, std::micro> took = Clock::now() - start;
    samples.push_back(took.count() / static_cast<double>(calls));
  }
  return timing_of(samples, calls);
}

}  // namespace cuthresh::bench
