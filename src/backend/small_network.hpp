#pragma once

// A training step of a small fully connected network in one call: forward, loss, gradients, and the
// fused step of a plan, without gradients in memory where they are not wanted.

#include <cstdint>
#include <span>
#include <string>

#include "kernels/math/activation_kind.hpp"

namespace cuthresh {

struct LossSum;

/// y = act(x·Wᵀ + b): W [out, in] and b [out] are tensors of the plan.
struct SmallNetworkLayer {
  std::int64_t in = 0;
  std::int64_t out = 0;
  Activation activation = Activation::kIdentity;
  float leaky_slope = 0.01f;
  float* dw = nullptr;  ///< [out, in] and [out]: where the gradients go; null: nowhere
  float* db = nullptr;
};

struct SmallNetworkStep {
  std::int64_t rows = 0;                      ///< ≥ 1
  std::span<const SmallNetworkLayer> layers;  ///< each takes what the one before gives
  const float* x = nullptr;                   ///< [rows, in of the first]
  const float* target = nullptr;        ///< [rows, out of the last]: mean squared error; else null
  const std::int32_t* label = nullptr;  ///< [rows]: softmax cross-entropy; else null
  float gradient_scale = 0.0f;          ///< as LossArgs'
  LossSum* sum = nullptr;               ///< set to the sum over the rows; null: not wanted
  bool step = true;                     ///< false: gradients and loss only, nothing is stepped
};

/// Why a network is none of these (too wide, too deep), or empty.
std::string small_network_misfit(std::span<const SmallNetworkLayer> layers);

}  // namespace cuthresh
