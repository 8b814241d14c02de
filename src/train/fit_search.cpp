#include <cmath>
#include <utility>

#include "cuthresh/error.hpp"
#include "train/fit_run.hpp"

namespace cuthresh::train {

search::Settings Fit::search_settings() {
  const SearchConfig& c = config_.search;
  search::Settings settings;
  settings.targets = task_.targets;
  settings.groups = static_cast<std::int64_t>(task_.search_groups.size());
  settings.tolerance = config_.sparsity.tolerance;
  settings.groups_required = task_.targets.empty() ? 0 : task_.required;
  settings.max_rounds = c.max_rounds;
  settings.parallel = c.parallel;
  if (task_.layerwise) {
    settings.names.emplace();
    for (const SearchGroup& group : task_.search_groups) settings.names->push_back(group.name);
  }
  if (c.method == "fixed") {
    settings.pivot = search::Pivot::kFixed;
    settings.lambda_lo = settings.lambda_hi = static_cast<float>(c.lambda.front());
    return settings;
  }
  settings.pivot = c.method == "log-midpoint"  ? search::Pivot::kLogMidpoint
                   : c.method == "interpolate" ? search::Pivot::kInterpolate
                                               : search::Pivot::kGradientMedian;
  if (c.lambda.empty()) {
    settings.lambda_hi = automatic_lambda_max();
    settings.lambda_lo = settings.lambda_hi * 1e-4f;
    observer_.note("bracket: λ from " + short_number(static_cast<double>(settings.lambda_lo)) +
                   " to " + short_number(static_cast<double>(settings.lambda_hi)) +
                   ", the largest gradient at zero weights and 1e-4 of it");
  } else {
    settings.lambda_lo = static_cast<float>(c.lambda[0]);
    settings.lambda_hi = static_cast<float>(c.lambda[1]);
  }
  return settings;
}

/// λ_max = max |∂L/∂w| at zero weights: from there on all-zero weights are stationary (Theorem
/// 9). Only weights that follow a λ of the search are zeroed and looked at: the others keep λ 0
/// and do not stay at zero. Where the activations of zero weights pass nothing on (all biases
/// negative under ReLU), the initial weights serve.
float Fit::automatic_lambda_max() {
  nn::Parameters& parameters = network_.parameters();
  parameters.restore_initial();
  std::vector<std::size_t> searched;
  for (const PenalisedLayer& layer : task_.layers) {
    if (layer.search_group < 0) continue;
    searched.push_back(layer.parameter);
    backend_.zero(parameters.value(layer.parameter),
                  static_cast<std::size_t>(layer.numel) * sizeof(float));
  }
  trainer_.full_gradient();
  float largest = trainer_.largest_gradient(searched);
  parameters.restore_initial();
  if (!(largest > 0.0f && std::isfinite(largest))) {
    trainer_.full_gradient();
    largest = trainer_.largest_gradient(searched);
  }
  if (!(largest > 0.0f && std::isfinite(largest))) {
    throw InputError({"search.lambda",
                      "no bracket can be found: the gradient at the initial weights is not a "
                      "positive finite number",
                      short_number(static_cast<double>(largest)),
                      "give a bracket, e.g. lambda = [1e-7, 1e-3], and check the data's scale"});
  }
  return largest;
}

Fit::Found Fit::search_lambda() {
  search::LambdaSearch search(search_settings());
  while (search.phase() != search::Phase::kDone && !cancelled_) {
    if (search.phase() == search::Phase::kTrain) {
      train_round(search);
    } else {
      report_pivot(search);
    }
    for (const std::string& note : search.take_notes()) observer_.note(note);
  }
  // Asked to end after the last step of a search that is one training.
  if (config_.search.method == "fixed" && !rounds_.empty() &&
      rounds_.back().steps == config_.train.steps) {
    cancelled_ = false;
  }
  Found found;
  found.have = search.best().has_value();
  found.met = search.met();
  found.reason = search.reason();
  if (found.have) found.lambda = search.probes()[*search.best()].lambda;
  return found;
}

void Fit::report_pivot(search::LambdaSearch& search) {
  // At the weights just trained, over the whole training set.
  if (gradient_of_ + 1 != rounds_.size()) trainer_.full_gradient();
  const std::vector<search::PivotQuery>& queries = search.queries();
  std::vector<std::pair<float, float>> brackets;
  const bool over_all = !task_.layerwise;
  if (over_all) {
    brackets.emplace_back(queries.front().lo, queries.front().hi);
  } else {
    for (const std::int32_t group : task_.search_group_of) {
      brackets.emplace_back(0.0f, 0.0f);  // empty: nothing asked
      if (group < 0 || !queries[static_cast<std::size_t>(group)].wanted) continue;
      const search::PivotQuery& query = queries[static_cast<std::size_t>(group)];
      brackets.back() = {query.lo, query.hi};
    }
  }
  const std::vector<MedianResult> found = trainer_.bracket_medians(brackets);
  std::vector<std::optional<float>> medians(queries.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    const std::int32_t group = over_all ? 0 : task_.search_group_of[i];
    if (group >= 0) medians[static_cast<std::size_t>(group)] = found[i].median;
  }
  search.report_pivot(medians);
}

}  // namespace cuthresh::train
