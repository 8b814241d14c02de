#include <cmath>
#include <string>

#include "backend/check_values.hpp"
#include "backend/checks.hpp"

namespace cuthresh {
namespace {

std::vector<std::uint64_t> target_sizes(std::span<const ProxTensor> tensors,
                                        std::span<const std::int32_t> target_of,
                                        std::size_t targets) {
  std::vector<std::uint64_t> sizes(targets, 0);
  for (const ProxTensor& tensor : tensors) {
    if (tensor.group < 0) continue;
    const std::int32_t target = target_of[static_cast<std::size_t>(tensor.group)];
    if (target >= 0)
      sizes[static_cast<std::size_t>(target)] += static_cast<std::uint64_t>(tensor.size);
  }
  return sizes;
}

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
  gain("the integral gain", rule.integral);
  gain("the proportional gain", rule.proportional);
  if (!(std::isfinite(rule.range) && rule.range > 0.0f)) {
    refuse(where, "the range of log λ must be finite and above 0", std::to_string(rule.range),
           "10 lets λ move by a factor of 22026 either way");
  }
}

}  // namespace

std::vector<std::int32_t> check_control(const ControlRule& rule,
                                        std::span<const ControlTarget> targets,
                                        std::span<const ProxTensor> tensors, std::size_t groups) {
  const std::string where = "set_control";
  check_rule(where, rule);
  std::vector<std::int32_t> target_of(groups, -1);
  for (std::size_t t = 0; t < targets.size(); ++t) {
    const std::string name = where + ", target " + std::to_string(t);
    if (!(std::isfinite(targets[t].lambda) && targets[t].lambda > 0.0f)) {
      refuse(name, "λ must begin at a finite value above 0", std::to_string(targets[t].lambda),
             "take one that is small");
    }
    for (const std::int32_t group : targets[t].groups) {
      if (group < 0 || static_cast<std::size_t>(group) >= groups) {
        refuse(name, "no such group among the plan's " + std::to_string(groups),
               std::to_string(group), "take a group of the plan");
      }
      if (target_of[static_cast<std::size_t>(group)] >= 0) {
        refuse(name, "the group has a target already", std::to_string(group),
               "give each group at most one target");
      }
      target_of[static_cast<std::size_t>(group)] = static_cast<std::int32_t>(t);
    }
  }
  const std::vector<std::uint64_t> sizes = target_sizes(tensors, target_of, targets.size());
  for (std::size_t t = 0; t < targets.size(); ++t) {
    if (targets[t].target >= 1 && targets[t].target <= sizes[t]) continue;
    refuse(where + ", target " + std::to_string(t),
           "must be from 1 to the number of its weights, " + std::to_string(sizes[t]),
           std::to_string(targets[t].target), "ask for a number of nonzeros that can be");
  }
  return target_of;
}

std::vector<ControlGroup> control_groups(std::span<const ControlTarget> targets,
                                         std::span<const ProxTensor> tensors,
                                         std::span<const std::int32_t> target_of) {
  const std::vector<std::uint64_t> sizes = target_sizes(tensors, target_of, targets.size());
  std::vector<ControlGroup> groups;
  for (std::size_t t = 0; t < targets.size(); ++t) {
    const float log_start = log_float(targets[t].lambda);
    groups.push_back({sizes[t], targets[t].target, log_start, log_start});
  }
  return groups;
}

}  // namespace cuthresh
