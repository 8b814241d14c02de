#pragma once

#include "kernels/math/shrink.hpp"
#include "kernels/math/step_rate.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

CTH_HD float fused_multiply_add(float a, float b, float c) {
  return __builtin_fmaf(a, b, c);
}
CTH_HD double fused_multiply_add(double a, double b, double c) {
  return __builtin_fma(a, b, c);
}

/// g + δw, one rounding; g itself, whatever w is, without weight decay.
template <class T>
CTH_HD T decayed_gradient(T g, T w, T weight_decay) {
  return weight_decay != T(0) ? fused_multiply_add(weight_decay, w, g) : g;
}

// Steps as PyTorch's SGD takes them, to the bit (tests/parity/sgd_table.csv): dampening 0, weight
// decay in the gradient. From v = 0 the first step with momentum is the plain one.

/// w − αg: one fused multiply-add, so there is one rounding before the threshold.
template <class T>
struct PlainStep {
  static constexpr bool kGradient = true;
  static constexpr bool kMomentum = false;
  StepRateOf<T> rate;

  CTH_HD T operator()(T w, T g) const {
    return fused_multiply_add(-rate.learning_rate, decayed_gradient(g, w, rate.weight_decay), w);
  }
};

/// v ← μv + g, a product and a sum that are rounded each, then w − αv.
template <class T>
struct MomentumStep {
  static constexpr bool kGradient = true;
  static constexpr bool kMomentum = true;
  StepRateOf<T> rate;

  CTH_HD T operator()(T w, T g, T& v) const {
    const T kept = rate.momentum * v;
    v = kept + decayed_gradient(g, w, rate.weight_decay);
    return fused_multiply_add(-rate.learning_rate, v, w);
  }
};

/// v ← μv + g likewise, then w − α(g + μv), with g + μv rounded once.
template <class T>
struct NesterovStep {
  static constexpr bool kGradient = true;
  static constexpr bool kMomentum = true;
  StepRateOf<T> rate;

  CTH_HD T operator()(T w, T g, T& v) const {
    const T gradient = decayed_gradient(g, w, rate.weight_decay);
    const T kept = rate.momentum * v;
    v = kept + gradient;
    return fused_multiply_add(-rate.learning_rate, fused_multiply_add(rate.momentum, v, gradient),
                              w);
  }
};

/// w: it has been stepped already. Reads no gradient.
template <class T>
struct ThresholdStep {
  static constexpr bool kGradient = false;
  static constexpr bool kMomentum = false;
  StepRateOf<T> rate;

  CTH_HD T operator()(T w) const { return w; }
};

/// One step of Algorithm 3 (arXiv 2408.02801) for one weight: w ← soft(w − αg, αλ). `threshold` is
/// αλ, rounded once per layer; 0 for what is not penalised.
template <class T>
struct ProxGradientStep {
  T learning_rate;
  T threshold;

  CTH_HD T operator()(T w, T g) const {
    return soft_threshold(PlainStep<T>{{learning_rate}}(w, g), threshold);
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
