#include <algorithm>
#include <cmath>
#include <string>

#include "backend/check_values.hpp"
#include "backend/checks.hpp"

namespace cuthresh {
namespace {

void check_rule(const std::string& where, const ControlRule& rule) {
  if (!(rule.ramp_begin >= 0 && rule.ramp_begin < rule.ramp_end)) {
    refuse(where, "the ramp must begin at step 0 or later and before its end",
           std::to_string(rule.ramp_begin) + " to " + std::to_string(rule.ramp_end),
           "give the steps at which the schedule begins and ends to fall");
  }
  const auto gain = [&](const char* name, float value) {
    if (std::isfinite(value) && value >= 0.0f) return;
    refuse(where, std::string(name) + " must be finite and at least 0", std::to_string(value),
           "0 switches it off");
  };
  if (rule.every < 1) {
    refuse(where, "updates must be a step or more apart", std::to_string(rule.every),
           "1 updates λ after every step that asks for it");
  }
  gain("the integral gain", rule.integral);
  gain("the proportional gain", rule.proportional);
  if (!(std::isfinite(rule.range) && rule.range > 0.0f)) {
    refuse(where, "the range of log λ must be finite and above 0", std::to_string(rule.range),
           "10 lets λ move by a factor of 22026 either way");
  }
}

std::vector<std::uint64_t> group_sizes(std::span<const ProxTensor> tensors, std::size_t groups) {
  std::vector<std::uint64_t> sizes(groups, 0);
  for (const ProxTensor& tensor : tensors) {
    if (tensor.group >= 0)
      sizes[static_cast<std::size_t>(tensor.group)] += static_cast<std::uint64_t>(tensor.size);
  }
  return sizes;
}

/// The target's λ and groups, which are taken note of in `target_of`.
void check_groups(const std::string& name, const ControlTarget& target, std::int32_t index,
                  std::vector<std::int32_t>& target_of) {
  if (!(std::isfinite(target.lambda) && target.lambda > 0.0f)) {
    refuse(name, "λ must begin at a finite value above 0", std::to_string(target.lambda),
           "take one that is small");
  }
  if (target.groups.empty()) refuse(name, "names no group", "none", "name a group of the plan");
  for (const std::int32_t group : target.groups) {
    if (group < 0 || static_cast<std::size_t>(group) >= target_of.size()) {
      refuse(name, "no such group among the plan's " + std::to_string(target_of.size()),
             std::to_string(group), "take a group of the plan");
    }
    std::int32_t& owner = target_of[static_cast<std::size_t>(group)];
    if (owner >= 0) {
      refuse(name, "the group has a target already", std::to_string(group),
             "give each group at most one target");
    }
    owner = index;
  }
}

/// The bounds of the target's groups, into `bounds`.
void check_bounds(const std::string& name, const ControlTarget& target,
                  const std::vector<std::uint64_t>& sizes, std::vector<GroupBounds>& bounds) {
  const auto count = [&](const char* which, std::size_t given) {
    if (given == 0 || given == target.groups.size()) return;
    refuse(name,
           std::string(which) + " must be one a group, " + std::to_string(target.groups.size()) +
               ", or none",
           std::to_string(given), "give 0 where nothing is to be bounded from below");
  };
  count("the fewest nonzeros", target.least.size());
  count("the most nonzeros", target.most.size());
  std::uint64_t least = 0;
  std::uint64_t most = 0;
  for (std::size_t i = 0; i < target.groups.size(); ++i) {
    const auto group = static_cast<std::size_t>(target.groups[i]);
    GroupBounds& b = bounds[group];
    if (!target.least.empty()) b.least = target.least[i];
    b.most = target.most.empty() ? sizes[group] : target.most[i];
    if (b.least > b.most || b.most > sizes[group]) {
      refuse(name + ", group " + std::to_string(group),
             "bounds must be from 0 to its " + std::to_string(sizes[group]) +
                 " weights, the lower one first",
             std::to_string(b.least) + " to " + std::to_string(b.most),
             "leave out what is not to be bounded");
    }
    least += b.least;
    most += b.most;
  }
  if (target.target < least || (target.size == 0 && target.target > most)) {
    refuse(name,
           "its groups' bounds let it have from " + std::to_string(least) + " to " +
               std::to_string(most) + " nonzeros",
           std::to_string(target.target), "widen the bounds, or ask for a number between them");
  }
}

}  // namespace

ControlLayout check_control(const ControlRule& rule, std::span<const ControlTarget> targets,
                            std::span<const ProxTensor> tensors, std::size_t groups) {
  const std::string where = "set_control";
  check_rule(where, rule);
  const std::vector<std::uint64_t> sizes = group_sizes(tensors, groups);
  ControlLayout layout;
  layout.target_of.assign(groups, -1);
  layout.selection_of.assign(groups, -1);
  layout.bounds.assign(groups, {});
  for (std::size_t t = 0; t < targets.size(); ++t) {
    const ControlTarget& target = targets[t];
    const std::string name = where + ", target " + std::to_string(t);
    check_groups(name, target, static_cast<std::int32_t>(t), layout.target_of);
    std::uint64_t here = 0;
    for (const std::int32_t group : target.groups) here += sizes[static_cast<std::size_t>(group)];
    const std::uint64_t size = target.size > 0 ? target.size : here;
    if (size < here) {
      refuse(name, "speaks of fewer weights than its groups hold here, " + std::to_string(here),
             std::to_string(size), "give the number of weights on all devices together");
    }
    if (target.target < 1 || target.target > size) {
      refuse(name, "must be from 1 to the number of its weights, " + std::to_string(size),
             std::to_string(target.target), "ask for a number of nonzeros that can be");
    }
    check_bounds(name, target, sizes, layout.bounds);
    const float log_start = log_float(target.lambda);
    layout.targets.push_back({size, target.target, log_start, log_start});
    if (target.size > 0) continue;  // no step of ours cuts it
    const bool bounded = !target.least.empty() || !target.most.empty();
    if (bounded) layout.bounded.push_back(static_cast<std::int32_t>(t));
    if (!bounded) layout.wanted.push_back(target.target);
    for (const std::int32_t group : target.groups) {
      if (bounded) layout.wanted.push_back(0);
      layout.selection_of[static_cast<std::size_t>(group)] =
          static_cast<std::int32_t>(layout.wanted.size()) - 1;
    }
  }
  layout.some_left_alone =
      std::count(layout.selection_of.begin(), layout.selection_of.end(), -1) > 0;
  return layout;
}

void check_state(const ControlState& state, std::size_t groups, std::size_t targets) {
  const std::string where = "restore_control";
  const auto count = [&](const char* which, std::size_t given, std::size_t expected) {
    if (given == expected) return;
    refuse(where, std::string(which) + " must be " + std::to_string(expected),
           std::to_string(given), "restore a state of the same plan and targets");
  };
  count("the number of λ", state.lambda.size(), groups);
  count("the number of integral parts", state.log_integral.size(), targets);
  if (state.steps < 0) {
    refuse(where, "the number of steps must be at least 0", std::to_string(state.steps),
           "restore what read_control gave");
  }
  for (const float lambda : state.lambda) {
    if (std::isfinite(lambda) && lambda >= 0.0f) continue;
    refuse(where, "λ must be finite and at least 0", std::to_string(lambda),
           "restore what read_control gave");
  }
  for (const float part : state.log_integral) {
    if (std::isfinite(part)) continue;
    refuse(where, "integral parts must be finite", std::to_string(part),
           "restore what read_control gave");
  }
}

void check_counts(const std::int64_t* counts) {
  check_pointer("control", "counts", counts, alignof(std::int64_t));
}

}  // namespace cuthresh
