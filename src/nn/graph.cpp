#include "nn/graph.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "cuthresh/error.hpp"

namespace cuthresh::nn {
namespace {

std::string image_text(const ImageShape& shape) {
  return std::to_string(shape.channels) + " x " + std::to_string(shape.height) + " x " +
         std::to_string(shape.width);
}

[[noreturn]] void refuse_layer(std::size_t index, const LayerSpec& layer, std::string what,
                               std::string remedy) {
  throw InputError({"model.layers[" + std::to_string(index) + "]", std::move(what), layer.text,
                    std::move(remedy)});
}

class Builder {
 public:
  explicit Builder(const NetworkSpec& spec) {
    graph_.tensors.push_back(spec.input);
    graph_.leaky_slope = spec.leaky_slope;
  }

  void add(std::size_t index, const LayerSpec& layer) {
    switch (layer.kind) {
      case LayerKind::kConv:
        return convolution(index, layer);
      case LayerKind::kDense:
        return dense(layer);
      case LayerKind::kMaxPool:
        return pool(index, layer, PoolKind::kMax, layer.window);
      case LayerKind::kAveragePool:
        return pool(index, layer, PoolKind::kAverage, layer.window);
      case LayerKind::kGlobalAverage: {
        Window all;
        all.height = all.stride_height = shape().height;
        all.width = all.stride_width = shape().width;
        return pool(index, layer, PoolKind::kAverage, all);
      }
      case LayerKind::kBatchNorm:
        return batch_norm(layer);
      case LayerKind::kDropout: {
        Node& node = append(NodeKind::kDropout, "dropout", layer.text, shape());
        node.rate = layer.rate;
        return;
      }
      case LayerKind::kFlatten:
        return flatten(layer.text);
      case LayerKind::kActivation: {
        Node& node = append(NodeKind::kPointwise, layer.text, layer.text, shape());
        node.activation = layer.activation;
        return;
      }
      case LayerKind::kResidual:
        blocks_.push_back({current_, Node::kNone, index});
        return;
      case LayerKind::kShortcut:
        if (blocks_.empty() || blocks_.back().branch_end != Node::kNone) {
          refuse_layer(index, layer, "belongs between residual and end, once",
                       "remove it, or write residual before it");
        }
        blocks_.back().branch_end = current_;
        current_ = blocks_.back().input;
        return;
      case LayerKind::kEnd:
        return end_block(index, layer);
    }
  }

  Graph finish(const std::vector<LayerSpec>& layers) {
    if (!blocks_.empty()) {
      const std::size_t index = blocks_.back().index;
      refuse_layer(index, layers[index], "has no end", "write end after the block's layers");
    }
    flatten({});
    if (graph_.nodes.empty()) {
      throw InputError({"model.layers", "the network has no layer", "",
                        "write at least one, for instance \"dense 10\""});
    }
    return std::move(graph_);
  }

 private:
  struct Block {
    std::size_t input;
    std::size_t branch_end;
    std::size_t index;  // of its "residual"
  };

  const ImageShape& shape() const { return graph_.tensors[current_]; }

  Node& append(NodeKind kind, const std::string& prefix, const std::string& text,
               const ImageShape& out) {
    Node node;
    node.kind = kind;
    node.name = prefix + std::to_string(++counts_[prefix]);
    node.text = text;
    node.in = current_;
    node.out = graph_.tensors.size();
    graph_.tensors.push_back(out);
    current_ = node.out;
    graph_.nodes.push_back(std::move(node));
    return graph_.nodes.back();
  }

  std::size_t parameter(const Node& node, const char* suffix, std::vector<std::int64_t> extents,
                        Role role, std::int64_t fan_in, std::int64_t fan_out) {
    std::int64_t numel = 1;
    for (const std::int64_t extent : extents) numel *= extent;
    graph_.parameters.push_back(
        {node.name + "." + suffix, node.name, std::move(extents), numel, fan_in, fan_out, role, 0});
    return graph_.parameters.size() - 1;
  }

  void convolution(std::size_t index, const LayerSpec& layer) {
    const ImageShape in = shape();
    const Window& window = layer.window;
    const ImageShape out = window.over(in, layer.outputs);
    check_window(index, layer, window, in, out);
    Node& node = append(NodeKind::kConv, "conv", layer.text, out);
    node.window = window;
    node.activation = layer.activation;
    const std::int64_t fan_in = in.channels * window.elements();
    const std::int64_t fan_out = layer.outputs * window.elements();
    node.weight =
        parameter(node, "weight", {layer.outputs, in.channels, window.height, window.width},
                  Role::kWeight, fan_in, fan_out);
    if (layer.bias) {
      node.bias = parameter(node, "bias", {layer.outputs}, Role::kBias, fan_in, fan_out);
    }
  }

