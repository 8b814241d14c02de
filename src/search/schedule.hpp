#pragma once

// The phases of one training that ends with exactly its targets (docs/one-run.md), as pure
// functions of the step's number: what a step does, and whether λ is updated after it.

#include <cstdint>
#include <string>

#include "kernels/math/control.hpp"

namespace cuthresh::search {

/// Shares of the steps, and gains.
struct RunShares {
  double ramp_begin = 0.05;
  double ramp_end = 0.6;
  double finish = 0.02;         ///< before the debias; at least a step whatever it says
  double debias = 0.2;          ///< the last steps
  double integral_gain = 30.0;  ///< over all steps
  double proportional_gain = 1.0;
};

/// What the caller calls these numbers, for messages.
struct RunNames {
  std::string steps = "steps";
  std::string ramp_begin = "ramp_begin";
  std::string ramp_end = "ramp_end";
  std::string finish = "finish";
  std::string debias = "debias";
  std::string integral_gain = "integral_gain";
  std::string proportional_gain = "proportional_gain";
  std::string update_every = "update_every";
};

/// What a step does.
enum class RunPhase : std::uint8_t {
  kDense,   ///< λ = 0
  kRamp,    ///< the count wanted falls
  kHold,    ///< it is the target's
  kFinish,  ///< Backend::keep_targets
  kDebias,  ///< zeros are frozen: Backend::freeze comes before the first of these
  kDone     ///< all steps are taken
};

struct RunSchedule {
  ControlRule rule;
  std::int64_t steps = 0;
  std::int64_t finish_at = 0;     ///< the first step of that phase; ≥ rule.ramp_end
  std::int64_t debias_at = 0;     ///< the same, > finish_at; as many as the steps: none
  std::int64_t update_every = 1;  ///< steps between two updates of λ

  /// Of step `index`, from 0.
  RunPhase phase(std::int64_t index) const;
  /// Whether λ is updated after step `index`.
  bool updates_after(std::int64_t index) const;
};

/// `update_every` 0: so that λ is updated at most 2,000 times. Throws InputError when a number is
/// out of its range, or there are too few steps for a ramp, a finish and what comes between.
RunSchedule make_run_schedule(std::int64_t steps, const RunShares& shares,
                              std::int64_t update_every = 0, const RunNames& names = {});

/// λ to begin with: it takes `share` of weights that lie evenly on ±`bound` to zero within steps
/// whose learning rates add up to `way`, when no gradient holds them up.
float first_lambda(double bound, double share, double way);

}  // namespace cuthresh::search
