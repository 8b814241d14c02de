#pragma once

// Which buffer holds which gradient during the backward pass: worked out once, so that the pass
// allocates nothing. A buffer is used again as soon as nothing needs what it holds: a chain of
// layers gets along with two.

#include <cstdint>
#include <vector>

#include "nn/graph.hpp"

namespace cuthresh::nn {

/// What the backward pass does at one node, in this order.
struct GradientStep {
  static constexpr int kNone = -1;

  int own_from = kNone;  ///< first copied into dy, because another tensor's gradient shares it
  int dy = kNone;        ///< holds ∂L/∂(output); overwritten as the node's call says
  int dx = kNone;        ///< receives ∂L/∂(input); may be dy; none: not wanted
  /// Then, for a tensor that several nodes read (an operand of a sum counts as dy itself): where
  /// the sum so far is copied to first, if it is shared, and what is added to it.
  struct Sum {
    int own_from = kNone;
    int into = kNone;
    int add = kNone;
  };
  std::vector<Sum> sums;
};

struct GradientPlan {
  std::vector<GradientStep> steps;    ///< a node, in the nodes' order; run from the last one
  std::vector<std::int64_t> buffers;  ///< elements a row of each buffer
  int output = 0;                     ///< the buffer into which the loss writes
};

GradientPlan plan_gradients(const Graph& graph);

/// What a network keeps of each row: activations and gradients.
std::int64_t floats_a_row(const Graph& graph);

}  // namespace cuthresh::nn
