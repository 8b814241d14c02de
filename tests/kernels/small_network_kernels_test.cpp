// The two kernels of a small network's step, launched by themselves: the same bits for any grid and
// order of threads, in guarded memory, against the gradients in float64.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "guarded.hpp"
#include "kernels/block/small_network_pass.cuh"
#include "kernels/block/small_network_step.cuh"
#include "support/small_network.hpp"

namespace cuthresh::testing {
namespace {

using Floats = Guarded<float>;

std::unique_ptr<Floats> floats(const std::vector<float>& values, std::size_t offset = 0) {
  return std::make_unique<Floats>(std::span<const float>(values), offset);
}
std::unique_ptr<Floats> floats(std::int64_t size, float value) {
  return std::make_unique<Floats>(static_cast<std::size_t>(size), value);
}

/// All that the kernels read and write for one network, exactly as large as they may use. Weights
/// begin `offset` entries past a 64-byte boundary.
class SmallNetMemory {
 public:
  SmallNetMemory(const SmallNet& net, std::size_t offset)
      : net_(net),
        x_(std::span<const float>(net.x)),
        target_(std::span<const float>(net.target)),
        label_(std::span<const std::int32_t>(net.label)),
        loss_(1, -1.0),
        correct_(1, std::uint64_t{77}),
        row_losses_(static_cast<std::size_t>(net.rows), -1.0),
        row_hits_(static_cast<std::size_t>(net.rows), 5U),
        loss_partials_(static_cast<std::size_t>(softmax_partials(net.rows)), -1.0),
        lambda_(net.layers(), 0.05f),
        rates_(1, StepRate{0.1f, 0.8f, 0.01f}),
        stop_(1, StopRecord{0, 0, 0}),
        status_(4 + net.layers(), std::uint64_t{0}),
        sums_(2 + net.layers(), std::uint64_t{0}) {
    network_.layers = static_cast<std::int32_t>(net.layers());
    network_.rows = net.rows;
    std::vector<TensorRecord> records;
    std::int32_t tiles = 0;
    for (std::size_t l = 0; l < net.layers(); ++l) {
      SmallLayer& layer = network_.layer[l];
      layer.in = static_cast<std::int32_t>(net.in(l));
      layer.out = static_cast<std::int32_t>(net.out(l));
      layer.activation = net.activations[l];
      layer.leaky_slope = SmallNet::kSlope;
      layer.w = add(tensors, floats(net.w[l], offset));
      layer.b = add(tensors, floats(net.b[l], offset));
      layer.x = add(blocked, floats(blocked_size(net.rows, layer.in), kUnset));
      layer.d = add(blocked, floats(blocked_size(net.rows, layer.out), kUnset));
      const bool with_z = needs_preactivation(net.activations[l]);
      if (with_z) layer.z = add(blocked, floats(blocked_size(net.rows, layer.out), kUnset));
      layer.dw = add(gradients, floats(layer.in * layer.out, kUnset));
      layer.db = add(gradients, floats(layer.out, kUnset));
      for (std::size_t t = 2 * l; t < 2 * l + 2; ++t) {
        const auto size = static_cast<std::int64_t>(tensors[t]->size());
        add(momenta, floats(size, 0.0f));
        const std::int32_t group = t % 2 == 0 ? static_cast<std::int32_t>(l) : -1;
        records.push_back(
            {tensors[t]->data(), nullptr, momenta[t]->data(), nullptr, size, group, 0});
      }
      tiles += gradient_tiles(layer.in, layer.out);
    }
    records_ = std::make_unique<Guarded<TensorRecord>>(records);
    parts_ = gradient_parts(tiles, net.rows);
    partials_ = floats(parts_ == 1 ? 0 : std::int64_t{tiles} * parts_ * kGradientPartial, kUnset);
    tickets_ = std::make_unique<Guarded<std::uint32_t>>(static_cast<std::size_t>(tiles), 0U);
  }

