#include "search/group_history.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <map>

namespace cuthresh::search {
namespace {

// λ = 0 has no logarithm. The end search goes from 1e-12 straight to 0, so the decade below stands
// for it.
constexpr double kSmallestSearched = 1e-12;
constexpr double kZeroStandIn = 1e-13;

double log_start(float a, float b) {
  if (a > 0.0f) return double{a};
  return double{b} > kSmallestSearched ? kZeroStandIn : double{b} / 4.0;
}

/// Floats from 0 on, numbered in their order.
std::int64_t place(float lambda) {
  return std::int64_t{std::bit_cast<std::uint32_t>(lambda)};
}
float at_place(std::int64_t place) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(place));
}

double log_width(float a, float b) {
  return std::log(double{b} / log_start(a, b));
}

}  // namespace

std::optional<float> log_middle(float a, float b) {
  if (!(a < b)) return std::nullopt;
  const float next = std::nextafter(a, b);
  if (next == b) return std::nullopt;
  const float last = std::nextafter(b, a);
  return std::clamp(static_cast<float>(std::sqrt(log_start(a, b) * double{b})), next, last);
}

std::vector<float> divided(const std::vector<Interval>& gaps, std::size_t n) {
  struct Share {
    Interval gap;
    double width = 0.0;
    std::int64_t floats = 0;  // inside
    std::int64_t points = 0;
    double each() const { return width / static_cast<double>(points + 1); }
  };
  std::vector<Share> shares;
  for (const Interval& gap : gaps) {
    shares.push_back({gap, log_width(gap.lo, gap.hi), place(gap.hi) - place(gap.lo) - 1, 0});
  }
  for (std::size_t i = 0; i < n; ++i) {
    Share* widest = nullptr;
    for (Share& s : shares) {
      // Of equal gaps the upper, but for what rounding makes of them.
      const bool wider = widest == nullptr || s.each() >= widest->each() * (1.0 - 1e-6);
      if (s.points < s.floats && wider) widest = &s;
    }
    if (widest == nullptr) break;
    ++widest->points;
  }
  std::vector<float> chosen;
  for (const Share& s : shares) {
    std::int64_t last = place(s.gap.lo);
    for (std::int64_t i = 1; i <= s.points; ++i) {
      const double at = std::log(log_start(s.gap.lo, s.gap.hi)) + s.each() * static_cast<double>(i);
      last = std::clamp(place(static_cast<float>(std::exp(at))), last + 1,
                        place(s.gap.hi) - (s.points - i) - 1);
      chosen.push_back(at_place(last));
    }
  }
  return chosen;
}

GroupHistory::Entry& GroupHistory::entry(float lambda) {
  auto place = std::lower_bound(entries_.begin(), entries_.end(), lambda,
                                [](const Entry& e, float value) { return e.lambda < value; });
  if (place == entries_.end() || place->lambda != lambda) {
    place = entries_.insert(place, Entry{.lambda = lambda, .diverged = true});
  }
  return *place;
}

void GroupHistory::add(float lambda, std::int64_t nnz) {
  if (interacts_) {
    for (Entry& e : entries_) {
      const bool contradicts =
          (e.lambda < lambda && e.nnz < nnz) || (e.lambda > lambda && e.nnz > nnz);
      if (!e.diverged && contradicts) e.forgotten = true;
    }
  }
  entry(lambda) = Entry{.lambda = lambda, .nnz = nnz, .order = ++order_};
}

void GroupHistory::add_diverged(float lambda) {
  // A λ that once trained well keeps its count: with several groups another's λ may be to blame.
  entry(lambda);
}

void GroupHistory::confirm_lo(float lambda) {
  outer_lo_ = outer_lo_ ? std::min(*outer_lo_, lambda) : lambda;
}

void GroupHistory::confirm_hi(float lambda) {
  outer_hi_ = outer_hi_ ? std::max(*outer_hi_, lambda) : lambda;
}

bool GroupHistory::usable(const Entry& e) const {
  return !e.diverged && !e.forgotten && (!outer_lo_ || e.lambda >= *outer_lo_) &&
         (!outer_hi_ || e.lambda <= *outer_hi_);
}

std::optional<float> GroupHistory::lower() const {
  const Entry* best = nullptr;
  for (const Entry& e : entries_) {
    if (usable(e) && e.nnz >= target_ && (!best || e.nnz <= best->nnz)) best = &e;
  }
  return best ? std::optional(best->lambda) : outer_lo_;
}

std::optional<float> GroupHistory::upper() const {
  const Entry* best = nullptr;
  for (const Entry& e : entries_) {
    if (usable(e) && e.nnz <= target_ && (!best || e.nnz > best->nnz)) best = &e;
  }
  return best ? std::optional(best->lambda) : outer_hi_;
}

bool GroupHistory::monotone() const {
  const Entry* previous = nullptr;
  for (const Entry& e : entries_) {
    if (e.diverged) continue;
    if (previous && e.nnz > previous->nnz) return false;
    previous = &e;
  }
  return true;
}

