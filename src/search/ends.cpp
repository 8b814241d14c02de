// The first trainings: a confirmed λ on each side of every group's target.

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <limits>

#include "search/search.hpp"

namespace cuthresh::search {
namespace {

constexpr float kWidening = 10.0f;
constexpr float kLargestWidened = 1e6f;
constexpr float kSmallestWidened = 1e-12f;
// Tenfold steps in float drift by a few units in the last place; a last step of a millionth is no
// step.
constexpr float kSlack = 0.99f;
// An end squeezed to within one percent of a λ that diverged cannot be widened usefully.
constexpr double kNarrowest = 1.01;
constexpr float kAboveAll = std::numeric_limits<float>::infinity();
constexpr float kBelowAll = -1.0f;

std::optional<float> towards(float lambda, float barrier) {
  const double lo = double{std::min(lambda, barrier)};
  const double hi = double{std::max(lambda, barrier)};
  if (lo > 0.0 ? hi < kNarrowest * lo : hi <= double{kSmallestWidened}) return std::nullopt;
  return log_middle(std::min(lambda, barrier), std::max(lambda, barrier));
}

}  // namespace

/// One group: whichever candidate has a count on one side of the target confirms an end there.
void LambdaSearch::settle_others(std::span<const Probe> round) {
  for (const Probe& probe : round.subspan(1)) {
    GroupHistory& history = groups_[0].history;
    if (probe.diverged) continue;
    if (history.above(probe.nnz[0])) {
      history.confirm_lo(probe.lambda[0]);
    } else {
      history.confirm_hi(probe.lambda[0]);
    }
  }
}

void LambdaSearch::settle_ends(const Probe& own) {
  std::vector<std::size_t> open;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    if (groups_[g].pinned) continue;
    open.push_back(g);
    if (stage_ == Stage::kHiEnd) {
      settle_hi(g, own.lambda[g], own.nnz[g]);
    } else {
      settle_lo(g, own.lambda[g], own.nnz[g]);
    }
  }
  if (too_many_pinned()) return;
  for (std::size_t g : open) {
    if (!groups_[g].pinned) continue;
    notes_.push_back(fmt::format("{}; λ stays at {}", groups_[g].why_pinned, *groups_[g].pinned));
  }
  train_ends();
}

void LambdaSearch::settle_hi(std::size_t g, float lambda, std::int64_t nnz) {
  Group& group = groups_[g];
  if (group.history.hi_confirmed()) return;
  if (!group.history.above(nnz)) {
    group.history.confirm_hi(lambda);
    return;
  }
  group.history.confirm_lo(lambda);
  // The one above all others, which with one candidate a round is this one.
  const float top = group.history.good_below(kAboveAll).value_or(lambda);
  widen(g, top, group.history.count(top).value_or(nnz), widened_up(group.history, top));
}

void LambdaSearch::settle_lo(std::size_t g, float lambda, std::int64_t nnz) {
  Group& group = groups_[g];
  if (!group.history.below(nnz)) {
    group.history.confirm_lo(lambda);
  } else if (!group.history.lo_confirmed()) {
    const float bottom = group.history.good_above(kBelowAll).value_or(lambda);
    widen(g, bottom, group.history.count(bottom).value_or(nnz),
          widened_down(group.history, bottom));
  }
}

void LambdaSearch::widen(std::size_t g, float lambda, std::int64_t nnz, std::optional<float> next) {
  Group& group = groups_[g];
  const bool up = stage_ == Stage::kHiEnd;
  const std::string seen = fmt::format("{}λ = {} leaves {} nonzeros, {} than the target of {}",
                                       name(g), lambda, nnz, up ? "more" : "fewer", group.target);
  if (next) {
    notes_.push_back(fmt::format("{}: the {} end of the bracket is widened to {}", seen,
                                 up ? "upper" : "lower", *next));
    group.end_lambda = *next;
    return;
  }
  const auto barrier =
      up ? group.history.diverged_above(lambda) : group.history.diverged_below(lambda);
  const std::string tried =
      barrier ? fmt::format("trainings at λ = {} diverge", *barrier)
              : fmt::format("the bracket was widened from λ = {} and goes no further than {}",
                            up ? settings_.lambda_hi : settings_.lambda_lo, lambda);
  group.pinned = lambda;
  group.why_pinned = fmt::format("{}, and {}; {}", seen, tried,
                                 up ? "raise the target or train for more steps"
                                    : "lower the target or train for fewer steps");
}

