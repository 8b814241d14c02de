// Training steps of small networks in one call, in every room that has them: gradients against
// float64, steps against the CPU room's layers one by one, counts, stops, skips, what is refused.

#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/check_values.hpp"
#include "core/array.hpp"
#include "support/engines.hpp"
#include "support/small_network.hpp"

namespace cuthresh::testing {
namespace {

/// A network on a room, with a plan of its weights and biases: weights of layer l in group l,
/// biases in none, or in the last group.
class SmallNetOnRoom {
 public:
  SmallNetOnRoom(Backend& backend, const SmallNet& net, StepKind kind = StepKind::kPlain,
                 bool biases_in_group = false)
      : backend_(backend),
        net_(net),
        x_(backend, std::span<const float>(net.x)),
        target_(backend, std::span<const float>(net.target)),
        label_(backend, std::span<const std::int32_t>(net.label)),
        sum_(backend, 1) {
    std::vector<ProxTensor> list;
    const auto layers = static_cast<std::int32_t>(net.layers());
    for (std::int32_t t = 0; t < 2 * layers; ++t) {
      const auto l = static_cast<std::size_t>(t / 2);
      const std::vector<float>& values = t % 2 == 0 ? net.w[l] : net.b[l];
      w.emplace_back(backend, std::span<const float>(values));
      g.emplace_back(backend, w.back().size());
      g.back().zero();
      v_.emplace_back(backend, w.back().size());
      v_.back().zero();
      const std::int32_t unweighted = biases_in_group ? layers : -1;
      list.push_back({w.back().data(), g.back().data(), w.back().size(),
                      t % 2 == 0 ? t / 2 : unweighted, v_.back().data(), t % 2});
    }
    groups_ = static_cast<std::size_t>(layers) + (biases_in_group ? 1 : 0);
    plan_ = backend.make_plan(list, static_cast<std::int32_t>(groups_), kind);
    const std::vector<float> lambda(groups_, 0.02f);
    backend.set_lambda(*plan_, lambda);
    const std::vector<StepRate> rates = {{0.1f, 0.9f, 0.01f}, {0.05f, 0.5f, 0.0f}};
    backend.set_rates(*plan_, rates);
    backend.set_stop(*plan_, {});
  }

  std::vector<SmallNetworkLayer> layers(bool with_gradients) {
    std::vector<SmallNetworkLayer> list;
    for (std::size_t l = 0; l < net_.layers(); ++l) {
      SmallNetworkLayer layer{net_.widths[l], net_.widths[l + 1], net_.activations[l],
                              SmallNet::kSlope};
      if (with_gradients) {
        layer.dw = g[2 * l].data();
        layer.db = g[2 * l + 1].data();
      }
      list.push_back(layer);
    }
    return list;
  }
  SmallNetworkStep arguments(std::span<const SmallNetworkLayer> of) {
    SmallNetworkStep args;
    args.rows = net_.rows;
    args.layers = of;
    args.x = x_.data();
    if (net_.cross_entropy) {
      args.label = label_.data();
    } else {
      args.target = target_.data();
    }
    args.gradient_scale = net_.gradient_scale();
    args.sum = sum_.data();
    return args;
  }

  void step_at_once(bool with_gradients = false, bool stepped = true, bool with_loss = true) {
    const std::vector<SmallNetworkLayer> list = layers(with_gradients);
    SmallNetworkStep args = arguments(list);
    args.step = stepped;
    if (!with_loss) args.sum = nullptr;
    backend_.small_network_step(*plan_, args);
  }

  /// The same by the room's layers one by one.
  void step_by_layers() {
    const std::size_t layers = net_.layers();
    std::vector<Array<float>> y, z, d;
    for (std::size_t l = 0; l < layers; ++l) {
      for (auto* list : {&y, &z, &d}) list->emplace_back(backend_, net_.rows * net_.widths[l + 1]);
      backend_.dense_forward(
          {shape(l), input(y, l), w[2 * l].data(), w[2 * l + 1].data(), z[l].data(), y[l].data()});
    }
    LossArgs loss;
    loss.rows = net_.rows;
    loss.columns = net_.widths.back();
    loss.prediction = y.back().data();
    loss.target = target_.data();
    loss.label = label_.data();
    loss.gradient = d.back().data();
    loss.gradient_scale = net_.gradient_scale();
    loss.sum = sum_.data();
    if (net_.cross_entropy) {
      backend_.softmax_cross_entropy(loss);
    } else {
      backend_.mse(loss);
    }
    for (std::size_t l = layers; l-- > 0;) {
      backend_.dense_backward({shape(l), input(y, l), w[2 * l].data(), y[l].data(), z[l].data(),
                               d[l].data(), g[2 * l].data(), g[2 * l + 1].data(),
                               l == 0 ? nullptr : d[l - 1].data(), false});
    }
    backend_.prox_step(*plan_);
  }

