#pragma once

namespace cuthresh {

/// How the tensors of one rate are stepped, before the threshold (step.hpp).
template <class T>
struct StepRateOf {
  T learning_rate = T(0);  ///< α, finite, ≥ 0
  T momentum = T(0);       ///< μ in [0, 1); used by steps with a momentum only
  T weight_decay = T(0);   ///< δ, finite, ≥ 0: the gradient is g + δw
};

using StepRate = StepRateOf<float>;

}  // namespace cuthresh
