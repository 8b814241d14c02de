#pragma once

#include <cstdint>

#include "kernels/platform.hpp"

namespace cuthresh {

/// Which step of a run a launch belongs to, from 0: as many as were taken, read where the launch
/// runs, so that a captured launch is that of the step it is replayed in. Or a number.
struct StepNumber {
  const std::uint64_t* taken = nullptr;  ///< StepHeader::steps; null: `number`
  std::int64_t number = 0;

  CTH_HD std::int64_t operator()() const {
    return taken == nullptr ? number : static_cast<std::int64_t>(*taken);
  }
};

/// Where the rows of a step begin in the order of its epoch.
struct RowsOfStep {
  StepNumber step;
  std::int64_t batch = 0;  ///< rows a step; 0: every step begins at the beginning
  std::int64_t steps_an_epoch = 1;

  CTH_HD std::int64_t first() const { return batch == 0 ? 0 : step() % steps_an_epoch * batch; }
};

}  // namespace cuthresh
