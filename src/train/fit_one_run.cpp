#include <algorithm>

#include "search/search.hpp"
#include "train/fit_reporter.hpp"
#include "train/fit_run.hpp"

namespace cuthresh::train {

Fit::Found Fit::train_controlled() {
  const auto begin = Clock::now();
  const ControlledRun controlled = controlled_run(config_, task_, network_.parameters().list());
  std::vector<float> lambda;
  for (const ControlTarget& target : controlled.targets) lambda.push_back(target.lambda);
  Reporter reporter(*this, 1, lambda);
  const auto frozen = [&] {
    NetworkScores before;
    before.steps = controlled.schedule.debias_at;
    set_scores(before, trainer_.evaluate_train(), trainer_.evaluate_test());
    before_debias_ = before;
  };
  const StepStatus status =
      trainer_.run_controlled(controlled, reporter.watcher(), reporter.asker(), frozen);
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
  if (found.have) network_.parameters().keep_as_best();
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
