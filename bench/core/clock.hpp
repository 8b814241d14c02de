#pragma once

// How a call's time is taken. Each kind of room has its clock: the wall for the CPU, the device's
// own events for a GPU (cuda_clock.hpp).

#include <cstdint>
#include <functional>
#include <vector>

#include "bench/core/case.hpp"

namespace cuthresh::bench {

struct ClockOptions {
  double min_seconds = 0.3;  ///< of one measurement
  bool smoke = false;        ///< three samples of one call a set: its times mean nothing
};

/// How a case may be called.
struct CallLimits {
  std::int64_t sets = 1;         ///< that the calls are rotated over
  std::int64_t max_calls = 0;    ///< as in Case
  std::int64_t max_samples = 0;  ///< as in Case
  bool waits = false;            ///< as in Case
};

class Clock {
 public:
  Clock() = default;
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;
  virtual ~Clock() = default;

  /// Times calls, from a reset() before each sample.
  virtual Timing time(Workload& workload, const CallLimits& limits) = 0;
};

/// Minimum, median and 90th percentile of samples in microseconds a call.
Timing timing_of(std::vector<double> samples, std::int64_t calls);

/// Seconds that `calls` calls take, from the initial state.
using Sample = std::function<double(std::int64_t calls)>;

/// Finds how many calls make a sample of 2 ms, whole rotations over the sets, then takes samples
/// for min_seconds: 30 or more of short ones, 5 or more of long ones, 3 of more than a second.
Timing take_samples(const ClockOptions& options, const CallLimits& limits, const Sample& sample);

/// Seconds since some moment.
double steady_seconds();

/// From the first call of a sample until all of them are done. Also for calls that wait.
class WallClock final : public Clock {
 public:
  WallClock(Backend& backend, const ClockOptions& options,
            std::function<double()> now = steady_seconds)
      : backend_(backend), options_(options), now_(std::move(now)) {}

  Timing time(Workload& workload, const CallLimits& limits) override;

 private:
  Backend& backend_;
  ClockOptions options_;
  std::function<double()> now_;
};

}  // namespace cuthresh::bench
