#include "train/small_steps.hpp"

#include <cstddef>

namespace cuthresh::train {
namespace {

/// Why this is not a chain of dense layers, or empty.
std::string other_than_dense(const nn::Graph& graph) {
  std::size_t last = 0;
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    const nn::Node& node = graph.nodes[n];
    const bool follows = node.in == last && node.weight == 2 * n && node.bias == 2 * n + 1;
    if (node.kind != nn::NodeKind::kDense || !follows) {
      return "the network has a layer that is not fully connected";
    }
    last = node.out;
  }
  return {};
}

std::string reason_against(const Backend& backend, const nn::Network& network, Execution execution,
                           std::int64_t rows) {
  if (execution == Execution::kPlain || execution == Execution::kGraph) {
    return "as run.execution wants it";
  }
  std::string reason = backend.unsupported(Operation::kSmallNetwork);
  if (reason.empty()) reason = other_than_dense(network.graph());
  if (!reason.empty()) return reason;
  if (rows > network.max_rows()) {
    return std::to_string(rows) + " rows a step do not go at once";
  }
  if (execution == Execution::kAuto && rows > SmallSteps::kAutoRows) {
    return std::to_string(rows) + " rows a step are many";
  }
  return {};
}

}  // namespace

SmallSteps::SmallSteps(Backend& backend, nn::Network& network, Execution execution,
                       std::int64_t rows)
    : backend_(backend),
      asked_for_(execution == Execution::kFused),
      refusal_(reason_against(backend, network, execution, rows)) {
  if (!refusal_.empty()) return;
  const nn::Graph& graph = network.graph();
  nn::Parameters& parameters = network.parameters();
  for (const nn::Node& node : graph.nodes) {
    SmallNetworkLayer layer{graph.tensors[node.in].elements(), graph.tensors[node.out].elements(),
                            node.activation, graph.leaky_slope};
    layers_.push_back(layer);
    layer.dw = parameters.gradient(node.weight);
    layer.db = parameters.gradient(node.bias);
    with_gradients_.push_back(layer);
  }
  refusal_ = small_network_misfit(layers_);
}

void SmallSteps::step(ProxPlan& plan, const Batch& batch, float gradient_scale, LossSum* sum,
                      bool update) {
  SmallNetworkStep args;
  args.rows = batch.rows;
  args.layers = update ? layers_ : with_gradients_;
  args.x = batch.inputs;
  args.target = batch.targets;
  args.label = batch.labels;
  args.gradient_scale = gradient_scale;
  args.sum = sum;
  args.step = update;
  backend_.small_network_step(plan, args);
}

std::string SmallSteps::describe(const std::string& graphs) const {
  if (taken()) return "fused in two kernels; " + graphs;
  return asked_for_ ? "not fused: " + refusal_ + "; " + graphs : graphs;
}

}  // namespace cuthresh::train