  void pass(std::uint32_t grid) {
    simt::launch(grid, kSmallThreads, small_network_pass_kernel,
                 SmallPassArguments{network_,
                                    x_.data(),
                                    net_.cross_entropy ? nullptr : target_.data(),
                                    net_.cross_entropy ? label_.data() : nullptr,
                                    net_.gradient_scale(),
                                    {loss_partials_.data(), row_losses_.data(), row_hits_.data(),
                                     tickets_->data()},
                                    {loss_.data(), correct_.data(), false},
                                    status(),
                                    nullptr});
  }
  template <class Step = NesterovStep<float>>
  void step(std::uint32_t grid) {
    ProxStepArguments<float> plan{};
    plan.list = {records_->data(), nullptr, 0, network_.layers};
    plan.lambda = lambda_.data();
    plan.rates = rates_.data();
    plan.stop = stop_.data();
    plan.status = status();
    plan.sums = reinterpret_cast<StepSums*>(sums_.data());
    simt::launch(
        grid, kSmallThreads, small_network_step_kernel<Step, L1Penalty<float>>,
        SmallStepArguments{network_, plan, parts_, partials_->data(), tickets_->data(), true},
        L1Penalty<float>{});
  }

  StepHeader* status() { return reinterpret_cast<StepHeader*>(status_.data()); }
  double loss() { return loss_.data()[0]; }
  std::uint64_t correct() { return correct_.data()[0]; }
  std::int32_t parts() const { return parts_; }
  /// All results, bit for bit.
  std::vector<std::vector<float>> results() const {
    std::vector<std::vector<float>> all;
    for (const auto* list : {&tensors, &momenta, &gradients, &blocked}) {
      for (const auto& one : *list) all.push_back(one->values());
    }
    return all;
  }
  bool is_left_tidy() {
    bool holds = x_.guards_hold() && status_.guards_hold() && sums_.guards_hold() &&
                 partials_->guards_hold() && tickets_->guards_hold() && row_losses_.guards_hold() &&
                 row_hits_.guards_hold() && loss_partials_.guards_hold() &&
                 tickets_->values() == std::vector<std::uint32_t>(tickets_->size(), 0U) &&
                 sums_.values() == std::vector<std::uint64_t>(sums_.size(), 0U);
    for (const auto* list : {&tensors, &momenta, &gradients, &blocked}) {
      for (const auto& one : *list) holds = holds && one->guards_hold();
    }
    return holds;
  }

  std::vector<std::unique_ptr<Floats>> tensors, momenta, gradients, blocked;

 private:
  static constexpr float kUnset = 1e30f;
  static float* add(std::vector<std::unique_ptr<Floats>>& to, std::unique_ptr<Floats> one) {
    to.push_back(std::move(one));
    return to.back()->data();
  }

