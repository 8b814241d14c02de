#pragma once

#include <cstdint>
#include <vector>

#include "backend/backend.hpp"
#include "core/array.hpp"
#include "nn/parameters.hpp"

namespace cuthresh::nn {

/// A fully connected network: widths [inputs, hidden…, outputs], layers fc1, fc2, …; the activation
/// after every layer but the last, which is linear.
struct MlpSpec {
  std::vector<std::int64_t> widths;
  Activation activation = Activation::kRelu;
  float leaky_slope = 0.01f;
};

/// A feed-forward network with its parameters and the activations of up to `max_rows` samples.
/// Nothing is allocated by forward or backward.
class Network {
 public:
  Network(Backend& backend, const MlpSpec& spec, std::int64_t max_rows);

  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }
  std::int64_t inputs() const { return layers_.front().shape.in; }
  std::int64_t outputs() const { return layers_.back().shape.out; }
  std::int64_t max_rows() const { return max_rows_; }

  /// x [rows, inputs] → [rows, outputs], which stays until the next forward. rows ≤ max_rows.
  const float* forward(const float* x, std::int64_t rows);
  /// Where the gradient of the loss with respect to the output goes before backward: [rows,
  /// outputs].
  float* output_gradient() { return gradient_[layers_.size() % 2].data(); }
  /// After forward(x, rows): gradients of all parameters, set or added to.
  void backward(const float* x, std::int64_t rows, bool accumulate);

 private:
  struct Dense {
    DenseShape shape;
    std::size_t weight = 0;  // index in parameters
    std::size_t bias = 0;
    Array<float> z;  // empty unless the activation needs it
    Array<float> y;
  };

  static std::vector<Parameter> describe(const MlpSpec& spec);

  Backend& backend_;
  std::int64_t max_rows_;
  Parameters parameters_;
  std::vector<Dense> layers_;
  Array<float> gradient_[2];  // of layer i's output in gradient_[(i + 1) % 2]
};

}  // namespace cuthresh::nn
