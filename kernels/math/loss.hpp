#pragma once

#include "kernels/platform.hpp"

namespace cuthresh {

/// Mean squared error over rows·columns elements, as PyTorch's mse_loss: one element's contribution
/// to the sum (the mean is taken once, at the end) and to the gradient (scale = 2/(rows·columns)).
struct SquaredError {
  float scale;
  CTH_HD double loss(float prediction, float target) const {
    const double d = static_cast<double>(prediction) - static_cast<double>(target);
    return d * d;
  }
  CTH_HD float gradient(float prediction, float target) const {
    return scale * (prediction - target);
  }
};

/// Softmax cross-entropy: with m = max_j z_j and s = Σ_j exp(z_j − m), a row's loss is m + ln s −
/// z_label and its gradient scale·(exp(z_j − m)/s − [j = label]); scale = 1/rows. No overflow for
/// finite z.
struct SoftmaxCrossEntropy {
  float scale;
  CTH_HD float gradient(float exponential, float sum, bool is_label) const {
    return scale * (exponential / sum - (is_label ? 1.0f : 0.0f));
  }
};

}  // namespace cuthresh
