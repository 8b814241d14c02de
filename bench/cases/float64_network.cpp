#include "bench/cases/float64_network.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "bench/cases/models.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::bench {
namespace {

using Values = std::vector<double>;

std::size_t place(std::int64_t index) {
  return static_cast<std::size_t>(index);
}

/// Calls f(image entry's first element, window entry, output position) for everything that a window
/// holds of the images.
template <class F>
void for_windows(std::int64_t rows, const ImageShape& in, const Window& w, F f) {
  const std::int64_t height = w.rows_over(in.height);
  const std::int64_t width = w.columns_over(in.width);
  for (std::int64_t to = 0; to < rows * height * width; ++to) {
    const std::int64_t top = to / width % height * w.stride_height - w.pad_height;
    const std::int64_t left = to % width * w.stride_width - w.pad_width;
    const std::int64_t image = to / (height * width) * in.height;
    for (std::int64_t entry = 0; entry < w.elements(); ++entry) {
      const std::int64_t y = top + entry / w.width;
      const std::int64_t x = left + entry % w.width;
      if (y < 0 || y >= in.height || x < 0 || x >= in.width) continue;
      f(((image + y) * in.width + x) * in.channels, entry, to);
    }
  }
}

/// [out, in, window] as [window, in, out], so that the innermost loop below runs along memory.
Values window_first(const Values& w, const ConvShape& s) {
  Values turned(w.size());
  const std::int64_t entries = s.window.elements();
  for (std::int64_t o = 0; o < s.out_channels; ++o) {
    for (std::int64_t c = 0; c < s.in.channels; ++c) {
      for (std::int64_t e = 0; e < entries; ++e) {
        turned[place((e * s.in.channels + c) * s.out_channels + o)] =
            w[place((o * s.in.channels + c) * entries + e)];
      }
    }
  }
  return turned;
}

Values convolve(const ConvShape& s, const Values& x, const Values& w, const Values* bias) {
  Values y(place(s.rows * s.out().elements()), 0.0);
  const Values turned = window_first(w, s);
  if (bias != nullptr) {
    for (std::size_t i = 0; i < y.size(); ++i) y[i] = (*bias)[i % bias->size()];
  }
  for_windows(s.rows, s.in, s.window, [&](std::int64_t from, std::int64_t e, std::int64_t to) {
    double* const sums = &y[place(to * s.out_channels)];
    for (std::int64_t c = 0; c < s.in.channels; ++c) {
      const double value = x[place(from + c)];
      const double* const row = &turned[place((e * s.in.channels + c) * s.out_channels)];
      for (std::int64_t o = 0; o < s.out_channels; ++o) sums[o] += value * row[o];
    }
  });
  return y;
}

Values pool(std::int64_t rows, const ImageShape& in, const nn::Node& node, const Values& x) {
  const Window& w = node.window;
  const bool max = node.pool == PoolKind::kMax;
  const std::int64_t size = rows * w.rows_over(in.height) * w.columns_over(in.width) * in.channels;
  Values y(place(size), max ? -std::numeric_limits<double>::infinity() : 0.0);
  for_windows(rows, in, w, [&](std::int64_t from, std::int64_t, std::int64_t to) {
    for (std::int64_t c = 0; c < in.channels; ++c) {
      double& result = y[place(to * in.channels + c)];
      const double value = x[place(from + c)];
      result = max ? std::max(result, value) : result + value / static_cast<double>(w.elements());
    }
  });
  return y;
}

Values normalise(const Values& x, const Values& scale, const Values& shift) {
  constexpr double kEpsilon = 1e-5;
  const std::size_t channels = scale.size();
  const auto count = static_cast<double>(x.size() / channels);
  Values mean(channels, 0.0), variance(channels, 0.0), y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) mean[i % channels] += x[i] / count;
  for (std::size_t i = 0; i < x.size(); ++i) {
    variance[i % channels] += std::pow(x[i] - mean[i % channels], 2) / count;
  }
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = i % channels;
    y[i] = scale[c] * (x[i] - mean[c]) / std::sqrt(variance[c] + kEpsilon) + shift[c];
  }
  return y;
}