  void dense(const LayerSpec& layer) {
    flatten({});
    const std::int64_t in = shape().elements();
    Node& node = append(NodeKind::kDense, "fc", layer.text, {1, 1, layer.outputs});
    node.activation = layer.activation;
    node.weight = parameter(node, "weight", {layer.outputs, in}, Role::kWeight, in, layer.outputs);
    node.bias = parameter(node, "bias", {layer.outputs}, Role::kBias, in, layer.outputs);
  }

  void pool(std::size_t index, const LayerSpec& layer, PoolKind kind, const Window& window) {
    const ImageShape in = shape();
    const ImageShape out = window.over(in, in.channels);
    check_window(index, layer, window, in, out);
    if (kind == PoolKind::kMax && window.elements() > 255) {
      refuse_layer(index, layer, "has a window of more than 255 elements", "use smaller pools");
    }
    Node& node = append(NodeKind::kPool, "pool", layer.text, out);
    node.pool = kind;
    node.window = window;
  }

  void batch_norm(const LayerSpec& layer) {
    const std::int64_t channels = shape().channels;
    Node& node = append(NodeKind::kBatchNorm, "bn", layer.text, shape());
    node.activation = layer.activation;
    const auto vector = [&](const char* suffix, Role role) {
      return parameter(node, suffix, {channels}, role, channels, channels);
    };
    node.weight = vector("weight", Role::kNormScale);
    node.bias = vector("bias", Role::kNormShift);
    node.running_mean = vector("running_mean", Role::kRunningMean);
    node.running_var = vector("running_var", Role::kRunningVariance);
  }

  void flatten(const std::string& text) {
    const ImageShape in = shape();
    if (in.positions() == 1) return;
    const ImageShape out = {1, 1, in.elements()};
    // With one channel the order is the same: only the shape changes, unless a block still needs
    // it.
    const auto awaited = [&](const Block& b) {
      return b.input == current_ || b.branch_end == current_;
    };
    if (in.channels == 1 && std::none_of(blocks_.begin(), blocks_.end(), awaited)) {
      graph_.tensors[current_] = out;
      return;
    }
    append(NodeKind::kFlatten, "flatten", text, out);
  }

  void end_block(std::size_t index, const LayerSpec& layer) {
    if (blocks_.empty()) {
      refuse_layer(index, layer, "has no residual before it", "remove it, or write residual");
    }
    const Block block = blocks_.back();
    blocks_.pop_back();
    const bool with_shortcut = block.branch_end != Node::kNone;
    const std::size_t branch = with_shortcut ? block.branch_end : current_;
    const std::size_t other = with_shortcut ? current_ : block.input;
    if (branch == block.input) {
      refuse_layer(index, layer, "ends a residual block without layers", "write its layers");
    }
    if (graph_.tensors[branch] != graph_.tensors[other]) {
      refuse_layer(index, layer,
                   "adds images of different shapes, " + image_text(graph_.tensors[branch]) +
                       " and " + image_text(graph_.tensors[other]),
                   "give the block a shortcut, e.g. \"shortcut\", \"conv " +
                       std::to_string(graph_.tensors[branch].channels) +
                       " 1x1 stride 2 no-bias\", \"batchnorm\"");
    }
    current_ = branch;
    Node& node = append(NodeKind::kPointwise, "add", layer.text, graph_.tensors[branch]);
    node.other = other;
    node.activation = layer.activation;
  }

  static void check_window(std::size_t index, const LayerSpec& layer, const Window& window,
                           const ImageShape& in, const ImageShape& out) {
    if (out.height >= 1 && out.width >= 1) return;
    refuse_layer(index, layer,
                 "moves a window of " + std::to_string(window.height) + " x " +
                     std::to_string(window.width) + " over an image of " +
                     std::to_string(in.height) + " x " + std::to_string(in.width) +
                     ", which is smaller",
                 "use a smaller window, more padding, or fewer pools before it");
  }

  Graph graph_;
  std::size_t current_ = 0;
  std::vector<Block> blocks_;
  std::map<std::string, std::int64_t> counts_;
};

}  // namespace

MlpSpec::operator NetworkSpec() const {
  NetworkSpec spec;
  spec.input = {1, 1, widths.front()};
  spec.leaky_slope = leaky_slope;
  for (std::size_t i = 1; i < widths.size(); ++i) {
    LayerSpec layer;
    layer.kind = LayerKind::kDense;
    layer.outputs = widths[i];
    layer.activation = i + 1 == widths.size() ? Activation::kIdentity : activation;
    layer.text = "dense " + std::to_string(widths[i]);
    spec.layers.push_back(std::move(layer));
  }
  return spec;
}

Graph build_graph(const NetworkSpec& spec) {
  Builder builder(spec);
  for (std::size_t i = 0; i < spec.layers.size(); ++i) builder.add(i, spec.layers[i]);
  return builder.finish(spec.layers);
}

}  // namespace cuthresh::nn
