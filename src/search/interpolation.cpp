#include "search/interpolation.hpp"

#include <algorithm>
#include <cmath>

namespace cuthresh::search {
namespace {

constexpr double kNearest = 0.05;

double log_ratio(std::int64_t count, std::int64_t target) {
  return std::log((static_cast<double>(count) + 0.5) / (static_cast<double>(target) + 0.5));
}

}  // namespace

std::optional<float> interpolated(Interval bracket, const BracketCounts& counts) {
  double above = log_ratio(counts.at_lo, counts.target);
  double below = log_ratio(counts.at_hi, counts.target);
  if (!(bracket.lo > 0.0f && bracket.lo < bracket.hi && above > 0.0 && below < 0.0)) {
    return std::nullopt;
  }
  // Too many: the lower end has moved and the upper one stayed.
  if (counts.run > 1) below = std::ldexp(below, 1 - counts.run);
  if (counts.run < -1) above = std::ldexp(above, 1 + counts.run);
  const double share = std::clamp(above / (above - below), kNearest, 1.0 - kNearest);
  const double lo = std::log(double{bracket.lo});
  const double hi = std::log(double{bracket.hi});
  return static_cast<float>(std::exp(lo + share * (hi - lo)));
}

bool Pace::too_slow(Interval bracket) {
  const double width = bracket.lo > 0.0f ? std::log(double{bracket.hi} / double{bracket.lo}) : 0.0;
  if (draws_ == 0 || width > reference_) {
    reference_ = width;
    draws_ = 1;
    return false;
  }
  if (++draws_ <= kDraws) return false;
  draws_ = 0;
  return width > 0.5 * reference_;
}

}  // namespace cuthresh::search
