#pragma once

#include <cstdint>
#include <vector>

#include "backend/backend.hpp"
#include "core/array.hpp"
#include "nn/gradient_plan.hpp"
#include "nn/graph.hpp"
#include "nn/parameters.hpp"

namespace cuthresh::nn {

/// What a forward pass is for. `seed` and the step that `plan` takes next choose the dropout masks;
/// the running statistics of batch normalisation stay as they are once it has stopped.
struct ForwardOptions {
  Pass pass = Pass::kGradient;
  std::uint64_t seed = 0;
  const ProxPlan* plan = nullptr;
};

/// A network with its parameters and the activations of up to `max_rows` samples. Nothing is
/// allocated by forward or backward.
class Network {
 public:
  Network(Backend& backend, Graph graph, std::int64_t max_rows);
  Network(Backend& backend, const NetworkSpec& spec, std::int64_t max_rows)
      : Network(backend, build_graph(spec), max_rows) {}

  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }
  const Graph& graph() const { return graph_; }
  std::int64_t inputs() const { return graph_.tensors.front().elements(); }
  std::int64_t outputs() const { return graph_.output().elements(); }
  std::int64_t max_rows() const { return max_rows_; }
  /// True when Pass::kGradient and Pass::kEvaluate give different outputs: batch normalisation.
  bool depends_on_pass() const;

  /// x [rows, inputs], images channels-last → [rows, outputs], which stays until the next forward.
  /// rows ≤ max_rows.
  const float* forward(const float* x, std::int64_t rows, const ForwardOptions& options = {});
  /// Where the gradient of the loss with respect to the output goes before backward: [rows,
  /// outputs].
  float* output_gradient() { return buffer(gradients_.output); }
  /// After forward(x, rows) that was not for Pass::kEvaluate: gradients of all parameters, set or
  /// added to.
  void backward(const float* x, std::int64_t rows, bool accumulate);

 private:
  /// What a node keeps from the forward pass.
  struct Kept {
    Array<float> y;
    Array<float> z;                  // when the activation needs it
    Array<std::uint8_t> winner;      // max pools
    Array<float> mean, inverse_std;  // batch normalisation
  };

  void run(std::size_t node, const float* x, std::int64_t rows);
  void run_back(std::size_t node, const float* x, std::int64_t rows, bool accumulate);
  /// From `from` to `to`: the values, or their gradients, with the mask of the latest forward.
  void drop(std::size_t node, std::int64_t size, const float* from, float* to);
  DenseShape dense_shape(const Node& node, std::int64_t rows) const;
  ConvShape conv_shape(const Node& node, std::int64_t rows) const;
  PoolShape pool_shape(const Node& node, std::int64_t rows) const;
  BatchNormShape norm_shape(const Node& node, std::int64_t rows) const;
  const ImageShape& shape(std::size_t tensor) const { return graph_.tensors[tensor]; }
  const float* value(std::size_t tensor, const float* x) const {
    return tensor == 0 ? x : kept_[producer_[tensor]].y.data();
  }
  float* parameter(std::size_t i) { return i == Node::kNone ? nullptr : parameters_.value(i); }
  float* gradient(std::size_t i) { return i == Node::kNone ? nullptr : parameters_.gradient(i); }
  float* buffer(int i) {
    return i == GradientStep::kNone ? nullptr : buffers_[static_cast<std::size_t>(i)].data();
  }
  void copy_gradient(int to, int from, std::int64_t elements);

  Backend& backend_;
  Graph graph_;
  std::int64_t max_rows_;
  Parameters parameters_;
  std::vector<Kept> kept_;             // a node
  std::vector<std::size_t> producer_;  // a tensor: its node
  GradientPlan gradients_;
  std::vector<Array<float>> buffers_;
  ForwardOptions options_;  // of the latest forward
};

}  // namespace cuthresh::nn
