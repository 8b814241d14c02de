#include "search/search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include "cuthresh/error.hpp"

namespace cuthresh::search {
namespace {

// One divergence is bad luck at one λ; five in a row, each nearer to trainings that went well, mean
// that the step size is at fault.
constexpr int kMostDivergedRunning = 5;

void check_target(std::int64_t target) {
  if (target >= 0) return;
  throw InputError({.where = "sparsity.target_nnz",
                    .what = "a number of nonzeros cannot be negative",
                    .value = fmt::format("{}", target),
                    .remedy = "give a number from 0 to the number of weights"});
}

void check_tolerance(double tolerance) {
  if (tolerance >= 0.0 && tolerance < 1.0) return;
  throw InputError({.where = "sparsity.tolerance",
                    .what = "expected a share of the target from 0 to below 1",
                    .value = fmt::format("{}", tolerance),
                    .remedy = "give 0.001 for a tenth of a percent"});
}

void check_lambda(const Settings& s) {
  const bool fixed = s.pivot == Pivot::kFixed;
  const auto usable = [](float v) { return std::isfinite(v) && v >= 0.0f; };
  if (!usable(s.lambda_lo) || !usable(s.lambda_hi)) {
    throw InputError({.where = "search.lambda",
                      .what = "expected finite numbers not below 0 that single precision can hold",
                      .value = fmt::format("[{}, {}]", s.lambda_lo, s.lambda_hi),
                      .remedy = "give a bracket such as [1e-7, 1e-3]"});
  }
  if (fixed && s.lambda_lo != s.lambda_hi) {
    throw InputError({.where = "search.lambda",
                      .what = "the fixed method trains once, at one λ",
                      .value = fmt::format("[{}, {}]", s.lambda_lo, s.lambda_hi),
                      .remedy = "give one number"});
  }
  if (!fixed && !(s.lambda_lo < s.lambda_hi)) {
    throw InputError({.where = "search.lambda",
                      .what = "the lower end of the bracket must be below its upper end",
                      .value = fmt::format("[{}, {}]", s.lambda_lo, s.lambda_hi),
                      .remedy = "give the smaller λ first"});
  }
}

std::size_t check_settings(const Settings& s) {
  const bool fixed = s.pivot == Pivot::kFixed;
  if (s.targets.empty() && !fixed) {
    throw InputError(
        {.where = "sparsity",
         .what = "a search needs a number of nonzeros to look for",
         .value = "",
         .remedy = "give target_nnz, target_sparsity or layers, or use the fixed method"});
  }
  if (s.targets.empty() && s.groups < 1) {
    throw InputError({.where = "search",
                      .what = "expected at least one group of weights to train",
                      .value = fmt::format("{}", s.groups),
                      .remedy = "penalise at least one parameter"});
  }
  for (std::int64_t target : s.targets) check_target(target);
  check_tolerance(s.tolerance);
  check_lambda(s);
  const std::size_t groups =
      s.targets.empty() ? static_cast<std::size_t>(s.groups) : s.targets.size();
  if (s.groups_required < 0 || static_cast<std::size_t>(s.groups_required) > groups) {
    throw InputError({.where = "sparsity.layers_required",
                      .what = fmt::format("expected 0 (all) to {} (those with a target)", groups),
                      .value = fmt::format("{}", s.groups_required),
                      .remedy = "ask for no more layers than have a target"});
  }
  if (s.max_rounds < 1) {
    throw InputError({.where = "search.max_rounds",
                      .what = "expected at least one training",
                      .value = fmt::format("{}", s.max_rounds),
                      .remedy = "give 1 or more"});
  }
  if (s.parallel < 1 || (s.parallel > 1 && (fixed || groups > 1))) {
    throw InputError({.where = "search.parallel",
                      .what = "several trainings at once divide one bracket: expected 1, or a "
                              "search for one λ",
                      .value = fmt::format("{}", s.parallel),
                      .remedy = "set search.parallel to 1, or give one target in all"});
  }
  return groups;
}

void expect(bool condition, const char* where, const char* what, std::string value) {
  if (condition) return;
  throw InternalError({.where = where,
                       .what = what,
                       .value = std::move(value),
                       .remedy = "report this as a defect of cuthresh"});
}

}  // namespace

CountBand make_band(std::int64_t target, double tolerance) {
  check_target(target);
  check_tolerance(tolerance);
  // 0.29 * 100 is 28.999999999999996 in double; whoever writes 0.29 means 29.
  const double slack = 1.0 + 4.0 * std::numeric_limits<double>::epsilon();
  const double miss = std::floor(tolerance * static_cast<double>(target) * slack);
  const auto most = std::min(static_cast<std::int64_t>(miss), target);
  // No count is above 2^63 − 1.
  const std::int64_t hi = target > std::numeric_limits<std::int64_t>::max() - most
                              ? std::numeric_limits<std::int64_t>::max()
                              : target + most;
  return {static_cast<std::uint64_t>(target - most), static_cast<std::uint64_t>(hi)};
}

LambdaSearch::LambdaSearch(Settings settings) : settings_(std::move(settings)) {
  const std::size_t groups = check_settings(settings_);
  expect(!settings_.names || settings_.names->size() == groups, "LambdaSearch",
         "expected one name a group", fmt::format("{}", groups));
  settings_.lambda_lo += 0.0f;  // −0 would be shown to users as such
  settings_.lambda_hi += 0.0f;
  required_ =
      settings_.groups_required == 0 ? groups : static_cast<std::size_t>(settings_.groups_required);
  for (std::int64_t target : settings_.targets) {
    groups_.emplace_back(target, make_band(target, settings_.tolerance), groups > 1);
    groups_.back().end_lambda = settings_.lambda_hi;
  }
  if (settings_.pivot == Pivot::kFixed) stage_ = Stage::kFixed;
  lambda_.assign(groups, settings_.lambda_hi);
  if (settings_.parallel == 1) return;
  others_ = {settings_.lambda_lo};
  add_others({settings_.lambda_lo, settings_.lambda_hi});
}

std::vector<std::vector<float>> LambdaSearch::candidates() const {
  std::vector<std::vector<float>> all = {lambda_};
  for (const float other : others_) all.push_back(std::vector<float>(1, other));
  return all;
}

bool LambdaSearch::report_round(const std::vector<Report>& reports) {
  check_reports(reports);
  const std::vector<std::vector<float>> trained = candidates();
  const std::size_t first = probes_.size();
  ++rounds_;
  for (std::size_t i = 0; i < reports.size(); ++i) {
    Probe probe{rounds_, trained[i], reports[i].nnz, reports[i].diverged};
    if (!probe.diverged) score(probe);
    probes_.push_back(std::move(probe));
  }
  const bool is_best = choose_best(first);
  others_.clear();
  const auto round = std::span<const Probe>(probes_).subspan(first);
  learn(round);
  end_of_round(round);
  return is_best;
}

void LambdaSearch::check_reports(const std::vector<Report>& reports) const {
  constexpr const char* kWhere = "LambdaSearch::report_round";
  expect(phase_ == Phase::kTrain, kWhere, "no training was asked for", "");
  expect(reports.size() == 1 + others_.size(), kWhere, "expected one report a candidate",
         fmt::format("{}", reports.size()));
  for (const auto& [nnz, diverged] : reports) {
    expect(nnz.size() == lambda_.size(), kWhere, "expected one count a group",
           fmt::format("{}", nnz.size()));
    for (std::int64_t count : nnz) {
      expect(diverged || count >= 0, kWhere, "a count cannot be negative",
             fmt::format("{}", count));
    }
  }
}

/// Of the round whose probes begin at `first`: which came nearest; true: nearer than all before.
bool LambdaSearch::choose_best(std::size_t first) {
  std::optional<std::size_t> nearest;
  for (std::size_t i = first; i < probes_.size(); ++i) {
    if (!probes_[i].diverged && (!nearest || better(probes_[i], probes_[*nearest]))) nearest = i;
  }
  nearest_ = nearest.value_or(first) - first;
  const bool is_best = nearest && (!best_ || better(probes_[*nearest], probes_[*best_]));
  if (is_best) best_ = nearest;
  return is_best;
}

void LambdaSearch::report_pivot(const std::vector<std::optional<float>>& medians) {
  expect(phase_ == Phase::kPivot, "LambdaSearch::report_pivot", "no median was asked for", "");
  expect(medians.size() == queries_.size(), "LambdaSearch::report_pivot",
         "expected one answer a query", fmt::format("{}", medians.size()));
  for (std::size_t g = 0; g < queries_.size(); ++g) {
    if (!queries_[g].wanted || !medians[g]) continue;
    const float median = *medians[g];
    // A NaN fails both comparisons, an infinity one of them.
    expect(queries_[g].lo < median && median < queries_[g].hi, "LambdaSearch::report_pivot",
           "a median lies outside the interval asked for", fmt::format("{}", median));
  }
  draw(false, medians);
}

std::vector<std::string> LambdaSearch::take_notes() {
  return std::exchange(notes_, {});
}

LambdaSearch::Bracket LambdaSearch::confirmed(std::size_t group) const {
  if (group >= groups_.size()) return {};
  const GroupHistory& history = groups_[group].history;
  return {history.lo_confirmed() ? history.lower() : std::nullopt,
          history.hi_confirmed() ? history.upper() : std::nullopt};
}

void LambdaSearch::score(Probe& probe) const {
  if (groups_.empty()) return;
  std::vector<double> misses(groups_.size());
  std::size_t meeting = 0;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    misses[g] = relative_miss(g, probe.nnz[g]);
    if (groups_[g].history.meets(probe.nnz[g])) ++meeting;
  }
  std::sort(misses.begin(), misses.end());
  probe.distance = misses[required_ - 1];
  probe.met = meeting >= required_;
}

