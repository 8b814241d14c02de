// Both kernels of a small network's step, twice: gradients and loss against float64, weights
// against the step's formula, counts, tickets; with rows in one part and in two.

#include <cmath>
#include <cstdint>
#include <deque>
#include <vector>

#include "kernels/block/small_network_pass.cuh"
#include "kernels/block/small_network_step.cuh"
#include "mutants/harness.hpp"
#include "support/small_network.hpp"

namespace cuthresh::testing {
namespace {

constexpr float kRate = 0.125f;
constexpr float kLambda = 0.25f;

/// The kernels' arguments, and what they point to; every array in memory of its own.
class SmallStep {
 public:
  explicit SmallStep(const SmallNet& net) : net_(net) {
    network_.layers = static_cast<std::int32_t>(net.layers());
    network_.rows = net.rows;
    std::int32_t tiles = 0;
    for (std::size_t l = 0; l < net.layers(); ++l) {
      SmallLayer& layer = network_.layer[l];
      layer.in = static_cast<std::int32_t>(net.in(l));
      layer.out = static_cast<std::int32_t>(net.out(l));
      layer.activation = net.activations[l];
      layer.leaky_slope = SmallNet::kSlope;
      w_.push_back(net.w[l]);
      layer.w = w_.back().data();
      w_.push_back(net.b[l]);
      layer.b = w_.back().data();
      layer.x = take(blocked_size(net.rows, layer.in));
      layer.d = take(blocked_size(net.rows, layer.out));
      if (needs_preactivation(layer.activation)) layer.z = take(blocked_size(net.rows, layer.out));
      layer.dw = take(layer.in * layer.out);
      layer.db = take(layer.out);
      for (std::size_t t = 2 * l; t < 2 * l + 2; ++t) {
        const auto size = static_cast<std::int64_t>(w_[t].size());
        const std::int32_t group = t % 2 == 0 ? static_cast<std::int32_t>(l) : -1;
        records_.push_back({w_[t].data(), nullptr, nullptr, nullptr, size, group, 0});
      }
      tiles += gradient_tiles(layer.in, layer.out);
    }
    lambda_.assign(net.layers(), kLambda);
    status_.assign(4 + net.layers(), 0);
    sums_.assign(2 + net.layers(), 0);
    parts_ = gradient_parts(tiles, net.rows);
    partials_ = take(std::int64_t{tiles} * parts_ * kGradientPartial);
    tickets_.assign(static_cast<std::size_t>(tiles), 0);
    row_losses_.assign(static_cast<std::size_t>(net.rows), -1.0);
    row_hits_.assign(static_cast<std::size_t>(net.rows), 9);
    loss_partials_.assign(static_cast<std::size_t>(softmax_partials(net.rows)), -1.0);
  }

  void run(std::uint32_t grid) {
    simt::launch(grid, kSmallThreads, small_network_pass_kernel,
                 SmallPassArguments{
                     network_,
                     net_.x.data(),
                     net_.target.data(),
                     nullptr,
                     net_.gradient_scale(),
                     {loss_partials_.data(), row_losses_.data(), row_hits_.data(), tickets_.data()},
                     {&loss_, &correct_, false},
                     header(),
                     nullptr});
    ProxStepArguments<float> plan{};
    plan.list = {records_.data(), nullptr, 0, network_.layers};
    plan.lambda = lambda_.data();
    plan.rates = &rate_;
    plan.stop = &stop_;
    plan.status = header();
    plan.sums = reinterpret_cast<StepSums*>(sums_.data());
    const auto step = [&](bool stepped) {
      simt::launch(grid, kSmallThreads,
                   small_network_step_kernel<PlainStep<float>, L1Penalty<float>>,
                   SmallStepArguments{network_, plan, parts_, partials_, tickets_.data(), stepped},
                   L1Penalty<float>{});
    };
    step(false);
    alone_ = gradients();
    step(true);
  }

