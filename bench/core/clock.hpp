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

class Clock {
 public:
  Clock() = default;
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;
  virtual ~Clock() = default;

  /// Times calls rotated over `sets`, from a reset() before each sample, which has at most
  /// `max_calls` calls (0: any number). `waits` as in Case.
  virtual Timing time(Workload& workload, std::int64_t sets, std::int64_t max_calls,
                      bool waits) = 0;
};

/// Minimum, median and 90th percentile of samples in microseconds a call.
Timing timing_of(std::vector<double> samples, std::int64_t calls);

/// Seconds that `calls` calls take, from the initial state.
using Sample = std::function<double(std::int64_t calls)>;

/// Finds how many calls make a sample of 2 ms, whole rotations over the sets, then takes samples
/// for min_seconds: 30 or more of short ones, 5 or more of long ones, 3 of more than a second.
Timing take_samples(const ClockOptions& options, std::int64_t sets, std::int64_t max_calls,
                    const Sample& sample);

/// Seconds since some moment.
double steady_seconds();

/// From the first call of a sample until all of them are done. Also for calls that wait.
class WallClock final : public Clock {
 public:
  WallClock(Backend& backend, const ClockOptions& options,
            std::function<double()> now = steady_seconds)
      : backend_(backend), options_(options), now_(std::move(now)) {}

  Timing time(Workload& workload, std::int64_t sets, std::int64_t max_calls, bool waits) override;

 private:
  Backend& backend_;
  ClockOptions options_;
  std::function<double()> now_;
};

}  // namespace cuthresh::bench
