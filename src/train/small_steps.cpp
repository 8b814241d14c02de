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

std::vector<SmallNetworkLayer> small_layers(const nn::Graph& graph) {
  std::vector<SmallNetworkLayer> layers;
  for (const nn::Node& node : graph.nodes) {
    layers.push_back({graph.tensors[node.in].elements(), graph.tensors[node.out].elements(),
                      node.activation, graph.leaky_slope});
  }
  return layers;
}

std::string reason_against(const Backend& backend, const nn::Graph& graph, Execution execution,
                           const StepRowCounts& rows) {
  if (execution == Execution::kPlain || execution == Execution::kGraph) {
    return "as run.execution wants it";
  }
  std::string reason = backend.unsupported(Operation::kSmallNetwork);
  if (reason.empty()) reason = other_than_dense(graph);
  if (!reason.empty()) return reason;
  if (rows.of_step > rows.at_once) {
    return std::to_string(rows.of_step) + " rows a step do not go at once";
  }
  if (execution == Execution::kAuto && rows.of_step > SmallSteps::kAutoRows) {
    return std::to_string(rows.of_step) + " rows a step are many";
  }
  return small_network_misfit(small_layers(graph));
}

/// `refusal`: why steps are not fused, or empty.
std::string described(const std::string& refusal, bool asked_for, const std::string& graphs) {
  if (refusal.empty()) return "fused in two kernels; " + graphs;
  return asked_for ? "not fused: " + refusal + "; " + graphs : graphs;
}

}  // namespace

SmallSteps::SmallSteps(Backend& backend, nn::Network& network, Execution execution,
                       std::int64_t rows)
    : backend_(backend),
      asked_for_(execution == Execution::kFused),
      refusal_(reason_against(backend, network.graph(), execution, {rows, network.max_rows()})) {
  if (!refusal_.empty()) return;
  const nn::Graph& graph = network.graph();
  nn::Parameters& parameters = network.parameters();
  layers_ = small_layers(graph);
  with_gradients_ = layers_;
  for (std::size_t n = 0; n < layers_.size(); ++n) {
    with_gradients_[n].dw = parameters.gradient(graph.nodes[n].weight);
    with_gradients_[n].db = parameters.gradient(graph.nodes[n].bias);
  }
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
  return described(refusal_, asked_for_, graphs);
}

std::string expected_execution(const Backend& backend, const nn::Graph& graph, Execution execution,
                               const StepRowCounts& rows) {
  return described(reason_against(backend, graph, execution, rows), execution == Execution::kFused,
                   StepGraphs::expected(backend, execution));
}

}  // namespace cuthresh::train