  const SmallNet& net_;
  SmallNetwork network_{};
  Floats x_, target_;
  Guarded<std::int32_t> label_;
  Guarded<double> loss_;
  Guarded<std::uint64_t> correct_;
  Guarded<double> row_losses_;
  Guarded<std::uint32_t> row_hits_;
  Guarded<double> loss_partials_;
  Floats lambda_;
  Guarded<StepRate> rates_;
  Guarded<StopRecord> stop_;
  Guarded<std::uint64_t> status_, sums_;
  std::unique_ptr<Guarded<TensorRecord>> records_;
  std::int32_t parts_ = 1;
  std::unique_ptr<Floats> partials_;
  std::unique_ptr<Guarded<std::uint32_t>> tickets_;
};

void expect_definition(SmallNetMemory& memory, const SmallNet& net) {
  const SmallGradients want = small_gradients(net);
  for (std::size_t l = 0; l < net.layers(); ++l) {
    ASSERT_LE(relative_difference(memory.gradients[2 * l]->values(), want.dw[l]), 2e-5);
    ASSERT_LE(relative_difference(memory.gradients[2 * l + 1]->values(), want.db[l]), 2e-5);
  }
  ASSERT_NEAR(memory.loss(), want.loss, 2e-6 * want.loss);
  ASSERT_EQ(memory.correct(), want.correct);
}

void expect_same_bits(const SmallNet& net, std::size_t offset) {
  SCOPED_TRACE(::testing::Message() << net << ", offset " << offset);
  std::vector<std::vector<float>> first;
  double loss = 0.0;
  for_each_launch([&](std::uint32_t grid) {
    SmallNetMemory memory(net, offset);
    memory.pass(grid);
    memory.step(grid == 1 ? 3 : grid);
    ASSERT_TRUE(memory.is_left_tidy());
    ASSERT_EQ(memory.status()->steps, 1U);
    const std::vector<std::vector<float>> results = memory.results();
    if (first.empty()) {
      first = results;
      loss = memory.loss();
      expect_definition(memory, net);
      return;
    }
    ASSERT_EQ(memory.loss(), loss);
    for (std::size_t i = 0; i < first.size(); ++i) {
      ASSERT_EQ(first_difference(results[i], first[i]), "") << "array " << i;
    }
  });
}

TEST(SmallNetworkKernels, SameBitsForAnyGridAndOrder) {
  Random random(6201);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  using A = Activation;
  expect_same_bits(
      draw_small_net(random, {6, 36, 20, 1}, {A::kRelu, A::kGelu, A::kIdentity}, 19, false), 0);
  if (HasFatalFailure()) return;
  expect_same_bits(draw_small_net(random, {10, 17, 5}, {A::kTanh, A::kSilu}, 9, true), 3);
}

TEST(SmallNetworkKernels, PartsOfTheRows) {
  Random random(6202);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const SmallNet net = draw_small_net(random, {4, 3}, {Activation::kSigmoid}, 1040, false);
  std::vector<std::vector<float>> first;
  for (const std::uint32_t grid : {1U, 2U, 5U}) {
    SmallNetMemory memory(net, 0);
    ASSERT_EQ(memory.parts(), 2);
    memory.pass(grid);
    memory.step(grid);
    ASSERT_TRUE(memory.is_left_tidy());
    if (first.empty()) {
      first = memory.results();
      expect_definition(memory, net);
    }
    ASSERT_EQ(memory.results(), first);
  }
}

TEST(SmallNetworkKernels, StoppedMeansUntouched) {
  Random random(6203);
  const SmallNet net = draw_small_net(random, {3, 4}, {Activation::kRelu}, 5, false);
  SmallNetMemory memory(net, 0);
  memory.status()->stopped = 1;
  const std::vector<std::vector<float>> before = memory.results();
  memory.pass(2);
  memory.step(2);
  EXPECT_EQ(memory.results(), before);
  EXPECT_EQ(memory.loss(), -1.0);
  EXPECT_EQ(memory.status()->steps, 0U);
}

TEST(SmallNetworkKernels, PartsAreOfTheShapeAlone) {
  EXPECT_EQ(gradient_tiles(6, 128), 8);
  EXPECT_EQ(gradient_tiles(17, 33), 6);
  EXPECT_EQ(gradient_parts(108, 1000), 1);
  EXPECT_EQ(gradient_parts(4, 511), 1);
  EXPECT_EQ(gradient_parts(4, 1024), 2);
  EXPECT_EQ(gradient_parts(4, 1 << 20), 32);
  EXPECT_EQ(gradient_parts(2048, 1 << 20), 1);
  // 64-bit: 2^40 rows of 256 columns.
  EXPECT_EQ(blocked_size(std::int64_t{1} << 40, 250), std::int64_t{1} << 48);
}

// Every barrier and atomic once, in launches small enough for a run under ThreadSanitizer.
TEST(SmallNetworkKernels, SmallForThreadSanitizer) {
  Random random(6204);
  const SetOrder shuffled(simt::Order::kShuffled, 3);
  const SmallNet net =
      draw_small_net(random, {5, 18, 2}, {Activation::kSilu, Activation::kTanh}, 10, true);
  SmallNetMemory memory(net, 0);
  memory.pass(2);
  memory.step(3);
  expect_definition(memory, net);
  EXPECT_TRUE(memory.is_left_tidy());
}

}  // namespace
}  // namespace cuthresh::testing
