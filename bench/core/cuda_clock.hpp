#pragma once

#include "bench/core/clock.hpp"

namespace cuthresh::bench {

/// The device's own time, by events round the replay of a graph of many calls; for calls that wait
/// the wall's.
class CudaClock final : public Clock {
 public:
  CudaClock(Backend& cuda_room, const ClockOptions& options)
      : backend_(cuda_room), options_(options), wall_(cuda_room, options) {}

  Timing time(Workload& workload, const CallLimits& limits) override;

 private:
  Backend& backend_;
  ClockOptions options_;
  WallClock wall_;
};

}  // namespace cuthresh::bench