/// Each sample [positions, channels] as [channels, positions].
Values flatten(std::int64_t rows, const ImageShape& in, const Values& x) {
  Values y(x.size());
  for (std::int64_t n = 0; n < rows; ++n) {
    for (std::int64_t p = 0; p < in.positions(); ++p) {
      for (std::int64_t c = 0; c < in.channels; ++c) {
        y[place((n * in.channels + c) * in.positions() + p)] =
            x[place((n * in.positions() + p) * in.channels + c)];
      }
    }
  }
  return y;
}

/// Those of the shipped models.
void activate(Values& values, const nn::Node& node, double leaky_slope) {
  if (node.activation == Activation::kIdentity) return;
  if (node.activation != Activation::kRelu && node.activation != Activation::kLeakyRelu) {
    throw InternalError({"float64 network", "no definition of this activation", node.text,
                         "check models of rectifiers only"});
  }
  const double slope = node.activation == Activation::kLeakyRelu ? leaky_slope : 0.0;
  for (double& value : values) value = value > 0.0 ? value : slope * value;
}

double squared_error(const Values& prediction, const Values& target) {
  double sum = 0.0;
  for (std::size_t i = 0; i < target.size(); ++i) sum += std::pow(prediction[i] - target[i], 2);
  return sum / static_cast<double>(target.size());
}

double cross_entropy(const Values& logits, const std::vector<std::int32_t>& labels) {
  const std::size_t classes = logits.size() / labels.size();
  double sum = 0.0;
  for (std::size_t r = 0; r < labels.size(); ++r) {
    const double* const row = &logits[r * classes];
    const double top = *std::max_element(row, row + classes);
    double total = 0.0;
    for (std::size_t c = 0; c < classes; ++c) total += std::exp(row[c] - top);
    sum += top + std::log(total) - row[labels[r]];
  }
  return sum / static_cast<double>(labels.size());
}

}  // namespace

Float64Network::Float64Network(const nn::Graph& graph, float leaky_slope)
    : graph_(graph), leaky_slope_(static_cast<double>(leaky_slope)) {}

Values Float64Network::output(const nn::Node& node, std::int64_t rows,
                              const std::vector<Values>& tensors,
                              const std::vector<Values>& parameters) const {
  const Values& x = tensors[node.in];
  const ImageShape& in = graph_.tensors[node.in];
  switch (node.kind) {
    case nn::NodeKind::kConv:
    case nn::NodeKind::kDense:
      return convolve(product_shape(graph_, node, rows), x, parameters[node.weight],
                      node.bias == nn::Node::kNone ? nullptr : &parameters[node.bias]);
    case nn::NodeKind::kPool:
      return pool(rows, in, node, x);
    case nn::NodeKind::kBatchNorm:
      return normalise(x, parameters[node.weight], parameters[node.bias]);
    case nn::NodeKind::kPointwise: {
      Values y = x;
      if (node.other == nn::Node::kNone) return y;
      for (std::size_t i = 0; i < y.size(); ++i) y[i] += tensors[node.other][i];
      return y;
    }
    case nn::NodeKind::kFlatten:
      return flatten(rows, in, x);
    case nn::NodeKind::kDropout:
      break;
  }
  throw InternalError({"float64 network", "no definition of a layer whose output is drawn",
                       node.text, "check models without dropout"});
}

double Float64Network::loss(const std::vector<Values>& parameters,
                            const Float64Batch& batch) const {
  std::vector<Values> tensors = {batch.inputs};
  tensors.resize(graph_.tensors.size());
  for (const nn::Node& node : graph_.nodes) {
    Values y = output(node, batch.rows, tensors, parameters);
    activate(y, node, leaky_slope_);
    tensors[node.out] = std::move(y);
  }
  const Values& prediction = tensors[graph_.nodes.back().out];
  return batch.labels.empty() ? squared_error(prediction, batch.targets)
                              : cross_entropy(prediction, batch.labels);
}

}  // namespace cuthresh::bench
