#pragma once

// Activation functions and their derivatives, one functor each. `derivative` takes what the forward
// pass keeps: the output y where that determines it, else the pre-activation z (kNeedsInput). All
// follow PyTorch's definitions; GELU is the exact one (erf).

#include "kernels/math/elementary.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

struct IdentityActivation {
  static constexpr bool kNeedsInput = false;
  CTH_HD float operator()(float z) const { return z; }
  CTH_HD float derivative(float) const { return 1.0f; }
};

/// max(z, 0); NaN stays NaN; the derivative at 0 is 0.
struct ReluActivation {
  static constexpr bool kNeedsInput = false;
  CTH_HD float operator()(float z) const { return z <= 0.0f ? 0.0f : z; }
  CTH_HD float derivative(float y) const { return y > 0.0f ? 1.0f : 0.0f; }
};

/// z for z > 0, else slope·z, slope in [0, 1); the derivative at 0 is the slope.
struct LeakyReluActivation {
  static constexpr bool kNeedsInput = false;
  float slope;
  CTH_HD float operator()(float z) const { return z > 0.0f ? z : slope * z; }
  CTH_HD float derivative(float y) const { return y > 0.0f ? 1.0f : slope; }
};

struct TanhActivation {
  static constexpr bool kNeedsInput = false;
  CTH_HD float operator()(float z) const { return tanh_float(z); }
  CTH_HD float derivative(float y) const { return __builtin_fmaf(-y, y, 1.0f); }
};

struct SigmoidActivation {
  static constexpr bool kNeedsInput = false;
  CTH_HD float operator()(float z) const { return sigmoid_float(z); }
  CTH_HD float derivative(float y) const { return y * (1.0f - y); }
};

/// z·Φ(z) with Φ the standard normal distribution; the derivative is Φ(z) + z·φ(z).
struct GeluActivation {
  static constexpr bool kNeedsInput = true;
  CTH_HD float operator()(float z) const { return 0.5f * z * (1.0f + erf_float(z * 0.707106781f)); }
  CTH_HD float derivative(float z) const {
    const float cdf = 0.5f * (1.0f + erf_float(z * 0.707106781f));
    const float pdf = 0.398942280f * exp_float(-0.5f * z * z);
    return __builtin_fmaf(z, pdf, cdf);
  }
};

/// z·σ(z); the derivative is σ(z)·(1 + z·(1 − σ(z))).
struct SiluActivation {
  static constexpr bool kNeedsInput = true;
  CTH_HD float operator()(float z) const { return z * sigmoid_float(z); }
  CTH_HD float derivative(float z) const {
    const float s = sigmoid_float(z);
    return s * __builtin_fmaf(z, 1.0f - s, 1.0f);
  }
};

}  // namespace cuthresh
