#include "cuthresh/describe.hpp"

#include "cuthresh/error.hpp"
#include "nn/gradient_plan.hpp"
#include "nn/graph.hpp"
#include "train/prepare.hpp"
#include "train/task.hpp"
#include "train/trainer.hpp"

namespace cuthresh {
namespace {

std::vector<std::int64_t> extents(const ImageShape& shape) {
  if (shape.positions() == 1) return {shape.channels};
  return {shape.channels, shape.height, shape.width};
}

TargetRow target_row(const train::Task& task, std::size_t index) {
  const train::SearchGroup& group = task.search_groups[index];
  TargetRow row;
  row.layers = group.name;
  row.nonzeros = task.targets[index];
  for (const std::size_t i : group.layers) {
    const train::PenalisedLayer& layer = task.layers[i];
    row.weights += layer.numel;
    if (layer.bounded()) {
      row.bounds.push_back(layer.name + ": " + std::to_string(layer.least) + " to " +
                           std::to_string(layer.most));
    }
  }
  return row;
}

/// Which device would be taken, and how the steps would reach it; or why there is none here: the
/// layers of a configuration for another machine are of interest all the same.
void describe_device(ModelDescription& description, const FitConfig& config, const nn::Graph& graph,
                     std::int64_t train_rows) {
  try {
    const ChosenBackend chosen = train::choose_backend(config, graph);
    const std::int64_t batch = config.train.batch;
    description.execution = train::expected_execution(
        *chosen.backend, graph, train::execution(config.run),
        {batch == 0 ? train_rows : batch,
         train::Trainer::rows_needed(train_rows, batch, nn::floats_a_row(graph))});
    description.device = chosen.why;
  } catch (const InputError& error) {
    description.device = std::string("none here: ") + error.what();
  }
}

}  // namespace

ModelDescription describe_model(const FitConfig& config) {
  validate(config);
  const DataSplit data = train::load_data(config.data, config.run.seed);
  const nn::NetworkSpec spec = train::model_spec(config, data);
  const nn::Graph graph = nn::build_graph(spec);
  const train::Task task = train::make_task(config, graph.parameters);

  ModelDescription description;
  description.rows.push_back({"input", data.train.source, extents(spec.input), 0, 0});
  for (const nn::Node& node : graph.nodes) {
    LayerRow row;
    row.name = node.name;
    row.layer = node.text.empty() ? "flatten" : node.text;
    row.output = extents(graph.tensors[node.out]);
    for (std::size_t i = 0; i < graph.parameters.size(); ++i) {
      const nn::Parameter& p = graph.parameters[i];
      if (p.layer != node.name || !p.trained()) continue;
      row.parameters += p.numel;
      if (task.groups[i] >= 0) row.penalised += p.numel;
    }
    description.rows.push_back(std::move(row));
  }
  for (std::size_t g = 0; g < task.targets.size(); ++g)
    description.targets.push_back(target_row(task, g));
  describe_device(description, config, graph, data.train.rows);
  return description;
}

}  // namespace cuthresh
