#pragma once

// The shipped models as the cases of networks see them: layers, rows of a step, and what their
// products cost by their shapes.

#include <cstdint>
#include <string>
#include <vector>

#include "bench/core/case.hpp"
#include "nn/graph.hpp"
#include "train/trainer.hpp"

namespace cuthresh::bench {

struct Model {
  std::string name;  ///< "cnn_paper"
  nn::NetworkSpec spec;
  std::int64_t rows = 0;  ///< of a training step
  train::LossKind loss = train::LossKind::kCrossEntropy;
};

/// mackey_glass, cnn_paper, lenet5, resnet20; with fewer rows, narrower and on smaller images when
/// `smoke`.
std::vector<Model> shipped_models(bool smoke);

/// Of a convolution; of a dense layer as a 1×1 convolution of 1×1 images. Without activation.
ConvShape product_shape(const nn::Graph& graph, const nn::Node& node, std::int64_t rows);

/// A convolution or a dense layer of a network.
struct ProductLayer {
  std::string name;  ///< "conv1"
  nn::NodeKind kind = nn::NodeKind::kDense;
  ConvShape shape;  ///< product_shape()
  bool bias = true;
  bool wants_dx = true;  ///< the first layer of a network does not
};

std::vector<ProductLayer> product_layers(const nn::Graph& graph, std::int64_t rows);

/// A multiply-add is two. Entries of a window that lie in the padding count.
double forward_flops(const ProductLayer& layer);
/// Of ∂L/∂w, and of ∂L/∂x where it is wanted.
double backward_flops(const ProductLayer& layer);
/// Of all layers, both ways.
double step_flops(const nn::Graph& graph, std::int64_t rows);

/// Empty when the room has all of them; else why it has not.
std::string lacks_any(const Room& room, const std::vector<Operation>& operations);

/// What one operand of a product is rounded to, as a share of it: 2⁻¹¹ with TF32, else nothing.
double operand_rounding(const Room& room);

}  // namespace cuthresh::bench
