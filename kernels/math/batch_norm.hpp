#pragma once

// Batch normalisation of one channel, element by element. Sums over rows are the rooms' matter:
// rows one by one in blocks of kSumBlockRows, blocks one by one in groups of kNormGroupBlocks,
// then the groups, in float32: a fixed order that a GPU can take in parallel, and no partial sum
// has more than 128 terms before the last level. Every operation rounds once; NaN and ∞ go where
// arithmetic takes them.

#include <cstdint>

#include "kernels/math/sum_order.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

inline constexpr std::int64_t kNormGroupBlocks = 32;

CTH_HD float normalised(float x, float mean, float inverse_std) {
  return (x - mean) * inverse_std;
}
CTH_HD float batch_norm(float x, float mean, float inverse_std, float gamma, float beta) {
  return gamma * normalised(x, mean, inverse_std) + beta;
}
CTH_HD float squared_deviation(float x, float mean) {
  const float d = x - mean;
  return d * d;
}
CTH_HD float inverse_deviation(float variance, float epsilon) {
  return 1.0f / __builtin_sqrtf(variance + epsilon);
}

/// From sums over `rows` rows to the statistics of the batch and the running ones.
struct BatchMoments {
  float rows;
  float others;  // rows − 1
  float epsilon;
  float momentum;

  CTH_HD float mean(float sum) const { return sum / rows; }
  CTH_HD float inverse_std(float squares) const {
    return inverse_deviation(squares / rows, epsilon);
  }
  CTH_HD float unbiased(float squares) const { return squares / others; }
  CTH_HD float moved(float running, float batch) const {
    return (1.0f - momentum) * running + momentum * batch;
  }
};

/// ∂L/∂x of one channel from ∂L/∂z and its sums over the rows.
struct BatchNormGradient {
  float mean;
  float inverse_std;
  float scale;          // gamma·inverse_std
  float mean_dz;        // Σ dz / rows
  float mean_dz_shape;  // Σ dz·x̂ / rows

  CTH_HD static BatchNormGradient of(float mean, float inverse_std, float gamma, float sum_dz,
                                     float sum_dz_shape, float rows) {
    return {mean, inverse_std, gamma * inverse_std, sum_dz / rows, sum_dz_shape / rows};
  }
  CTH_HD float operator()(float dz, float x) const {
    return scale * (dz - mean_dz - normalised(x, mean, inverse_std) * mean_dz_shape);
  }
};

}  // namespace cuthresh