  /// Against the definition at `before`.
  void check(const SmallNet& before) {
    const SmallGradients want = small_gradients(before);
    require(gradients() == alone_, "gradients with a step and without");
    require(std::fabs(loss_ - want.loss) <= 2e-6 * want.loss, "loss");
    for (std::size_t l = 0; l < before.layers(); ++l) {
      const SmallLayer& layer = network_.layer[l];
      check_tensor(before.w[l], w_[2 * l], layer.dw, want.dw[l], kRate * kLambda);
      check_tensor(before.b[l], w_[2 * l + 1], layer.db, want.db[l], 0.0f);
      std::uint64_t nnz = 0;
      for (const float w : w_[2 * l]) nnz += w != 0.0f ? 1U : 0U;
      require(group_counts(header())[l] == nnz, "count of layer " + std::to_string(l));
    }
    for (const std::uint32_t ticket : tickets_) require(ticket == 0, "ticket");
    for (const std::uint64_t sum : sums_) require(sum == 0, "sums");
  }
  std::uint64_t steps() { return header()->steps; }
  /// The net with the weights as they are now.
  SmallNet now() const {
    SmallNet net = net_;
    for (std::size_t l = 0; l < net.layers(); ++l) {
      net.w[l] = w_[2 * l];
      net.b[l] = w_[2 * l + 1];
    }
    return net;
  }

 private:
  static void check_tensor(const std::vector<float>& before, const std::vector<float>& after,
                           const float* g, const std::vector<double>& want, float threshold) {
    require(relative_difference({g, g + want.size()}, want) <= 2e-5, "gradient");
    for (std::size_t i = 0; i < before.size(); ++i) {
      const float z = std::fma(-kRate, g[i], before[i]);
      const float y = std::copysign(std::fmax(std::fabs(z) - threshold, 0.0f), z);
      require(after[i] == y, "weight " + std::to_string(i));
    }
  }
  std::vector<float> gradients() const {
    std::vector<float> all;
    for (std::size_t l = 0; l < net_.layers(); ++l) {
      const SmallLayer& layer = network_.layer[l];
      all.insert(all.end(), layer.dw, layer.dw + net_.w[l].size());
      all.insert(all.end(), layer.db, layer.db + net_.b[l].size());
    }
    return all;
  }
  float* take(std::int64_t size) {
    arrays_.emplace_back(static_cast<std::size_t>(size), 1e30f);
    return arrays_.back().data();
  }
  StepHeader* header() { return reinterpret_cast<StepHeader*>(status_.data()); }

  SmallNet net_;
  SmallNetwork network_{};
  std::deque<std::vector<float>> w_;  // weights and biases of the layers
  std::deque<std::vector<float>> arrays_;
  std::vector<TensorRecord> records_;
  std::vector<float> alone_;  // gradients of the launch that did not step
  std::vector<float> lambda_;
  StepRate rate_{kRate, 0.0f, 0.0f};
  StopRecord stop_{0, 0, 0};
  std::vector<std::uint64_t> status_, sums_;
  std::int32_t parts_ = 1;
  float* partials_ = nullptr;
  std::vector<std::uint32_t> tickets_;
  double loss_ = -1.0;
  std::uint64_t correct_ = 9;
  std::vector<double> row_losses_, loss_partials_;
  std::vector<std::uint32_t> row_hits_;
};

void check_net(std::uint32_t grid, const SmallNet& net) {
  SmallStep step(net);
  for (std::uint64_t time = 1; time <= 2; ++time) {
    const SmallNet before = step.now();
    step.run(grid);
    step.check(before);
    require(step.steps() == time, "steps");
  }
}

void check_small(std::uint32_t grid) {
  Random random(6301);
  check_net(grid,
            draw_small_net(random, {5, 20, 3}, {Activation::kSilu, Activation::kTanh}, 13, false));
#if !defined(__SANITIZE_THREAD__)
  check_net(grid, draw_small_net(random, {3, 2}, {Activation::kSigmoid}, 1030, false));
#endif
}

}  // namespace
}  // namespace cuthresh::testing

int main() {
  using namespace cuthresh::testing;
  return report([] { for_each_launch({1, 4, 3}, check_small); });
}
