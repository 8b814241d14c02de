#pragma once

#include "backend/backend.hpp"
#include "kernels/math/activation.hpp"

namespace cuthresh {

/// The one switch from the activation of a shape (anything with `activation` and `leaky_slope`) to
/// its functor: f(functor). Forced inline, since src/cpu compiles its callers once per instruction
/// set (kernels/platform.hpp).
template <class Shape, class F>
inline __attribute__((always_inline)) void with_activation(const Shape& shape, F f) {
  switch (shape.activation) {
    case Activation::kIdentity:
      return f(IdentityActivation{});
    case Activation::kRelu:
      return f(ReluActivation{});
    case Activation::kLeakyRelu:
      return f(LeakyReluActivation{shape.leaky_slope});
    case Activation::kTanh:
      return f(TanhActivation{});
    case Activation::kSigmoid:
      return f(SigmoidActivation{});
    case Activation::kGelu:
      return f(GeluActivation{});
    case Activation::kSilu:
      return f(SiluActivation{});
  }
}

}  // namespace cuthresh
