#include "backend/checks_small_network.hpp"

#include <cstddef>
#include <string>

#include "backend/check_values.hpp"
#include "kernels/math/small_network.hpp"

namespace cuthresh {
namespace {

constexpr const char* kSmallStep = "small_network_step";

std::string layer_name(std::size_t l) {
  return std::string(kSmallStep) + ", layer " + std::to_string(l + 1);
}

void check_layers(std::span<const SmallNetworkLayer> layers) {
  const std::string misfit = small_network_misfit(layers);
  if (!misfit.empty()) refuse(kSmallStep, misfit, "", "use the layers one by one");
  for (std::size_t l = 0; l < layers.size(); ++l) {
    check_extent(layer_name(l), "in", layers[l].in, 1);
    check_extent(layer_name(l), "out", layers[l].out, 1);
    if (l > 0 && layers[l].in != layers[l - 1].out) {
      refuse(layer_name(l),
             "in must be what the layer before gives, " + std::to_string(layers[l - 1].out),
             std::to_string(layers[l].in), "check the shapes");
    }
    if (layers[l].dw != nullptr) check_pointer(layer_name(l), "dw", layers[l].dw);
    if (layers[l].db != nullptr) check_pointer(layer_name(l), "db", layers[l].db);
  }
}

void check_tensor(std::size_t index, std::span<const ProxTensor> tensors, std::int64_t size) {
  if (tensors[index].size == size) return;
  refuse(layer_name(index / 2),
         "tensor " + std::to_string(index) + " of the plan must have as many entries, " +
             std::to_string(size),
         std::to_string(tensors[index].size), "make the plan of weights and biases, in this order");
}

}  // namespace

std::string small_network_misfit(std::span<const SmallNetworkLayer> layers) {
  if (layers.empty() || layers.size() > static_cast<std::size_t>(kSmallDepth)) {
    return std::to_string(layers.size()) + " layers, not 1 to " + std::to_string(kSmallDepth);
  }
  for (const SmallNetworkLayer& layer : layers) {
    if (layer.in > kSmallWidth || layer.out > kSmallWidth) {
      return "a layer of " + std::to_string(layer.in) + " to " + std::to_string(layer.out) +
             ", wider than " + std::to_string(kSmallWidth);
    }
  }
  return {};
}

void check_small_network(const SmallNetworkStep& args, std::span<const ProxTensor> tensors,
                         StepKind kind, Dtype dtype) {
  if (dtype != Dtype::kFloat32) {
    refuse(kSmallStep, "the plan must hold float32", "", "use the layers one by one");
  }
  check_layers(args.layers);
  check_extent(kSmallStep, "rows", args.rows, 1);
  check_product(kSmallStep, "the activations", args.rows, kSmallWidth);
  check_pointer(kSmallStep, "x", args.x);
  if ((args.target == nullptr) == (args.label == nullptr)) {
    refuse(kSmallStep, "either targets or labels are wanted",
           args.target == nullptr ? "neither" : "both", "pass those of the loss");
  }
  if (args.target != nullptr) check_pointer(kSmallStep, "target", args.target);
  if (args.label != nullptr) check_pointer(kSmallStep, "label", args.label);
  if (args.sum != nullptr) check_pointer(kSmallStep, "sum", args.sum, alignof(LossSum));
  if (!reads_gradient(kind)) {
    refuse(kSmallStep, "the plan's steps read no gradient", "the threshold alone",
           "make a plan of another kind of step");
  }
  if (tensors.size() != 2 * args.layers.size()) {
    refuse(kSmallStep,
           "the plan must have two tensors a layer, " + std::to_string(2 * args.layers.size()),
           std::to_string(tensors.size()), "make the plan of weights and biases, in this order");
  }
  for (std::size_t l = 0; l < args.layers.size(); ++l) {
    check_tensor(2 * l, tensors, args.layers[l].in * args.layers[l].out);
    check_tensor(2 * l + 1, tensors, args.layers[l].out);
  }
}

}  // namespace cuthresh