double LambdaSearch::relative_miss(std::size_t group, std::int64_t nnz) const {
  const double target = static_cast<double>(groups_[group].target);
  return std::abs(static_cast<double>(nnz) - target) / std::max(target, 1.0);
}

double LambdaSearch::sum_of_misses(const Probe& probe) const {
  double sum = 0.0;
  for (std::size_t g = 0; g < groups_.size(); ++g) sum += relative_miss(g, probe.nnz[g]);
  return sum;
}

bool LambdaSearch::better(const Probe& a, const Probe& b) const {
  if (a.distance != b.distance) return a.distance < b.distance;
  return sum_of_misses(a) < sum_of_misses(b);
}

void LambdaSearch::end_of_round(std::span<const Probe> round) {
  const bool met = std::any_of(round.begin(), round.end(), [](const Probe& p) { return p.met; });
  const Probe& own = round.front();
  if (stage_ == Stage::kFixed) {
    finish(own.diverged ? fmt::format("the training at the fixed λ = {} diverged; lower the "
                                      "learning rate",
                                      settings_.lambda_hi)
                        : fmt::format("trained once at the fixed λ = {}", settings_.lambda_hi));
  } else if (met) {
    finish(why_met());
  } else if (rounds_ >= settings_.max_rounds) {
    finish(why_budget_ended());
  } else if (diverged_running_ >= kMostDivergedRunning) {
    finish(
        fmt::format("{} {} in a row diverged, the last at λ = {}; lower the learning rate "
                    "or move the bracket",
                    diverged_running_, settings_.parallel == 1 ? "trainings" : "rounds",
                    fmt::join(own.lambda, ", ")));
  } else if (stage_ == Stage::kRounds) {
    plan_round(diverged_running_ > 0);
  } else {
    settle_others(round);
    if (own.diverged) {
      move_ends_inward();
    } else {
      settle_ends(own);
    }
  }
}

