#pragma once

#include "kernels/math/shrink.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

CTH_HD float fused_multiply_add(float a, float b, float c) {
  return __builtin_fmaf(a, b, c);
}
CTH_HD double fused_multiply_add(double a, double b, double c) {
  return __builtin_fma(a, b, c);
}

/// One step of Algorithm 3 (arXiv 2408.02801) for one weight: w ← soft(w − αg, αλ). The gradient
/// step is one fused multiply-add, so there is one rounding before the threshold. `threshold` is
/// αλ, rounded once per layer; 0 for what is not penalised.
template <class T>
struct ProxGradientStep {
  T learning_rate;
  T threshold;

  CTH_HD T operator()(T w, T g) const {
    return soft_threshold(fused_multiply_add(-learning_rate, g, w), threshold);
  }
};

/// Counts: an entry is nonzero when it compares unequal to zero (−0 is zero, NaN is not).
template <class T>
CTH_HD bool is_nonzero(T w) {
  return w != T(0);
}

/// False for NaN and ±∞. (x − x is 0 exactly for the finite values.)
template <class T>
CTH_HD bool is_finite(T x) {
  return x - x == T(0);
}

}  // namespace cuthresh
