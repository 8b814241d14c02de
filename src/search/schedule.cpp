#include "search/schedule.hpp"

#include <algorithm>
#include <cmath>

#include "cuthresh/error.hpp"

namespace cuthresh::search {
namespace {

/// log λ moves within its beginning and this much either way: a factor of 5·10^8.
constexpr float kLogRange = 20.0f;

void check_share(const std::string& name, double value, const char* remedy) {
  if (value >= 0.0 && value <= 1.0) return;
  throw InputError(
      {name, "must be a share of the steps, from 0 to 1", std::to_string(value), remedy});
}

void check_gain(const std::string& name, double value) {
  if (std::isfinite(value) && value >= 0.0 && value <= 1e6) return;
  throw InputError({name, "must be from 0 to 10^6", std::to_string(value), "0 switches it off"});
}

void check_numbers(std::int64_t steps, const RunShares& shares, std::int64_t update_every,
                   const RunNames& names) {
  check_share(names.ramp_begin, shares.ramp_begin, "the default is 0.05");
  check_share(names.ramp_end, shares.ramp_end, "the default is 0.6");
  check_share(names.finish, shares.finish, "the default is 0.02");
  check_share(names.debias, shares.debias, "the default is 0.2");
  check_gain(names.integral_gain, shares.integral_gain);
  check_gain(names.proportional_gain, shares.proportional_gain);
  if (steps < 1) {
    throw InputError({names.steps, "must be at least 1", std::to_string(steps),
                      "give the number of steps of the whole training"});
  }
  if (update_every < 0 || update_every > steps) {
    throw InputError({names.update_every, "must be from 0 to the number of steps",
                      std::to_string(update_every), "0 lets the library choose"});
  }
}

}  // namespace

RunPhase RunSchedule::phase(std::int64_t index) const {
  if (index >= steps) return RunPhase::kDone;
  if (index >= debias_at) return RunPhase::kDebias;
  if (index >= finish_at) return RunPhase::kFinish;
  if (index >= rule.ramp_end) return RunPhase::kHold;
  return index >= rule.ramp_begin ? RunPhase::kRamp : RunPhase::kDense;
}

bool RunSchedule::updates_after(std::int64_t index) const {
  const std::int64_t taken = index + 1;
  return taken < finish_at && taken % update_every == 0;
}

RunSchedule make_run_schedule(std::int64_t steps, const RunShares& shares,
                              std::int64_t update_every, const RunNames& names) {
  check_numbers(steps, shares, update_every, names);
  const auto at = [&](double share) {
    return static_cast<std::int64_t>(std::llround(share * static_cast<double>(steps)));
  };
  RunSchedule schedule;
  schedule.steps = steps;
  schedule.rule.ramp_begin = at(shares.ramp_begin);
  schedule.rule.ramp_end = at(shares.ramp_end);
  schedule.debias_at = steps - at(shares.debias);
  schedule.finish_at = schedule.debias_at - std::max<std::int64_t>(1, at(shares.finish));
  if (schedule.rule.ramp_end <= schedule.rule.ramp_begin ||
      schedule.finish_at < schedule.rule.ramp_end) {
    // A caller may have one key for both ends.
    const std::string ramp = names.ramp_begin == names.ramp_end
                                 ? names.ramp_begin
                                 : names.ramp_begin + ", " + names.ramp_end;
    throw InputError(
        {names.steps, "too few for the phases of one training", std::to_string(steps),
         "take more steps, or other " + ramp + ", " + names.finish + " and " + names.debias});
  }
  // Seldom enough to cost nothing, often enough that an update changes λ by a few percent.
  schedule.update_every = update_every > 0 ? update_every : std::max<std::int64_t>(1, steps / 1000);
  const double an_update = static_cast<double>(schedule.update_every) / static_cast<double>(steps);
  schedule.rule.integral = static_cast<float>(shares.integral_gain * an_update);
  schedule.rule.proportional = static_cast<float>(shares.proportional_gain);
  schedule.rule.range = kLogRange;
  return schedule;
}

float first_lambda(double bound, double share, double way) {
  // Where nothing is to go λ is not used, and where hardly anything is, begins small and not 0.
  return static_cast<float>(bound * std::max(share, 1e-4) / std::max(way, 1e-30));
}

}  // namespace cuthresh::search
