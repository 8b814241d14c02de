#include "nn/network.hpp"

#include <algorithm>
#include <string>

#include "cuthresh/error.hpp"

namespace cuthresh::nn {

std::vector<Parameter> Network::describe(const MlpSpec& spec) {
  std::vector<Parameter> list;
  for (std::size_t i = 1; i < spec.widths.size(); ++i) {
    const std::int64_t in = spec.widths[i - 1];
    const std::int64_t out = spec.widths[i];
    const std::string layer = "fc" + std::to_string(i);
    list.push_back({layer + ".weight", layer, {out, in}, out * in, in, out, false, 0});
    list.push_back({layer + ".bias", layer, {out}, out, in, out, true, 0});
  }
  return list;
}

Network::Network(Backend& backend, const MlpSpec& spec, std::int64_t max_rows)
    : backend_(backend), max_rows_(max_rows), parameters_(backend, describe(spec)) {
  std::int64_t widest = 0;
  for (std::size_t i = 1; i < spec.widths.size(); ++i) {
    Dense layer;
    const bool last = i + 1 == spec.widths.size();
    layer.shape = {0, spec.widths[i - 1], spec.widths[i],
                   last ? Activation::kIdentity : spec.activation, spec.leaky_slope};
    layer.weight = 2 * (i - 1);
    layer.bias = layer.weight + 1;
    layer.y = Array<float>(backend, max_rows * layer.shape.out);
    if (needs_preactivation(layer.shape.activation))
      layer.z = Array<float>(backend, max_rows * layer.shape.out);
    widest = std::max(widest, layer.shape.out);
    layers_.push_back(std::move(layer));
  }
  for (Array<float>& g : gradient_) g = Array<float>(backend, max_rows * widest);
}

const float* Network::forward(const float* x, std::int64_t rows) {
  if (rows > max_rows_) {
    throw InternalError({"network",
                         "more rows than room was made for, " + std::to_string(max_rows_),
                         std::to_string(rows), "pass at most max_rows"});
  }
  for (Dense& layer : layers_) {
    layer.shape.rows = rows;
    backend_.dense_forward({.shape = layer.shape,
                            .x = x,
                            .w = parameters_.value(layer.weight),
                            .b = parameters_.value(layer.bias),
                            .z = layer.z.data(),
                            .y = layer.y.data()});
    x = layer.y.data();
  }
  return x;
}

void Network::backward(const float* x, std::int64_t rows, bool accumulate) {
  for (std::size_t i = layers_.size(); i-- > 0;) {
    Dense& layer = layers_[i];
    layer.shape.rows = rows;
    backend_.dense_backward({.shape = layer.shape,
                             .x = i == 0 ? x : layers_[i - 1].y.data(),
                             .w = parameters_.value(layer.weight),
                             .y = layer.y.data(),
                             .z = layer.z.data(),
                             .dy = gradient_[(i + 1) % 2].data(),
                             .dw = parameters_.gradient(layer.weight),
                             .db = parameters_.gradient(layer.bias),
                             .dx = i == 0 ? nullptr : gradient_[i % 2].data(),
                             .accumulate = accumulate});
  }
}

}  // namespace cuthresh::nn
