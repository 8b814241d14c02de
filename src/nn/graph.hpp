#pragma once

// A network as a list of operations on tensors: names, shapes and parameters, without a device.

#include <cstdint>
#include <string>
#include <vector>

#include "nn/layer_spec.hpp"
#include "nn/parameters.hpp"

namespace cuthresh::nn {

struct NetworkSpec {
  ImageShape input;  ///< a vector of n features is 1×1×n
  std::vector<LayerSpec> layers;
  float leaky_slope = 0.01f;
};

/// A fully connected network: widths [inputs, hidden…, outputs]; the activation after every layer
/// but the last, which is linear.
struct MlpSpec {
  std::vector<std::int64_t> widths;
  Activation activation = Activation::kRelu;
  float leaky_slope = 0.01f;

  operator NetworkSpec() const;
};

enum class NodeKind : std::uint8_t {
  kConv,
  kDense,
  kPool,
  kBatchNorm,
  kDropout,
  kPointwise,  ///< act(in), or act(in + other)
  kFlatten     ///< channels-last to PyTorch's order; left out where the two are the same
};

/// tensors[out] from tensors[in] (and tensors[other]). Shapes lack the rows.
struct Node {
  NodeKind kind = NodeKind::kDense;
  std::string name;  ///< "conv1"
  std::size_t in = 0;
  std::size_t out = 0;
  std::size_t other = kNone;
  Activation activation = Activation::kIdentity;
  Window window;                     // kConv, kPool
  PoolKind pool = PoolKind::kMax;    // kPool
  float rate = 0.0f;                 // kDropout
  std::size_t weight = kNone;        // index of parameters; kBatchNorm: the scale
  std::size_t bias = kNone;          // kBatchNorm: the shift
  std::size_t running_mean = kNone;  // kBatchNorm
  std::size_t running_var = kNone;   // kBatchNorm
  std::string text;                  // the layer as it was written; empty for kFlatten

  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
};

/// Nodes in an order in which they can run; tensor 0 is the input, the last node gives the output.
struct Graph {
  std::vector<ImageShape> tensors;
  std::vector<Node> nodes;
  std::vector<Parameter> parameters;
  float leaky_slope = 0.01f;

  const ImageShape& output() const { return tensors[nodes.back().out]; }
};

/// Layers are named conv1, conv2, …, fc1, …, bn1, … in their order. A dense layer flattens images
/// by itself, and so does the end. Throws InputError for what does not fit together.
Graph build_graph(const NetworkSpec& spec);

}  // namespace cuthresh::nn
