#pragma once

#include "kernels/math/activation.hpp"
#include "kernels/math/activation_kind.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

/// The one switch from the activation of a shape (anything with `activation` and `leaky_slope`) to
/// its functor: f(functor). Forced inline, since src/cpu compiles its callers once per instruction
/// set (kernels/platform.hpp). f may be code of the host or of the device.
#if defined(__CUDACC__)
#pragma nv_exec_check_disable
#endif
template <class Shape, class F>
CTH_HD void with_activation(const Shape& shape, F f) {
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
