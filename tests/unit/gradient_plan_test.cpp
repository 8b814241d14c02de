// The plan of gradient buffers, carried out on numbers: every tensor is one number, every node a
// known derivative, and what arrives at each node must be what the chain rule says. Random nested
// blocks find what a hand-made network would not.

#include "nn/gradient_plan.hpp"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "nn/layer_spec.hpp"
#include "support/seeded.hpp"

namespace cuthresh::nn {
namespace {

constexpr ImageShape kImage{4, 4, 3};

/// Layers that keep the shape, blocks inside blocks.
void add_random_layers(std::vector<std::string>& lines, testing::Random& random, int depth) {
  static const std::vector<std::string> kLayers = {
      "conv 3 3x3 pad 1",        "conv 3 3x3 pad 1 relu", "batchnorm",
      "batchnorm relu",          "dropout 0.5",           "tanh",
      "maxpool 3 stride 1 pad 1"};
  const std::int64_t count = random.integer(1, 3);
  for (std::int64_t i = 0; i < count; ++i) {
    if (depth > 0 && random.integer(0, 2) == 0) {
      lines.emplace_back("residual");
      add_random_layers(lines, random, depth - 1);
      if (random.integer(0, 1) == 0) {
        lines.emplace_back("shortcut");
        if (random.integer(0, 2) > 0) add_random_layers(lines, random, depth - 1);
      }
      lines.emplace_back(random.integer(0, 1) == 0 ? "end" : "end relu");
    } else {
      lines.push_back(kLayers[static_cast<std::size_t>(random.integer(0, 6))]);
    }
  }
}

/// A number a node that stands for its derivative, and one for that of its activation.
double slope_of(std::size_t n) {
  return 1.0 + 0.25 * static_cast<double>(n % 7);
}
double bend_of(const Node& node, std::size_t n) {
  return node.activation == Activation::kIdentity ? 1.0 : 0.5 + 0.125 * static_cast<double>(n % 5);
}

/// What the node is given as ∂L/∂(output), by the chain rule without any buffers.
std::vector<double> chain_rule(const Graph& graph) {
  std::vector<double> gradient(graph.tensors.size(), 0.0);
  std::vector<double> seen(graph.nodes.size());
  gradient[graph.nodes.back().out] = 1.0;
  for (std::size_t n = graph.nodes.size(); n-- > 0;) {
    const Node& node = graph.nodes[n];
    seen[n] = gradient[node.out];
    const double through = seen[n] * bend_of(node, n);
    if (node.kind == NodeKind::kPointwise) {
      gradient[node.in] += through;
      if (node.other != Node::kNone) gradient[node.other] += through;
    } else {
      gradient[node.in] += through * slope_of(n);
    }
  }
  return seen;
}

/// The same through the plan, as Network::backward does it.
std::vector<double> by_plan(const Graph& graph, const GradientPlan& plan) {
  std::vector<double> buffers(plan.buffers.size(), -1e9);
  const auto at = [&](int i) -> double& { return buffers[static_cast<std::size_t>(i)]; };
  std::vector<double> seen(graph.nodes.size());
  at(plan.output) = 1.0;
  for (std::size_t n = graph.nodes.size(); n-- > 0;) {
    const Node& node = graph.nodes[n];
    const GradientStep& step = plan.steps[n];
    if (step.own_from >= 0) at(step.dy) = at(step.own_from);
    seen[n] = at(step.dy);
    at(step.dy) *= bend_of(node, n);  // every call leaves ∂L/∂z in dy
    if (node.kind != NodeKind::kPointwise && step.dx >= 0) {
      at(step.dx) = at(step.dy) * slope_of(n);
    }
    for (const GradientStep::Sum& sum : step.sums) {
      if (sum.own_from >= 0) at(sum.into) = at(sum.own_from);
      at(sum.into) += at(sum.add);
    }
  }
  return seen;
}

TEST(GradientPlan, RandomNetworksGiveTheChainRule) {
  testing::Random random(20241101);
  SCOPED_TRACE(random.seed());
  std::size_t blocks = 0;
  for (int i = 0; i < 500; ++i) {
    std::vector<std::string> lines = {"conv 3 3x3 pad 1"};
    add_random_layers(lines, random, 3);
    std::string all;
    for (const std::string& line : lines) all += line + "; ";
    SCOPED_TRACE(all);
    const Graph graph = [&]() -> Graph {
      // "shortcut" right before "end" is the input itself, which is allowed.
      return build_graph({kImage, parse_layers(lines), 0.01f});
    }();
    for (const Node& node : graph.nodes) blocks += node.other != Node::kNone ? 1 : 0;
    const std::vector<double> want = chain_rule(graph);
    const std::vector<double> got = by_plan(graph, plan_gradients(graph));
    for (std::size_t n = 0; n < want.size(); ++n) {
      ASSERT_NEAR(got[n], want[n], 1e-12 * (1.0 + want[n])) << "node " << n;
    }
  }
  EXPECT_GT(blocks, 200u);
}

TEST(GradientPlan, AChainTakesTwoBuffers) {
  const std::vector<std::string> lines = {"conv 8 3x3 relu", "maxpool 2", "dense 30 relu",
                                          "dense 20 relu", "dense 10"};
  const Graph graph = build_graph({{28, 28, 1}, parse_layers(lines), 0.01f});
  const GradientPlan plan = plan_gradients(graph);
  EXPECT_EQ(plan.buffers.size(), 2u);
  EXPECT_EQ(plan.steps.front().dx, GradientStep::kNone);  // of the data
}

}  // namespace
}  // namespace cuthresh::nn