std::string LambdaSearch::why_met() const {
  const Probe& probe = probes_[*best_];
  if (groups_.size() > 1) {
    return fmt::format("training {} met the targets of at least {} of {} groups", probes_.size(),
                       required_, groups_.size());
  }
  const std::string which = settings_.parallel == 1 ? fmt::format("training {}", probe.round)
                                                    : fmt::format("round {}", probe.round);
  return fmt::format("{} met the target: {} nonzeros, {} wanted", which, probe.nnz[0],
                     groups_[0].target);
}

void LambdaSearch::finish(std::string reason) {
  phase_ = Phase::kDone;
  queries_.clear();
  reason_ = std::move(reason);
}

std::string LambdaSearch::name(std::size_t group) const {
  if (settings_.names) return (*settings_.names)[group] + ": ";
  return groups_.size() == 1 ? std::string() : fmt::format("group {}: ", group + 1);
}

std::string LambdaSearch::why_budget_ended() const {
  const char* const unit = settings_.parallel == 1 ? "training" : "round";
  const std::string budget = fmt::format("the budget of {} {}{}", settings_.max_rounds, unit,
                                         settings_.max_rounds == 1 ? "" : "s");
  if (!best_) return budget + " ended and none of them went well; lower the learning rate";
  return fmt::format("{} ended before the target was met; {} {} came nearest, {:.3g} % off", budget,
                     unit, probes_[*best_].round, 100.0 * probes_[*best_].distance);
}

}  // namespace cuthresh::search
