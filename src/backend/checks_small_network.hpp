#pragma once

#include <span>

#include "backend/backend.hpp"

namespace cuthresh {

/// Layers that fit and follow each other, pointers that are needed, one target; a plan that reads
/// gradients, with the layers' weights and biases as its tensors, in that order.
void check_small_network(const SmallNetworkStep& args, std::span<const ProxTensor> tensors,
                         StepKind kind, Dtype dtype);

}  // namespace cuthresh
