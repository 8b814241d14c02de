#include "cuthresh/describe.hpp"

#include "nn/graph.hpp"
#include "train/prepare.hpp"

namespace cuthresh {
namespace {

std::vector<std::int64_t> extents(const ImageShape& shape) {
  if (shape.positions() == 1) return {shape.channels};
  return {shape.channels, shape.height, shape.width};
}

}  // namespace

std::vector<LayerRow> describe_model(const FitConfig& config) {
  validate(config);
  const DataSplit data = train::load_data(config.data, config.run.seed);
  const nn::NetworkSpec spec = train::model_spec(config, data);
  const nn::Graph graph = nn::build_graph(spec);
  const train::Task task = train::make_task(config, graph.parameters);

  std::vector<LayerRow> rows;
  rows.push_back({"input", data.train.source, extents(spec.input), 0, 0});
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
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace cuthresh