bool LambdaSearch::too_many_pinned() {
  std::size_t pinned = 0;
  std::string why;
  for (const Group& group : groups_) {
    if (!group.pinned) continue;
    ++pinned;
    why += (why.empty() ? "" : "; ") + group.why_pinned;
  }
  if (pinned <= groups_.size() - required_) return false;
  finish("no bracket: " + why);
  return true;
}

void LambdaSearch::train_ends() {
  const auto open = [this](const Group& group) {
    return !group.pinned &&
           !(stage_ == Stage::kHiEnd ? group.history.hi_confirmed() : group.history.lo_confirmed());
  };
  if (stage_ == Stage::kHiEnd && std::none_of(groups_.begin(), groups_.end(), open)) {
    stage_ = Stage::kLoEnd;
    for (Group& group : groups_) group.end_lambda = settings_.lambda_lo;
    if (settings_.parallel > 1 && !groups_[0].history.lo_confirmed()) return settle_tried_lo();
  }
  if (std::none_of(groups_.begin(), groups_.end(), open)) {
    stage_ = Stage::kRounds;
    plan_round(false);
    return;
  }
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const Group& group = groups_[g];
    if (group.pinned) {
      lambda_[g] = *group.pinned;
    } else if (open(group)) {
      lambda_[g] = group.end_lambda;
    } else {
      lambda_[g] = stage_ == Stage::kHiEnd ? group.history.outer_hi() : group.history.outer_lo();
    }
  }
  phase_ = Phase::kTrain;
  if (settings_.parallel > 1) add_others(groups_[0].history.untried_around(lambda_[0]));
}

/// The first round of several candidates has tried the lower end, and no other one confirms it.
void LambdaSearch::settle_tried_lo() {
  const float lo = settings_.lambda_lo;
  const auto nnz = groups_[0].history.count(lo);
  if (!nnz) return move_ends_inward();
  settle_lo(0, lo, *nnz);
  if (!too_many_pinned()) train_ends();
}

void LambdaSearch::move_ends_inward() {
  const bool up = stage_ == Stage::kHiEnd;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    Group& group = groups_[g];
    if (group.pinned || (up ? group.history.hi_confirmed() : group.history.lo_confirmed()))
      continue;
    const float end = group.end_lambda;
    // To the middle between the nearest that went well and the nearest to that which did not.
    const float good = up ? group.history.good_below(end).value_or(settings_.lambda_lo)
                          : group.history.good_above(end).value_or(settings_.lambda_hi);
    const auto next = up ? log_middle(good, group.history.diverged_above(good).value_or(end))
                         : log_middle(group.history.diverged_below(good).value_or(end), good);
    if (!next) {
      finish(
          fmt::format("{}the training at the {} end of the bracket, λ = {}, diverged and no float "
                      "is left to move it to; lower the learning rate or widen the bracket",
                      name(g), up ? "upper" : "lower", end));
      return;
    }
    notes_.push_back(
        fmt::format("{}the training at λ = {} diverged: the {} end of the bracket moves "
                    "to {}",
                    name(g), end, up ? "upper" : "lower", *next));
    group.end_lambda = *next;
  }
  train_ends();
}

std::optional<float> LambdaSearch::widened_up(const GroupHistory& history, float lambda) {
  if (lambda >= kSlack * kLargestWidened) return std::nullopt;
  float next = kWidening * lambda;
  if (next >= kSlack * kLargestWidened) next = kLargestWidened;
  const auto barrier = history.diverged_above(lambda);
  return barrier && next >= *barrier ? towards(lambda, *barrier) : next;
}

std::optional<float> LambdaSearch::widened_down(const GroupHistory& history, float lambda) {
  if (lambda == 0.0f) return std::nullopt;
  float next = lambda / kWidening;
  if (next < kSlack * kSmallestWidened) next = 0.0f;
  const auto barrier = history.diverged_below(lambda);
  return barrier && next <= *barrier ? towards(lambda, *barrier) : next;
}

}  // namespace cuthresh::search
