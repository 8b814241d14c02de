#pragma once

#include <cmath>

namespace cuthresh::bench {

/// A sum of products in float64 that knows how far float32 may be from it.
struct Float64Sum {
  double value = 0.0;
  double magnitude = 0.0;
  double terms = 0.0;

  void add(double term) {
    value += term;
    magnitude += std::fabs(term);
    terms += 1.0;
  }
  /// Rounding errors of a sum grow with the root of the terms: four times that, and what the last
  /// additions bring. `operand_rounding`: what each factor is rounded to beforehand; those errors
  /// have random signs, so that their sum is about the root of the terms less than its bound.
  double tolerance(double operand_rounding = 0.0) const {
    const double of_sum = 0x1p-24 * (4.0 * std::sqrt(terms) + 16.0) * magnitude;
    const double of_operands =
        12.0 * operand_rounding * magnitude / std::sqrt(std::fmax(terms, 1.0));
    return of_sum + of_operands + 1e-7;
  }
};

}  // namespace cuthresh::bench
