#include "nn/network.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "cuthresh/error.hpp"

namespace cuthresh::nn {

Network::Network(Backend& backend, Graph graph, std::int64_t max_rows)
    : backend_(backend),
      graph_(std::move(graph)),
      max_rows_(max_rows),
      parameters_(backend, graph_.parameters),
      producer_(graph_.tensors.size(), Node::kNone),
      gradients_(plan_gradients(graph_)) {
  for (std::size_t n = 0; n < graph_.nodes.size(); ++n) {
    const Node& node = graph_.nodes[n];
    const std::int64_t size = max_rows * shape(node.out).elements();
    Kept kept;
    kept.y = Array<float>(backend, size);
    if (needs_preactivation(node.activation)) kept.z = Array<float>(backend, size);
    if (node.kind == NodeKind::kPool && node.pool == PoolKind::kMax) {
      kept.winner = Array<std::uint8_t>(backend, size);
    }
    if (node.kind == NodeKind::kBatchNorm) {
      kept.mean = Array<float>(backend, shape(node.out).channels);
      kept.inverse_std = Array<float>(backend, shape(node.out).channels);
    }
    producer_[node.out] = n;
    kept_.push_back(std::move(kept));
  }
  for (const std::int64_t elements : gradients_.buffers) {
    buffers_.emplace_back(backend, max_rows * elements);
  }
}

bool Network::depends_on_pass() const {
  return std::any_of(graph_.nodes.begin(), graph_.nodes.end(),
                     [](const Node& node) { return node.kind == NodeKind::kBatchNorm; });
}

DenseShape Network::dense_shape(const Node& node, std::int64_t rows) const {
  return {rows, shape(node.in).elements(), shape(node.out).elements(), node.activation,
          graph_.leaky_slope};
}

ConvShape Network::conv_shape(const Node& node, std::int64_t rows) const {
  return {rows,        shape(node.in),  shape(node.out).channels,
          node.window, node.activation, graph_.leaky_slope};
}

PoolShape Network::pool_shape(const Node& node, std::int64_t rows) const {
  return {rows, shape(node.in), node.window, node.pool};
}

BatchNormShape Network::norm_shape(const Node& node, std::int64_t rows) const {
  BatchNormShape norm;
  norm.rows = rows * shape(node.out).positions();
  norm.channels = shape(node.out).channels;
  norm.activation = node.activation;
  norm.leaky_slope = graph_.leaky_slope;
  return norm;
}

const float* Network::forward(const float* x, std::int64_t rows, const ForwardOptions& options) {
  if (rows > max_rows_) {
    throw InternalError({"network",
                         "more rows than room was made for, " + std::to_string(max_rows_),
                         std::to_string(rows), "pass at most max_rows"});
  }
  options_ = options;
  for (std::size_t n = 0; n < graph_.nodes.size(); ++n) run(n, x, rows);
  return kept_.back().y.data();
}

void Network::run(std::size_t n, const float* x, std::int64_t rows) {
  const Node& node = graph_.nodes[n];
  Kept& kept = kept_[n];
  const float* in = value(node.in, x);
  const std::int64_t size = rows * shape(node.out).elements();
  switch (node.kind) {
    case NodeKind::kConv:
      return backend_.conv_forward({.shape = conv_shape(node, rows),
                                    .x = in,
                                    .w = parameter(node.weight),
                                    .b = parameter(node.bias),
                                    .z = kept.z.data(),
                                    .y = kept.y.data()});
    case NodeKind::kDense:
      return backend_.dense_forward({.shape = dense_shape(node, rows),
                                     .x = in,
                                     .w = parameter(node.weight),
                                     .b = parameter(node.bias),
                                     .z = kept.z.data(),
                                     .y = kept.y.data()});
    case NodeKind::kPool:
      return backend_.pool_forward({.shape = pool_shape(node, rows),
                                    .x = in,
                                    .y = kept.y.data(),
                                    .winner = kept.winner.data()});
    case NodeKind::kBatchNorm: {
      BatchNormForward args;
      args.shape = norm_shape(node, rows);
      args.pass = options_.pass;
      args.x = in;
      args.gamma = parameter(node.weight);
      args.beta = parameter(node.bias);
      args.running_mean = parameter(node.running_mean);
      args.running_var = parameter(node.running_var);
      args.mean = kept.mean.data();
      args.inverse_std = kept.inverse_std.data();
      args.z = kept.z.data();
      args.y = kept.y.data();
      args.plan = options_.plan;
      return backend_.batch_norm_forward(args);
    }
    case NodeKind::kDropout:
      return drop(n, size, in, kept.y.data());
    case NodeKind::kPointwise:
      return backend_.pointwise_forward(
          {.size = size,
           .activation = node.activation,
           .leaky_slope = graph_.leaky_slope,
           .a = in,
           .b = node.other == Node::kNone ? nullptr : value(node.other, x),
           .z = kept.z.data(),
           .y = kept.y.data()});
    case NodeKind::kFlatten:
      return backend_.transpose_samples(kept.y.data(), in, rows, shape(node.in).positions(),
                                        shape(node.in).channels);
  }
}

void Network::drop(std::size_t n, std::int64_t size, const float* from, float* to) {
  backend_.dropout({.size = size,
                    .rate = options_.pass == Pass::kTrain ? graph_.nodes[n].rate : 0.0f,
                    .seed = options_.seed,
                    .stream = static_cast<std::uint32_t>(n),
                    .from = from,
                    .to = to,
                    .plan = options_.plan});
}

void Network::copy_gradient(int to, int from, std::int64_t elements) {
  backend_.copy(buffer(to), buffer(from), static_cast<std::size_t>(elements) * sizeof(float));
}

void Network::backward(const float* x, std::int64_t rows, bool accumulate) {
  for (std::size_t n = graph_.nodes.size(); n-- > 0;) {
    const Node& node = graph_.nodes[n];
    const GradientStep& step = gradients_.steps[n];
    if (step.own_from != GradientStep::kNone) {
      copy_gradient(step.dy, step.own_from, rows * shape(node.out).elements());
    }
    run_back(n, x, rows, accumulate);
    // A node's input, and an operand of a sum, have the same number of elements in every use.
    const std::int64_t elements = rows * shape(node.in).elements();
    for (const GradientStep::Sum& sum : step.sums) {
      if (sum.own_from != GradientStep::kNone) copy_gradient(sum.into, sum.own_from, elements);
      backend_.add(buffer(sum.into), buffer(sum.add), elements);
    }
  }
}

void Network::run_back(std::size_t n, const float* x, std::int64_t rows, bool accumulate) {
  const Node& node = graph_.nodes[n];
  Kept& kept = kept_[n];
  const float* in = value(node.in, x);
  float* dy = buffer(gradients_.steps[n].dy);
  float* dx = buffer(gradients_.steps[n].dx);
  const std::int64_t size = rows * shape(node.out).elements();
  switch (node.kind) {
    case NodeKind::kConv:
      return backend_.conv_backward({.shape = conv_shape(node, rows),
                                     .x = in,
                                     .w = parameter(node.weight),
                                     .y = kept.y.data(),
                                     .z = kept.z.data(),
                                     .dy = dy,
                                     .dw = gradient(node.weight),
                                     .db = gradient(node.bias),
                                     .dx = dx,
                                     .accumulate = accumulate});
    case NodeKind::kDense:
      return backend_.dense_backward({.shape = dense_shape(node, rows),
                                      .x = in,
                                      .w = parameter(node.weight),
                                      .y = kept.y.data(),
                                      .z = kept.z.data(),
                                      .dy = dy,
                                      .dw = gradient(node.weight),
                                      .db = gradient(node.bias),
                                      .dx = dx,
                                      .accumulate = accumulate});
    case NodeKind::kPool:
      if (dx == nullptr) return;
      return backend_.pool_backward(
          {.shape = pool_shape(node, rows), .dy = dy, .winner = kept.winner.data(), .dx = dx});
    case NodeKind::kBatchNorm: {
      BatchNormBackward args;
      args.shape = norm_shape(node, rows);
      args.x = in;
      args.gamma = parameter(node.weight);
      args.mean = kept.mean.data();
      args.inverse_std = kept.inverse_std.data();
      args.y = kept.y.data();
      args.z = kept.z.data();
      args.dy = dy;
      args.dgamma = gradient(node.weight);
      args.dbeta = gradient(node.bias);
      args.dx = dx;
      args.accumulate = accumulate;
      return backend_.batch_norm_backward(args);
    }
    case NodeKind::kDropout:
      if (dx == nullptr) return;
      return drop(n, size, dy, dx);
    case NodeKind::kPointwise:
      if (node.activation == Activation::kIdentity) return;  // dy is the operands' gradient already
      return backend_.pointwise_backward({.size = size,
                                          .activation = node.activation,
                                          .leaky_slope = graph_.leaky_slope,
                                          .y = kept.y.data(),
                                          .z = kept.z.data(),
                                          .dy = dy});
    case NodeKind::kFlatten:
      if (dx == nullptr) return;
      return backend_.transpose_samples(dx, dy, rows, shape(node.in).channels,
                                        shape(node.in).positions());
  }
}

}  // namespace cuthresh::nn
