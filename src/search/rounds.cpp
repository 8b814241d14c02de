// The rounds: what a training teaches, and where each group's λ goes next.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "search/search.hpp"

namespace cuthresh::search {
namespace {

// By chance a halved bracket misses four times on one side once in eight; undoing a good end then
// costs about one training, while keeping a stale one costs all that remain: of 300 synthetic
// searches over four strongly coupled layers 29 ended unmet after 100 trainings without this rule,
// none with it. 3 and 6 do about as well as 4.
constexpr int kRunThatDiscards = 4;

}  // namespace

void LambdaSearch::learn(std::span<const Probe> round) {
  const bool failed =
      std::all_of(round.begin(), round.end(), [](const Probe& p) { return p.diverged; });
  diverged_running_ = failed ? diverged_running_ + 1 : 0;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    if (!failed) learn_sides(g, round);
    for (const Probe& probe : round) {
      if (probe.diverged) {
        groups_[g].history.add_diverged(probe.lambda[g]);
      } else {
        learn_count(g, probe.lambda[g], probe.nnz[g]);
      }
    }
  }
}

/// A round whose candidates missed on both sides moves both ends of the bracket: no run goes on.
void LambdaSearch::learn_sides(std::size_t g, std::span<const Probe> round) {
  Group& group = groups_[g];
  std::optional<int> side;
  bool both = false;
  for (const Probe& probe : round) {
    if (probe.diverged) continue;
    const std::int64_t nnz = probe.nnz[g];
    const int here = group.history.above(nnz) ? 1 : group.history.below(nnz) ? -1 : 0;
    both = both || (side && *side != here);
    side = side.value_or(here);
  }
  const bool counts = group.moved && *side != 0;
  group.run = !counts ? 0 : !both && *side == group.side ? group.run + 1 : 1;
  group.side = *side;
}

void LambdaSearch::learn_count(std::size_t g, float lambda, std::int64_t nnz) {
  Group& group = groups_[g];
  if (stage_ != Stage::kRounds || group.pinned) {
    group.history.add(lambda, nnz);
    return;
  }
  const Interval before = group.history.rule_bracket();
  group.history.add(lambda, nnz);
  if (groups_.size() > 1 && group.run >= kRunThatDiscards) {
    const Interval now = group.history.rule_bracket();
    if (group.history.forget(group.side > 0 ? now.hi : now.lo)) group.run = 0;
  }
  const Interval after = group.history.rule_bracket();
  if (after.lo < before.lo || after.hi > before.hi) {
    notes_.push_back(
        fmt::format("{}{} nonzeros at λ = {} contradict the bracket {} to {}: it is widened "
                    "to {} to {}",
                    name(g), nnz, lambda, before.lo, before.hi, after.lo, after.hi));
  }
}

void LambdaSearch::plan_round(bool diverged) {
  bool any_moved = false;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    Group& group = groups_[g];
    group.moved = false;
    if (group.pinned) {
      lambda_[g] = *group.pinned;
    } else if (const auto kept = group.history.meeting_lambda()) {
      lambda_[g] = *kept;
    } else if (move_group(g)) {
      any_moved = true;
    } else {
      lambda_[g] = group.history.nearest_lambda().value_or(lambda_[g]);
    }
  }
  if (!any_moved && lambda_tried()) {
    // Every group would stay, and all that was seen together before: whoever missed last must move.
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      if (groups_[g].pinned || groups_[g].side == 0) continue;
      any_moved = move_group(g) || any_moved;
    }
    if (!any_moved) {
      finish_exhausted();
      return;
    }
  }
  if (settings_.pivot != Pivot::kGradientMedian || diverged || !any_moved) {
    draw(diverged, {});
    return;
  }
  queries_.clear();
  for (const Group& group : groups_) {
    queries_.push_back(group.moved ? PivotQuery{true, group.bracket.lo, group.bracket.hi}
                                   : PivotQuery{});
  }
  phase_ = Phase::kPivot;
}

bool LambdaSearch::move_group(std::size_t g) {
  Group& group = groups_[g];
  const auto bracket = group.history.searchable();
  if (!bracket) return false;
  const Interval rule = group.history.rule_bracket();
  if (*bracket != rule && rule != group.noted) {
    notes_.push_back(
        fmt::format("{}no untried λ is left between {} and {}, where the counts contradict "
                    "each other: the search goes on between {} and {}",
                    name(g), rule.lo, rule.hi, bracket->lo, bracket->hi));
    group.noted = rule;
  }
  group.bracket = *bracket;
  group.moved = true;
  return true;
}

bool LambdaSearch::lambda_tried() const {
  return std::any_of(probes_.begin(), probes_.end(),
                     [this](const Probe& probe) { return probe.lambda == lambda_; });
}

std::optional<float> LambdaSearch::proposal(Group& group, std::optional<float> median) const {
  if (median) return median;
  const Interval bracket = group.bracket;
  const double lo = double{bracket.lo};
  const double hi = double{bracket.hi};
  if (settings_.pivot != Pivot::kInterpolate) {
    const bool arithmetic = settings_.pivot == Pivot::kGradientMedian || lo == 0.0;
    return static_cast<float>(arithmetic ? 0.5 * (lo + hi) : std::sqrt(lo * hi));
  }
  const auto at_lo = group.history.count(bracket.lo);
  const auto at_hi = group.history.count(bracket.hi);
  if (group.pace.too_slow(bracket) || !at_lo || !at_hi) return std::nullopt;
  return interpolated(bracket, {*at_lo, *at_hi, group.target, group.run * group.side});
}

void LambdaSearch::draw(bool diverged, const std::vector<std::optional<float>>& medians) {
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    Group& group = groups_[g];
    if (!group.moved) continue;
    std::optional<float> next;
    if (!diverged) next = proposal(group, g < medians.size() ? medians[g] : std::nullopt);
    if (!next || !group.history.acceptable(*next, group.bracket)) {
      next = group.history.widest_gap_middle(group.bracket);
    }
    lambda_[g] = next.value();  // searchable() promised that the bracket holds an untried float
  }
  if (settings_.parallel > 1) add_others(groups_[0].bracket);
  queries_.clear();
  phase_ = Phase::kTrain;
}

void LambdaSearch::add_others(Interval bracket) {
  const auto wanted = static_cast<std::size_t>(settings_.parallel - 1) - others_.size();
  std::vector<float> taken = {lambda_[0]};
  taken.insert(taken.end(), others_.begin(), others_.end());
  for (const float next : groups_[0].history.dividing(bracket, taken, wanted)) {
    others_.push_back(next);
  }
}

void LambdaSearch::finish_exhausted() {
  std::string where;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    if (groups_[g].pinned || groups_[g].side == 0) continue;
    const Interval rule = groups_[g].history.rule_bracket();
    where += fmt::format("{}{}{} and {}", where.empty() ? "" : "; ", name(g), rule.lo, rule.hi);
  }
  finish(fmt::format(
      "no untried λ is left between the ends of the bracket ({}), and the count jumps over "
      "the target there; allow a larger tolerance or more steps",
      where));
}

}  // namespace cuthresh::search