Interval GroupHistory::step_out(Interval bracket) const {
  const float lo = std::min(bracket.lo, bracket.hi);
  const float hi = std::max(bracket.lo, bracket.hi);
  Interval wider{*outer_lo_, *outer_hi_};
  for (const Entry& e : entries_) {
    if (e.diverged) continue;
    if (e.lambda < lo) wider.lo = std::max(wider.lo, e.lambda);
    if (e.lambda > hi) wider.hi = std::min(wider.hi, e.lambda);
  }
  return wider;
}

std::optional<Interval> GroupHistory::searchable() const {
  Interval bracket = rule_bracket();
  const bool may_widen = interacts_ || !monotone();
  while (!widest_gap_middle(bracket)) {
    const Interval wider = step_out(bracket);
    if (!may_widen || wider == bracket) return std::nullopt;
    bracket = wider;
  }
  return bracket;
}

std::optional<std::int64_t> GroupHistory::count(float lambda) const {
  for (const Entry& e : entries_) {
    if (e.lambda == lambda && !e.diverged) return e.nnz;
  }
  return std::nullopt;
}

std::optional<float> GroupHistory::meeting_lambda() const {
  const Entry* latest = nullptr;
  for (const Entry& e : entries_) {
    if (usable(e) && meets(e.nnz) && (!latest || e.order > latest->order)) latest = &e;
  }
  return latest ? std::optional(latest->lambda) : std::nullopt;
}

std::optional<float> GroupHistory::nearest_lambda() const {
  const Entry* nearest = nullptr;
  const auto miss = [&](const Entry& e) { return std::abs(e.nnz - target_); };
  for (const Entry& e : entries_) {
    if (usable(e) && (!nearest || miss(e) < miss(*nearest))) nearest = &e;
  }
  return nearest ? std::optional(nearest->lambda) : std::nullopt;
}

bool GroupHistory::acceptable(float lambda, Interval bracket) const {
  if (!(bracket.lo < lambda && lambda < bracket.hi)) return false;
  const auto above = std::lower_bound(entries_.begin(), entries_.end(), lambda,
                                      [](const Entry& e, float value) { return e.lambda < value; });
  if (above != entries_.end() && above->lambda == lambda) return false;
  const bool between_two = above != entries_.begin() && above != entries_.end();
  return !(between_two && above->diverged && std::prev(above)->diverged);
}

std::optional<float> GroupHistory::widest_gap_middle(Interval bracket) const {
  std::optional<float> middle;
  double widest = 0.0;
  bool touches_good = false;
  const Entry* previous = nullptr;
  for (const Entry& e : entries_) {
    if (e.lambda < bracket.lo || e.lambda > bracket.hi) continue;
    if (previous) {
      const bool good = !previous->diverged || !e.diverged;
      const double width = log_width(previous->lambda, e.lambda);
      const bool better = good != touches_good ? good : width >= widest * (1.0 - 1e-6);
      const auto candidate = log_middle(previous->lambda, e.lambda);
      if (candidate && (!middle || better)) {
        middle = candidate;
        widest = width;
        touches_good = good;
      }
    }
    previous = &e;
  }
  return middle;
}

std::vector<float> GroupHistory::dividing(Interval bracket, const std::vector<float>& taken,
                                          std::size_t n) const {
  std::map<float, bool> marks;  // whether it diverged
  for (const Entry& e : entries_) {
    if (e.lambda >= bracket.lo && e.lambda <= bracket.hi) marks[e.lambda] = e.diverged;
  }
  for (const float lambda : taken) marks.emplace(lambda, false);
  std::vector<Interval> good;
  std::vector<Interval> bad;
  for (auto mark = marks.begin(); mark != marks.end() && std::next(mark) != marks.end(); ++mark) {
    const auto above = std::next(mark);
    (mark->second && above->second ? bad : good).push_back({mark->first, above->first});
  }
  std::vector<float> chosen = divided(good, n);
  const std::vector<float> more = divided(bad, n - chosen.size());
  chosen.insert(chosen.end(), more.begin(), more.end());
  return chosen;
}

Interval GroupHistory::untried_around(float lambda) const {
  Interval around{lambda, lambda};
  for (const Entry& e : entries_) {
    if (e.lambda < lambda) around.lo = e.lambda;
    if (e.lambda > lambda && around.hi == lambda) around.hi = e.lambda;
  }
  return around;
}

std::optional<float> GroupHistory::nearest_above(float lambda, bool diverged) const {
  for (const Entry& e : entries_) {
    if (e.diverged == diverged && e.lambda > lambda) return e.lambda;
  }
  return std::nullopt;
}

std::optional<float> GroupHistory::nearest_below(float lambda, bool diverged) const {
  for (auto e = entries_.rbegin(); e != entries_.rend(); ++e) {
    if (e->diverged == diverged && e->lambda < lambda) return e->lambda;
  }
  return std::nullopt;
}

bool GroupHistory::forget(float lambda) {
  for (Entry& e : entries_) {
    if (e.lambda == lambda && usable(e) && lambda != *outer_lo_ && lambda != *outer_hi_) {
      e.forgotten = true;
      return true;
    }
  }
  return false;
}

}  // namespace cuthresh::search
