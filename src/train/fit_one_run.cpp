#include <algorithm>
#include <cmath>

#include "cuthresh/error.hpp"
#include "search/search.hpp"
#include "train/fit_reporter.hpp"
#include "train/fit_run.hpp"

namespace cuthresh::train {
namespace {

search::RunSchedule run_schedule(const FitConfig& config) {
  const SearchConfig& c = config.search;
  search::RunNames names;
  names.steps = "train.steps";
  names.ramp_begin = names.ramp_end = "search.ramp";
  names.finish = "search.finish";
  names.debias = "search.debias";
  names.integral_gain = "search.integral_gain";
  names.proportional_gain = "search.proportional_gain";
  return search::make_run_schedule(
      config.train.steps,
      {c.ramp[0], c.ramp[1], c.finish, c.debias, c.integral_gain, c.proportional_gain}, 0, names);
}

/// The sum of the ramp's learning rates.
double ramp_way(const FitConfig& config, const ControlRule& rule) {
  const Schedule schedule = make_schedule(config.train);
  double way = 0.0;
  for (std::int64_t i = rule.ramp_begin; i < rule.ramp_end; ++i) {
    way += schedule.at(i, config.train.steps);
  }
  return way;
}

/// The target of one search group, without λ: the plan's groups are the layers.
ControlTarget control_target(const Task& task, std::size_t index) {
  const SearchGroup& group = task.search_groups[index];
  ControlTarget target;
  target.target = static_cast<std::uint64_t>(task.targets[index]);
  for (const std::size_t i : group.layers) {
    target.groups.push_back(static_cast<std::int32_t>(i));
    if (!task.bounded(group)) continue;
    target.least.push_back(static_cast<std::uint64_t>(task.layers[i].least));
    target.most.push_back(static_cast<std::uint64_t>(task.layers[i].most));
  }
  return target;
}

/// Where its λ begins: initial weights lie evenly on ±1/√fan_in.
float begin_lambda(const Task& task, std::size_t index,
                   const std::vector<nn::Parameter>& parameters, double way) {
  double bounds = 0.0;
  double numel = 0.0;
  for (const std::size_t i : task.search_groups[index].layers) {
    const PenalisedLayer& layer = task.layers[i];
    const auto fan_in = static_cast<double>(parameters[layer.parameter].fan_in);
    bounds += static_cast<double>(layer.numel) / std::sqrt(std::max(1.0, fan_in));
    numel += static_cast<double>(layer.numel);
  }
  return search::first_lambda(bounds / numel,
                              1.0 - static_cast<double>(task.targets[index]) / numel, way);
}

/// The phases and gains of search.method = "one-run", shares of the steps turned into steps. Throws
/// InputError when there are too few of them.
ControlledRun controlled_run(const FitConfig& config, const Task& task,
                             const std::vector<nn::Parameter>& parameters) {
  ControlledRun run;
  run.schedule = run_schedule(config);
  const double way = ramp_way(config, run.schedule.rule);
  for (std::size_t group = 0; group < task.search_groups.size(); ++group) {
    if (task.targets[group] == 0) {
      throw InputError({task.layerwise ? "sparsity.layers" : "sparsity.target_nnz",
                        "a target of 0 weights leaves nothing of the layer to train", "0",
                        "keep at least 1, or leave the layer out of the network"});
    }
    run.targets.push_back(control_target(task, group));
    const std::vector<double>& given = config.search.lambda;
    run.targets.back().lambda = given.empty() ? begin_lambda(task, group, parameters, way)
                                              : static_cast<float>(given.front());
  }
  return run;
}

}  // namespace

Fit::Found Fit::train_controlled() {
  const auto begin = Clock::now();
  const ControlledRun controlled = controlled_run(config_, task_, network_.parameters().list());
  std::vector<float> lambda;
  for (const ControlTarget& target : controlled.targets) lambda.push_back(target.lambda);
  const TrainerState* const from = begin_from_checkpoint(controlled);
  Reporter reporter(*this, 1, lambda, from == nullptr ? 0 : from->control.steps);
  const auto frozen = [&] {
    NetworkScores before;
    before.steps = controlled.schedule.debias_at;
    set_scores(before, trainer_.evaluate_train(), trainer_.evaluate_test());
    before_debias_ = before;
  };
  const StepStatus status =
      trainer_.run_controlled(controlled, reporter.watcher(), reporter.asker(), frozen, from);
  // Asked to end after the last step, there was nothing to leave out.
  if (status.steps == controlled.schedule.steps) cancelled_ = false;
  if (cancelled_) interrupted(status, controlled.schedule.steps);
  RoundResult round = finish_round(1, status, true);
  lambda = task_.search_lambda(trainer_.lambda());
  round.lambda.assign(lambda.begin(), lambda.end());
  steps_total_ = round.steps;

  Found found;
  found.have = !round.diverged;
  found.lambda = lambda;
  found.met = found.have && !cancelled_ && meets_targets(round.nnz);
  found.reason = controlled_reason(round, found.met);
  round.hit = found.met;
  round.seconds = seconds_since(begin);
  if (!found.have) network_.parameters().restore_initial();
  network_.parameters().keep_as_best();
  keep_round(round);
  return found;
}

bool Fit::meets_targets(const std::vector<std::int64_t>& nnz) const {
  std::int64_t met = 0;
  for (std::size_t i = 0; i < nnz.size(); ++i) {
    const CountBand band = search::make_band(task_.targets[i], config_.sparsity.tolerance);
    met += band.contains(static_cast<std::uint64_t>(nnz[i])) ? 1 : 0;
  }
  return met >= task_.required;
}

std::string Fit::controlled_reason(const RoundResult& round, bool met) const {
  if (round.diverged) {
    return "diverged at step " + std::to_string(round.steps) +
           ": a smaller train.learning_rate may help";
  }
  if (met) {
    const bool exact = std::equal(round.nnz.begin(), round.nnz.end(), task_.targets.begin());
    return exact ? "exactly the target, in one training" : "within the tolerance, in one training";
  }
  // The finish keeps exactly as many as are wanted, so only too few can be left.
  return "fewer weights than wanted could be kept: the others have neither value nor gradient";
}

}  // namespace cuthresh::train
