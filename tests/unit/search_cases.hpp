#pragma once

// What the two files of search_test share: settings in one line, and the middle in log λ.

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "search/search.hpp"

namespace cuthresh::search {

using Counts = std::vector<std::int64_t>;
using Lambdas = std::vector<float>;

inline Settings settings(Counts targets, float lo, float hi, Pivot pivot = Pivot::kLogMidpoint) {
  Settings s;
  s.pivot = pivot;
  s.targets = std::move(targets);
  s.lambda_lo = lo;
  s.lambda_hi = hi;
  return s;
}

inline float geometric(float a, float b) {
  return static_cast<float>(std::sqrt(double{a} * double{b}));
}

}  // namespace cuthresh::search
