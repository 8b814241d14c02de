#pragma once

// Where a bracket's pivot goes by interpolation in (log λ, log nnz), and how that is guarded.

#include <cstdint>
#include <optional>

#include "search/group_history.hpp"

namespace cuthresh::search {

/// What is known at the ends of a bracket. The counts are meant to lie on both sides of the target,
/// the one at the lower end above it.
struct BracketCounts {
  std::int64_t at_lo = 0;
  std::int64_t at_hi = 0;
  std::int64_t target = 0;
  /// Misses running, each at a λ drawn from the bracket: > 0 too many, < 0 too few.
  int run = 0;
};

/// The λ at which the line through both ends in (log λ, log(nnz + 1/2)) has the target. The end
/// that misses have left in place counts half for each of them but the first (Illinois), and no
/// pivot comes nearer to an end than a twentieth of the bracket. None where the counts do not
/// enclose the target, or the lower end is 0 and has no logarithm.
std::optional<float> interpolated(Interval bracket, const BracketCounts& counts);

/// Says when interpolation has been too slow: a bracket that has not halved, in log λ, over two
/// draws is halved by the next. So a search takes at most three times the halvings.
class Pace {
 public:
  /// A pivot is about to be drawn from this bracket; true: halve it instead.
  bool too_slow(Interval bracket);

 private:
  static constexpr int kDraws = 2;
  double reference_ = 0.0;  // width at the first of the present draws
  int draws_ = 0;
};

}  // namespace cuthresh::search
