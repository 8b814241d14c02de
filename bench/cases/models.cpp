#include "bench/cases/models.hpp"

#include "nn/gradient_plan.hpp"
#include "nn/presets.hpp"

namespace cuthresh::bench {
namespace {

constexpr std::int64_t kClasses = 10;

Model image_model(const std::string& name, const std::string& preset, ImageShape input,
                  std::int64_t rows) {
  Model model{name, {}, rows, train::LossKind::kCrossEntropy};
  model.spec.input = input;
  model.spec.layers = nn::parse_layers(*nn::preset_layers(preset, "relu", kClasses));
  return model;
}

}  // namespace

std::vector<Model> shipped_models(bool smoke) {
  const std::vector<std::int64_t> widths = smoke ? std::vector<std::int64_t>{6, 12, 10, 8, 1}
                                                 : std::vector<std::int64_t>{6, 128, 128, 64, 1};
  const std::int64_t rows = smoke ? 3 : 128;
  const ImageShape grey = smoke ? ImageShape{8, 8, 1} : ImageShape{28, 28, 1};
  // LeNet-5 has a 5×5 window on half the image.
  const ImageShape lenet = smoke ? ImageShape{12, 12, 1} : grey;
  const ImageShape colour = smoke ? ImageShape{8, 8, 3} : ImageShape{32, 32, 3};
  return {{"mackey_glass", nn::MlpSpec{widths}, smoke ? 20 : 1000, train::LossKind::kMse},
          image_model("cnn_paper", "cnn-paper", grey, rows),
          image_model("lenet5", "lenet5", lenet, rows),
          image_model("resnet20", "resnet20", colour, rows)};
}

ConvShape product_shape(const nn::Graph& graph, const nn::Node& node, std::int64_t rows) {
  const ImageShape& in = graph.tensors[node.in];
  const ImageShape& out = graph.tensors[node.out];
  if (node.kind == nn::NodeKind::kConv) return {rows, in, out.channels, node.window};
  return {rows, {1, 1, in.elements()}, out.elements(), {}};
}

std::vector<ProductLayer> product_layers(const nn::Graph& graph, std::int64_t rows) {
  const nn::GradientPlan gradients = nn::plan_gradients(graph);
  std::vector<ProductLayer> layers;
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    const nn::Node& node = graph.nodes[n];
    if (node.kind != nn::NodeKind::kConv && node.kind != nn::NodeKind::kDense) continue;
    ProductLayer layer;
    layer.name = node.name;
    layer.kind = node.kind;
    layer.shape = product_shape(graph, node, rows);
    layer.bias = node.bias != nn::Node::kNone;
    layer.wants_dx = gradients.steps[n].dx != nn::GradientStep::kNone;
    layers.push_back(layer);
  }
  return layers;
}

double forward_flops(const ProductLayer& layer) {
  const ConvShape& s = layer.shape;
  return 2.0 * static_cast<double>(s.rows * s.out().positions()) * static_cast<double>(s.weights());
}

double backward_flops(const ProductLayer& layer) {
  return (layer.wants_dx ? 2.0 : 1.0) * forward_flops(layer);
}

double step_flops(const nn::Graph& graph, std::int64_t rows) {
  double flops = 0.0;
  for (const ProductLayer& layer : product_layers(graph, rows)) {
    flops += forward_flops(layer) + backward_flops(layer);
  }
  return flops;
}

std::string lacks_any(const Room& room, const std::vector<Operation>& operations) {
  for (const Operation operation : operations) {
    std::string reason = room.backend.unsupported(operation);
    if (!reason.empty()) return reason;
  }
  return {};
}

double operand_rounding(const Room& room) {
  return room.backend.description().find("tf32") == std::string::npos ? 0.0 : 0x1p-11;
}

}  // namespace cuthresh::bench
