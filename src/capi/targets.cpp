// A controller's targets, from what the caller gives to what a room takes.

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "backend/checks.hpp"
#include "capi/controller.hpp"
#include "capi/handles.hpp"

namespace cuthresh::capi {
namespace {

std::vector<std::int32_t> read_groups(const std::string& where, const cth_target& given,
                                      std::size_t groups) {
  if (given.groups == nullptr) {
    if (given.group_count != 0 && given.group_count != groups) {
      invalid(where + ".group_count",
              "with groups NULL, which means all of them, must be 0 or " + std::to_string(groups),
              std::to_string(given.group_count), "pass 0");
    }
    std::vector<std::int32_t> all(groups);
    std::iota(all.begin(), all.end(), 0);
    return all;
  }
  if (given.group_count == 0 || given.group_count > groups) {
    invalid(where + ".group_count",
            "must be from 1 to the plan's groups, " + std::to_string(groups),
            std::to_string(given.group_count), "pass the length of groups");
  }
  std::vector<std::int32_t> named(given.groups, given.groups + given.group_count);
  for (std::size_t i = 0; i < named.size(); ++i) {
    if (named[i] >= 0 && static_cast<std::size_t>(named[i]) < groups) continue;
    invalid(where + "." + element("groups", i),
            "must be a group of the plan, from 0 to " +
                std::to_string(static_cast<std::int64_t>(groups) - 1),
            std::to_string(named[i]), "number them as the plan's tensors do");
  }
  return named;
}

bool holds(const ControlTarget& target, std::int32_t group) {
  return std::find(target.groups.begin(), target.groups.end(), group) != target.groups.end();
}

std::uint64_t weights_of(const Plan& plan, const ControlTarget& target) {
  std::uint64_t weights = 0;
  for (const ProxTensor& tensor : plan.tensors) {
    if (holds(target, tensor.group)) weights += static_cast<std::uint64_t>(tensor.size);
  }
  return weights;
}

/// The number of nonzeros that is wanted, of `weights`.
std::uint64_t read_wanted(const std::string& where, const cth_target& given,
                          std::uint64_t weights) {
  if (weights == 0) {
    invalid(where, "its groups have no weights", "0", "take groups of tensors that have some");
  }
  if (given.nonzeros > weights) {
    invalid(where + ".nonzeros",
            "must be at most the number of its weights, " + std::to_string(weights),
            std::to_string(given.nonzeros), "ask for fewer");
  }
  if (given.nonzeros > 0) return given.nonzeros;
  if (!(given.sparsity >= 0.0 && given.sparsity < 1.0)) {
    invalid(where + ".sparsity", "must be at least 0 and below 1", text_of(given.sparsity),
            "0.9 leaves a tenth of the weights");
  }
  const double kept = std::floor((1.0 - given.sparsity) * static_cast<double>(weights) + 0.5);
  return std::clamp<std::uint64_t>(static_cast<std::uint64_t>(kept), 1, weights);
}

void check_bounds_given(const std::string& where, const cth_target& given, const Target& target) {
  if (given.least == nullptr && given.most == nullptr) return;
  if (target.divided) {
    unsupported(where, "bounds of groups do not go with total_weights", "bounds",
                "give each group a target of its own");
  }
  if (given.group_count == target.control.groups.size()) return;
  invalid(where + ".group_count",
          "is the length of the bounds too: one a group, " +
              std::to_string(target.control.groups.size()),
          std::to_string(given.group_count), "pass the plan's number of groups");
}

std::vector<std::uint64_t> read_bounds(const std::uint64_t* given, std::size_t count) {
  return given == nullptr ? std::vector<std::uint64_t>()
                          : std::vector<std::uint64_t>(given, given + count);
}

/// λ at which as many weights as are to go would be gone by the end of the ramp if no gradient held
/// them: what is to be the smallest that stays, over the sum of the learning rates of the ramp.
float find_lambda(const std::string& where, Plan& plan, const ControlTarget& target,
                  const search::RunSchedule& schedule) {
  std::vector<ProxTensor> tensors;
  double weights = 0.0;
  double rates = 0.0;  // of all weights
  for (const ProxTensor& tensor : plan.tensors) {
    if (!holds(target, tensor.group)) continue;
    tensors.push_back({tensor.w, tensor.w, tensor.size, 0});
    weights += static_cast<double>(tensor.size);
    rates += plan.rates[static_cast<std::size_t>(tensor.rate)].learning_rate *
             static_cast<double>(tensor.size);
  }
  if (!(rates > 0.0)) {
    invalid(where + ".lambda", "cannot be found while the learning rates are 0", "0",
            "call cth_plan_set_rates before, or give lambda");
  }
  const std::unique_ptr<ProxPlan> of_weights =
      plan.backend().make_plan(tensors, 1, StepKind::kPlain, plan.dtype);
  const auto kth = [&](std::uint64_t k) {
    return plan.backend().read_kth_magnitude(*of_weights, static_cast<std::int64_t>(k));
  };
  const double largest = kth(1);
  if (!(largest > 0.0 && std::isfinite(largest))) {
    invalid(where + ".lambda", "cannot be found from weights whose largest magnitude is",
            text_of(largest), "give lambda, or initialise the weights before");
  }
  // Zeros among what is to stay: begin small, so that the integral part can still take it anywhere.
  const double smallest = std::max(kth(target.target), 1e-4 * largest);
  const double ramp = static_cast<double>(schedule.rule.ramp_end - schedule.rule.ramp_begin);
  const float lambda = search::first_lambda(smallest, 1.0, rates / weights * ramp);
  if (std::isfinite(lambda) && lambda > 0.0f) return lambda;
  invalid(where + ".lambda", "what was found is no number that λ can begin with", text_of(lambda),
          "give lambda, or other learning rates");
}

float read_lambda(const std::string& where, const cth_target& given, Plan& plan,
                  const Target& target, const search::RunSchedule& schedule) {
  if (!(std::isfinite(given.lambda) && given.lambda >= 0.0f)) {
    invalid(where + ".lambda", "must be finite and not negative", text_of(given.lambda),
            "0 lets it be found");
  }
  if (given.lambda > 0.0f) return given.lambda;
  if (target.divided) {
    invalid(where + ".lambda",
            "must be given with total_weights: each process would find another one", "0",
            "pass the same number in every process");
  }
  return find_lambda(where, plan, target.control, schedule);
}

Target read_target(const std::string& where, const cth_target& given, Plan& plan,
                   const search::RunSchedule& schedule) {
  Target target;
  target.control.groups = read_groups(where, given, plan.groups);
  const std::uint64_t here = weights_of(plan, target.control);
  target.divided = given.total_weights != 0;
  if (target.divided && given.total_weights < here) {
    invalid(where + ".total_weights",
            "must be at least the weights in this process, " + std::to_string(here),
            std::to_string(given.total_weights), "add them up over all processes");
  }
  target.weights = target.divided ? given.total_weights : here;
  target.control.size = given.total_weights;
  target.control.target = read_wanted(where, given, target.weights);
  if (!(std::isfinite(given.tolerance) && given.tolerance >= 0.0)) {
    invalid(where + ".tolerance", "must be finite and not negative", text_of(given.tolerance),
            "0.01 allows one percent");
  }
  target.tolerance = given.tolerance;
  check_bounds_given(where, given, target);
  target.control.least = read_bounds(given.least, target.control.groups.size());
  target.control.most = read_bounds(given.most, target.control.groups.size());
  target.control.lambda = read_lambda(where, given, plan, target, schedule);
  return target;
}

}  // namespace

std::vector<Target> read_targets(const char* function, Plan& plan,
                                 std::span<const cth_target> given,
                                 const search::RunSchedule& schedule) {
  std::vector<Target> targets;
  std::vector<ControlTarget> controls;
  for (std::size_t t = 0; t < given.size(); ++t) {
    targets.push_back(
        read_target(argument(function, element("targets", t)), given[t], plan, schedule));
    controls.push_back(targets.back().control);
  }
  (void)check_control(schedule.rule, controls, plan.tensors, plan.groups);
  return targets;
}

}  // namespace cuthresh::capi
