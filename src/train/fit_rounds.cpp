// One round of a search: its trainings, and what is kept of them.

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "train/fit_run.hpp"
#include "train/together.hpp"

namespace cuthresh::train {
namespace {

std::int64_t nonzeros_of(const RoundResult& round) {
  return std::accumulate(round.nnz.begin(), round.nnz.end(), std::int64_t{0});
}

}  // namespace

void Fit::train_round(search::LambdaSearch& search) {
  const auto begin = Clock::now();
  std::vector<RoundResult> ended = train_candidates(search.candidates());
  for (const RoundResult& round : ended) {
    if (round.diverged) note_diverged(round);
    steps_total_ += round.steps;
  }
  if (config_.search.warm_start) start_warm(ended);
  // A cancelled round is not a probe, unless there is nothing else to keep.
  const bool all_diverged =
      std::all_of(ended.begin(), ended.end(), [](const RoundResult& r) { return r.diverged; });
  if (!cancelled_ || (!search.best() && !all_diverged)) report_round(search, ended);
  const double seconds = seconds_since(begin);
  seconds_of_rounds_ += seconds;
  for (const RoundResult& round : ended) keep_round(round);
  if (config_.search.parallel > 1) note_throughput(ended, seconds);
}

std::vector<RoundResult> Fit::train_candidates(const std::vector<std::vector<float>>& candidates) {
  const auto begin = Clock::now();
  const std::string& method = config_.search.method;
  const bool by_counts = method == "log-midpoint" || method == "interpolate";
  // Of several the nearest one's gradient is wanted, which is not known yet.
  const bool wants_gradient = !by_counts && beside_.empty();
  const std::int64_t number = rounds_.empty() ? 1 : rounds_.back().round + 1;
  std::vector<RoundResult> ended(candidates.size());
  std::vector<std::vector<StepSample>> samples(candidates.size());
  const auto train_one = [&](std::size_t i) {
    const std::vector<float>& lambda = candidates[i];
    if (i == 0) {
      ended[i] =
          finish_round(number, train(number, lambda, stop_rule(config_, task_)), wants_gradient);
    } else {
      const StepStatus status = train_beside(i, number, lambda, samples[i]);
      ended[i] = scored(beside_[i - 1]->trainer, number, status, wants_gradient);
    }
    ended[i].candidate = static_cast<std::int64_t>(i) + 1;
    ended[i].lambda.assign(lambda.begin(), lambda.end());
    ended[i].seconds = seconds_since(begin);
  };
  const auto waiting = [this] {
    if (!cancelled_ && observer_.cancelled()) cancelled_ = true;
  };
  run_together(candidates.size(), train_one, waiting, [this] { cancelled_ = true; });
  for (const std::vector<StepSample>& of_one : samples) {
    for (const StepSample& sample : of_one) history_.add_step(sample);
  }
  return ended;
}

StepStatus Fit::train_beside(std::size_t candidate, std::int64_t round,
                             const std::vector<float>& lambda, std::vector<StepSample>& samples) {
  const auto begin = Clock::now();
  const std::vector<double> shown(lambda.begin(), lambda.end());
  const auto watch = [&](std::int64_t step, const StepStatus& status, const Sample& sample) {
    if (!sample.loss) return;
    samples.push_back(
        step_sample(round, step, shown, task_.search_counts(status.nnz), sample, begin));
  };
  const auto ask = [this] { return cancelled_ ? Trainer::Wish::kEnd : Trainer::Wish::kGoOn; };
  return beside_[candidate - 1]->trainer.run(task_.plan_lambda(lambda), stop_rule(config_, task_),
                                             config_.train.steps, watch, ask);
}

void Fit::report_round(search::LambdaSearch& search, std::vector<RoundResult>& ended) {
  std::vector<search::Report> reports;
  for (const RoundResult& round : ended) reports.push_back({round.nnz, round.diverged});
  const bool is_best = search.report_round(reports);
  const std::size_t nearest = search.nearest();
  if (nearest > 0) {  // pivots, certificate and the network written are looked at here
    const std::vector<float> values = values_of(nearest);
    backend_.upload(network_.parameters().values(), values.data(), values.size() * sizeof(float));
  }
  if (is_best) {
    network_.parameters().keep_as_best();
    best_round_ = rounds_.size() + nearest;
  }
  const std::size_t first = search.probes().size() - ended.size();
  for (std::size_t i = 0; i < ended.size(); ++i) {
    ended[i].hit = !cancelled_ && search.probes()[first + i].met;
  }
}

nn::Network& Fit::network_of(std::size_t candidate) {
  return candidate == 0 ? network_ : beside_[candidate - 1]->network;
}

std::vector<float> Fit::values_of(std::size_t candidate) {
  Backend& backend = candidate == 0 ? backend_ : *beside_[candidate - 1]->chosen.backend;
  const nn::Parameters& parameters = network_of(candidate).parameters();
  std::vector<float> values(static_cast<std::size_t>(parameters.elements()));
  backend.download(values.data(), parameters.values(), values.size() * sizeof(float));
  return values;
}

/// Of a round's trainings with too many nonzeros the one with the fewest is where the next begin.
void Fit::start_warm(const std::vector<RoundResult>& ended) {
  const std::int64_t wanted = task_.target_total().value_or(0);
  std::optional<std::size_t> from;
  for (std::size_t i = 0; i < ended.size(); ++i) {
    const bool too_many = !ended[i].diverged && nonzeros_of(ended[i]) > wanted;
    if (too_many && (!from || nonzeros_of(ended[i]) < nonzeros_of(ended[*from]))) from = i;
  }
  if (!from) return;
  if (beside_.empty()) return network_.parameters().start_from_here();
  const std::vector<float> values = values_of(*from);
  for (std::size_t i = 0; i <= beside_.size(); ++i) network_of(i).parameters().start_from(values);
}

void Fit::note_diverged(const RoundResult& round) {
  observer_.note("round " + std::to_string(round.round) + " diverged at step " +
                 std::to_string(round.steps) + " with λ " + short_number(round.lambda.front()) +
                 (round.lambda.size() > 1 ? ", …" : "") +
                 ": non-finite loss; a failed probe. A smaller train.learning_rate may help");
}

void Fit::note_throughput(const std::vector<RoundResult>& ended, double seconds) {
  std::string counts;
  std::int64_t steps = 0;
  for (const RoundResult& round : ended) {
    counts += counts.empty() ? "" : ", ";
    counts += round.diverged ? "none (diverged)" : std::to_string(nonzeros_of(round));
    steps += round.steps;
  }
  const double pace = seconds > 0.0 ? static_cast<double>(steps) / seconds : 0.0;
  observer_.note("round " + std::to_string(ended.front().round) + ": " +
                 std::to_string(ended.size()) + " λ at the same time left " + counts +
                 " nonzeros; " + std::to_string(std::llround(pace)) + " candidate-steps a second");
}

}  // namespace cuthresh::train
