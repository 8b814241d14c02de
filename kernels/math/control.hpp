#pragma once

// λ that makes the number of nonzeros follow a falling schedule during one training: a proportional
// and integral controller of log λ, evaluated where the counts are. The same bits in every room.

#include <cstdint>
#include <limits>

#include "kernels/math/elementary.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

/// When the schedule falls and how λ reacts. Steps are those taken since the run began.
struct ControlRule {
  std::int64_t ramp_begin = 0;  ///< until here λ is 0
  std::int64_t ramp_end = 1;    ///< from here on the schedule is the target; > ramp_begin
  float integral = 0.0f;        ///< ≥ 0: what log λ gains an update, a unit of error that stays
  float proportional = 0.0f;    ///< ≥ 0: what log λ has more, a unit of error there is
  /// Anti-windup, > 0: the integral part stays within its beginning and this much more or less.
  float range = 0.0f;
  /// Of the calls after steps taken, those do something whose number `every` divides, before `end`:
  /// a captured step can ask each time.
  std::int64_t every = 1;  ///< ≥ 1
  std::int64_t end = std::numeric_limits<std::int64_t>::max();

  CTH_HD bool updates_after(std::int64_t taken) const { return taken < end && taken % every == 0; }
};

/// What is controlled: the weights under one λ.
struct ControlGroup {
  std::uint64_t size = 0;    ///< weights
  std::uint64_t target = 0;  ///< nonzeros wanted at the end, 1 … size
  float log_start = 0.0f;    ///< log λ at the beginning
  float log_integral = 0.0f;
};

/// How many nonzeros a group is left with at the least and at the most. A least of 0 and a most of
/// its size are no bounds.
struct GroupBounds {
  std::uint64_t least = 0;
  std::uint64_t most = 0;

  /// Of `above` entries that are large enough so many stay, where `nonzero` are not zero.
  CTH_HD std::uint64_t kept(std::uint64_t above, std::uint64_t nonzero) const {
    const std::uint64_t low = least < nonzero ? least : nonzero;
    const std::uint64_t kept = above > low ? above : low;
    return kept < most ? kept : most;
  }
  /// λ of a group that has so many nonzeros, and had `before`: that of its target, but halved from
  /// update to update while it has no more than its least, and then doubled until it is the
  /// target's again. Not 0 at once: every weight with a gradient would come back in one step, the
  /// count would leap, and λ of the target with it.
  CTH_HD float lambda(float of_target, float before, std::uint64_t nonzero) const {
    if (least == 0) return of_target;
    if (nonzero <= least) return 0.5f * (before < of_target ? before : of_target);
    return before > 0.0f && 2.0f * before < of_target ? 2.0f * before : of_target;
  }
};

/// The logarithm of the count that the schedule asks for after `step` steps: evenly from all
/// weights to a tenth more than the target. Evenly, because weights whose initial values lie evenly
/// on an interval, shrunk by αλ a step, reach zero evenly: λ need not move much. A tenth more,
/// because what goes too far may not come back (a unit without weights has no gradient), while what
/// is too much is cut at the end.
CTH_HD float scheduled_log_count(const ControlRule& rule, const ControlGroup& group,
                                 std::int64_t step) {
  const auto size = static_cast<float>(group.size);
  const float above = 1.1f * static_cast<float>(group.target);
  const float end = above < size ? above : size;
  if (step >= rule.ramp_end) return log_float(end);
  if (step <= rule.ramp_begin) return log_float(size);
  const float left = static_cast<float>(rule.ramp_end - step) /
                     static_cast<float>(rule.ramp_end - rule.ramp_begin);
  return log_float(__builtin_fmaf(size - end, left, end));
}

/// λ for the steps that follow, from the count after `step` steps. The error is log n − log n
/// wanted, cut to ±1; the integral part moves in `group`. 0 where all weights are wanted.
CTH_HD float controlled_lambda(const ControlRule& rule, ControlGroup& group, std::int64_t count,
                               std::int64_t step) {
  if (step < rule.ramp_begin || group.target >= group.size) return 0.0f;
  const float log_count = log_float(static_cast<float>(count > 0 ? count : 1));
  float error = log_count - scheduled_log_count(rule, group, step);
  error = error > 1.0f ? 1.0f : (error < -1.0f ? -1.0f : error);
  float moved = __builtin_fmaf(rule.integral, error, group.log_integral);
  const float least = group.log_start - rule.range;
  const float most = group.log_start + rule.range;
  moved = moved > most ? most : (moved < least ? least : moved);
  group.log_integral = moved;
  return exp_float(__builtin_fmaf(rule.proportional, error, moved));
}

}  // namespace cuthresh
