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

/// w − αg: one fused multiply-add, so there is one rounding before the threshold.
template <class T>
struct PlainStep {
  static constexpr bool kMomentum = false;
  T learning_rate;

  CTH_HD static PlainStep from(T learning_rate, T) { return {learning_rate}; }
  CTH_HD T operator()(T w, T g) const { return fused_multiply_add(-learning_rate, g, w); }
};

/// v ← μv + g, then w − αv: SGD with momentum as PyTorch defines it (dampening 0; from v = 0 its
/// first step is the plain one).
template <class T>
struct MomentumStep {
  static constexpr bool kMomentum = true;
  T learning_rate;
  T momentum;

  CTH_HD static MomentumStep from(T learning_rate, T momentum) { return {learning_rate, momentum}; }
  CTH_HD T operator()(T w, T g, T& v) const {
    v = fused_multiply_add(momentum, v, g);
    return fused_multiply_add(-learning_rate, v, w);
  }
};

/// v ← μv + g, then w − α(g + μv): PyTorch's SGD with nesterov=True.
template <class T>
struct NesterovStep {
  static constexpr bool kMomentum = true;
  T learning_rate;
  T momentum;

  CTH_HD static NesterovStep from(T learning_rate, T momentum) { return {learning_rate, momentum}; }
  CTH_HD T operator()(T w, T g, T& v) const {
    v = fused_multiply_add(momentum, v, g);
    return fused_multiply_add(-learning_rate, fused_multiply_add(momentum, v, g), w);
  }
};

/// One step of Algorithm 3 (arXiv 2408.02801) for one weight: w ← soft(w − αg, αλ). `threshold` is
/// αλ, rounded once per layer; 0 for what is not penalised.
template <class T>
struct ProxGradientStep {
  T learning_rate;
  T threshold;

  CTH_HD T operator()(T w, T g) const {
    return soft_threshold(PlainStep<T>{learning_rate}(w, g), threshold);
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
