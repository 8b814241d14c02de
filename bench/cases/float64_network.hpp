#pragma once

// The loss of a network in float64 from the definitions of its layers: what a training step is held
// to. Shares the list of layers with the library, and no arithmetic.

#include <cstdint>
#include <vector>

#include "nn/graph.hpp"

namespace cuthresh::bench {

/// What one pass learns from: inputs [rows, elements], images channels-last, and either.
struct Float64Batch {
  std::int64_t rows = 0;
  std::vector<double> inputs;
  std::vector<double> targets;       ///< [rows, outputs]: mean squared error
  std::vector<std::int32_t> labels;  ///< [rows]: cross-entropy
};

class Float64Network {
 public:
  Float64Network(const nn::Graph& graph, float leaky_slope);

  /// Mean over the batch, with its own statistics in batch normalisation. `parameters`: as many
  /// vectors as graph.parameters.
  double loss(const std::vector<std::vector<double>>& parameters, const Float64Batch& batch) const;

 private:
  using Values = std::vector<double>;

  /// The output of a node, before its activation.
  Values output(const nn::Node& node, std::int64_t rows, const std::vector<Values>& tensors,
                const std::vector<Values>& parameters) const;

  nn::Graph graph_;
  double leaky_slope_;
};

}  // namespace cuthresh::bench