  LossSum loss() { return sum_.to_host()[0]; }
  ProxPlan& plan() { return *plan_; }
  std::size_t groups() const { return groups_; }
  std::vector<std::vector<float>> weights() const {
    std::vector<std::vector<float>> all;
    for (const Array<float>& tensor : w) all.push_back(tensor.to_host());
    return all;
  }

  std::vector<Array<float>> w, g;  // weights and biases of the layers

 private:
  DenseShape shape(std::size_t l) const {
    return {net_.rows, net_.widths[l], net_.widths[l + 1], net_.activations[l], SmallNet::kSlope};
  }
  const float* input(const std::vector<Array<float>>& y, std::size_t l) const {
    return l == 0 ? x_.data() : y[l - 1].data();
  }

  Backend& backend_;
  const SmallNet& net_;
  Array<float> x_, target_;
  Array<std::int32_t> label_;
  Array<LossSum> sum_;
  std::vector<Array<float>> v_;
  std::size_t groups_;
  std::unique_ptr<ProxPlan> plan_;
};

class SmallNetwork : public ::testing::TestWithParam<Room> {
 protected:
  void SetUp() override { backend = GetParam().make(); }

  std::unique_ptr<Backend> backend;
  std::unique_ptr<Backend> host = cpu::make_cpu_backend("reference", 1);
};

// Sums of up to 256 products on the way through up to 8 layers and back, in float32.
constexpr double kGradientTolerance = 2e-5;
constexpr double kStepTolerance = 1e-6;

void expect_gradients(Backend& backend, const SmallNet& net) {
  SCOPED_TRACE(::testing::Message() << net);
  SmallNetOnRoom room(backend, net);
  room.step_at_once(true, false);
  const SmallGradients want = small_gradients(net);
  for (std::size_t l = 0; l < net.layers(); ++l) {
    EXPECT_LE(relative_difference(room.g[2 * l].to_host(), want.dw[l]), kGradientTolerance)
        << "weights of layer " << l;
    EXPECT_LE(relative_difference(room.g[2 * l + 1].to_host(), want.db[l]), kGradientTolerance)
        << "biases of layer " << l;
    EXPECT_EQ(room.w[2 * l].to_host(), net.w[l]) << "no step was asked for";
  }
  EXPECT_NEAR(room.loss().loss, want.loss, 2e-6 * want.loss);
  EXPECT_EQ(room.loss().correct, want.correct);
  EXPECT_EQ(backend.read_status(room.plan()).steps, 0);
}

TEST_P(SmallNetwork, GradientsAreThoseOfTheDefinition) {
  Random random(6101);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (int i = 0; i < 12; ++i) expect_gradients(*backend, draw_small_net(random, 40));
}

TEST_P(SmallNetwork, EveryActivationAndLossAtTheEdges) {
  Random random(6102);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (const Activation activation : kAllActivations) {
    for (const bool cross_entropy : {false, true}) {
      for (const std::int64_t rows : {1, 2, 31}) {
        const std::vector<std::int64_t> widths = {7, 33, 1, 16, 5};
        expect_gradients(*backend, draw_small_net(random, widths, std::vector(4, activation), rows,
                                                  cross_entropy));
      }
    }
  }
  expect_gradients(*backend, draw_small_net(random, {256, 256}, {Activation::kTanh}, 9, true));
  expect_gradients(*backend, draw_small_net(random, {1, 1}, {Activation::kIdentity}, 1, false));
}

// Few tiles over many rows: sums over parts of the rows, added up by the block that comes last.
TEST_P(SmallNetwork, RowsInParts) {
  Random random(6103);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (const std::int64_t rows : {1024, 1700}) {
    expect_gradients(*backend,
                     draw_small_net(random, {3, 9, 2}, {Activation::kTanh, Activation::kIdentity},
                                    rows, rows == 1024));
  }
}

void expect_steps(Backend& backend, Backend& host, const SmallNet& net, StepKind kind,
                  bool biases_in_group) {
  SCOPED_TRACE(::testing::Message() << net << ", step " << static_cast<int>(kind));
  SmallNetOnRoom fused(backend, net, kind, biases_in_group);
  SmallNetOnRoom plain(host, net, kind, biases_in_group);
  for (int step = 1; step <= 3; ++step) {
    fused.step_at_once(step == 2);
    plain.step_by_layers();
    const std::vector<std::vector<float>> got = fused.weights();
    const std::vector<std::vector<float>> want = plain.weights();
    std::vector<std::uint64_t> nnz(fused.groups(), 0);
    for (std::size_t t = 0; t < got.size(); ++t) {
      EXPECT_LE(relative_difference(got[t], want[t]), step * kStepTolerance)
          << "tensor " << t << " after step " << step;
      if (t % 2 == 1 && !biases_in_group) continue;
      for (const float w : got[t]) nnz[t % 2 == 0 ? t / 2 : nnz.size() - 1] += w != 0.0f ? 1U : 0U;
    }
    const StepStatus status = backend.read_status(fused.plan());
    EXPECT_EQ(status.nnz, nnz);
    EXPECT_EQ(status.steps, step);
    EXPECT_EQ(status.nonfinite, 0U);
    EXPECT_NEAR(fused.loss().loss, plain.loss().loss, 1e-5 * plain.loss().loss);
    if (step == 2) {
      for (std::size_t t = 0; t < got.size(); ++t) {
        EXPECT_LE(relative_difference(fused.g[t].to_host(), plain.g[t].to_host()), 3e-5);
      }
    }
  }
}

TEST_P(SmallNetwork, StepsAreThoseOfTheLayersOneByOne) {
  Random random(6104);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (const StepKind kind : {StepKind::kPlain, StepKind::kMomentum, StepKind::kNesterov}) {
    for (const bool biases_in_group : {false, true}) {
      expect_steps(*backend, *host, draw_small_net(random, 24), kind, biases_in_group);
    }
  }
}

TEST_P(SmallNetwork, FrozenZerosStayZero) {
  Random random(6105);
  const SmallNet net =
      draw_small_net(random, {5, 20, 18, 3},
                     {Activation::kSilu, Activation::kRelu, Activation::kIdentity}, 21, true);
  SmallNetOnRoom room(*backend, net, StepKind::kNesterov);
  room.step_at_once();
  const std::vector<std::vector<float>> before = room.weights();
  backend->freeze(room.plan());
  for (int i = 0; i < 3; ++i) room.step_at_once();
  const std::vector<std::vector<float>> after = room.weights();
  for (std::size_t t = 0; t < before.size(); t += 2) {
    std::size_t moved = 0;
    for (std::size_t i = 0; i < before[t].size(); ++i) {
      if (before[t][i] == 0.0f) {
        ASSERT_EQ(after[t][i], 0.0f);
      } else if (after[t][i] != before[t][i]) {
        ++moved;
      }
    }
    EXPECT_GT(moved, 0U);
  }
}

TEST_P(SmallNetwork, StopsAtItsStepAndLeavesOutWhatIsSkipped) {
  Random random(6106);
  const SmallNet net =
      draw_small_net(random, {6, 24, 5, 2},
                     {Activation::kRelu, Activation::kTanh, Activation::kIdentity}, 17, false);
  SmallNetOnRoom all(*backend, net);
  std::vector<std::vector<std::vector<float>>> weights;
  std::vector<std::uint64_t> totals;
  for (int i = 0; i < 6; ++i) {
    all.step_at_once();
    weights.push_back(all.weights());
    totals.push_back(backend->read_status(all.plan()).total);
  }
  ASSERT_LT(totals[3], totals[2]);

  SmallNetOnRoom stopped(*backend, net);
  backend->set_stop(stopped.plan(), {{{0, totals[3]}}, 1, 0});
  const float on = 1.0f;
  const Array<float> flag(*backend, std::span<const float>(&on, 1));
  for (int i = 0; i < 6; ++i) {
    if (i == 2) {
      backend->set_skip(stopped.plan(), flag.data());
      stopped.step_at_once();
      EXPECT_EQ(stopped.weights(), weights[1]);
      backend->set_skip(stopped.plan(), nullptr);
    }
    stopped.step_at_once(true);
  }
  const StepStatus status = backend->read_status(stopped.plan());
  EXPECT_TRUE(status.stopped);
  EXPECT_EQ(status.steps, 4);
  EXPECT_EQ(status.total, totals[3]);
  EXPECT_EQ(stopped.weights(), weights[3]);
  EXPECT_EQ(backend->read_nonzeros(stopped.plan()), status.nnz);
}

TEST_P(SmallNetwork, AValueThatIsNotFiniteStops) {
  Random random(6107);
  SmallNet net =
      draw_small_net(random, {4, 10, 2}, {Activation::kRelu, Activation::kIdentity}, 9, true);
  net.x[5] = std::nanf("");
  SmallNetOnRoom room(*backend, net);
  room.step_at_once();
  const StepStatus status = backend->read_status(room.plan());
  EXPECT_TRUE(status.stopped);
  EXPECT_GT(status.nonfinite, 0U);
}

TEST_P(SmallNetwork, WhatIsNotAskedForIsNotWritten) {
  Random random(6108);
  const SmallNet net = draw_small_net(random, 20);
  SmallNetOnRoom room(*backend, net);
  room.step_at_once(true, true, true);
  const LossSum before = room.loss();
  const std::vector<float> g = room.g[0].to_host();
  room.step_at_once(false, true, false);
  EXPECT_EQ(room.loss().loss, before.loss);
  EXPECT_EQ(room.g[0].to_host(), g);
}

TEST_P(SmallNetwork, BadInputIsRefusedWithWhatIsWrong) {
  Random random(6109);
  const SmallNet net =
      draw_small_net(random, {4, 6, 2}, {Activation::kRelu, Activation::kIdentity}, 5, false);
  SmallNetOnRoom room(*backend, net);
  const auto refusal = [&](auto change) -> std::string {
    std::vector<SmallNetworkLayer> list = room.layers(false);
    SmallNetworkStep args = room.arguments(list);
    change(args, list);
    args.layers = list;
    try {
      backend->small_network_step(room.plan(), args);
    } catch (const RefusedArgument& error) {
      return error.what();
    }
    return "taken";
  };
  using Layers = std::vector<SmallNetworkLayer>;
  EXPECT_EQ(refusal([](SmallNetworkStep&, Layers&) {}), "taken");
  const std::pair<std::string, std::string> cases[] = {
      {refusal([](SmallNetworkStep& a, Layers&) { a.rows = 0; }), "rows must be from 1"},
      {refusal([](SmallNetworkStep& a, Layers&) { a.x = nullptr; }), "x must not be null"},
      {refusal([](SmallNetworkStep& a, Layers&) { a.target = nullptr; }), "neither"},
      {refusal([](SmallNetworkStep&, Layers& l) { l[1].in = 7; }), "layer 2"},
      {refusal([](SmallNetworkStep&, Layers& l) { l[0].in = 257; }), "wider than 256"},
      {refusal([](SmallNetworkStep&, Layers& l) { l.resize(9); }), "9 layers"},
      {refusal([](SmallNetworkStep&, Layers& l) { l.clear(); }), "0 layers"},
      {refusal([](SmallNetworkStep&, Layers& l) { l.pop_back(); }), "two tensors a layer"},
      {refusal([](SmallNetworkStep&, Layers& l) { l[0].in = 5; }), "as many entries, 30"},
  };
  for (const auto& [message, part] : cases) EXPECT_NE(message.find(part), message.npos) << message;

  SmallNetOnRoom threshold(*backend, net, StepKind::kThreshold);
  EXPECT_THROW(threshold.step_at_once(), RefusedArgument);
}

std::vector<Room> rooms_that_have_it() {
  std::vector<Room> rooms = all_rooms();
  std::erase_if(rooms, [](const Room& room) { return room.engine != "cuda"; });
  return rooms;
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(SmallNetwork);
INSTANTIATE_TEST_SUITE_P(Rooms, SmallNetwork, ::testing::ValuesIn(rooms_that_have_it()),
                         [](const auto& room) { return room.param.name(); });

TEST(SmallNetworkOnTheHost, IsRefusedWithTheReason) {
  const std::unique_ptr<Backend> backend = cpu::make_cpu_backend("reference", 1);
  const std::string reason = backend->unsupported(Operation::kSmallNetwork);
  EXPECT_NE(reason.find("dense layers are fused"), reason.npos);
  Random random(6110);
  const SmallNet net = draw_small_net(random, 3);
  SmallNetOnRoom room(*backend, net);
  EXPECT_THROW(room.step_at_once(), InternalError);
}

}  // namespace
}  // namespace cuthresh::testing
