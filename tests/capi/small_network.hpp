#pragma once

// A network of 6-16-1 whose loop is written out here, as a user's would be: weights in a room,
// gradients worked out on the host in float64.

#include <array>
#include <cmath>

#include "capi/support.hpp"

namespace cuthresh::testing {

class SmallNetwork {
 public:
  static constexpr std::size_t kIn = 6;
  static constexpr std::size_t kHidden = 16;
  static constexpr std::size_t kRows = 48;
  static constexpr std::uint64_t kWeights = kHidden * kIn + kHidden;  // of both layers

  /// The layers' weights are groups 0 and 1, the biases none.
  SmallNetwork(const Room& room, std::uint32_t seed, cth_step_kind kind)
      : SmallNetwork(room, Random(seed), kind) {}

  List& list() { return list_; }
  cth_plan* plan() const { return list_.plan(); }

  void set_gradients() {
    std::vector<std::vector<float>> p;
    for (std::size_t t = 0; t < 4; ++t) p.push_back(list_.weight(t).to_host());
    std::vector<std::vector<double>> g;
    for (const std::vector<float>& values : p) g.emplace_back(values.size(), 0.0);
    for (std::size_t row = 0; row < kRows; ++row) add_row(p, row, g);
    for (std::size_t t = 0; t < 4; ++t) {
      list_.set(list_.gradient(t), std::vector<float>(g[t].begin(), g[t].end()));
    }
  }

  /// Steps of a training until `end` have been taken, from the `done`-th on.
  void train(cth_controller* controller, std::int64_t done, std::int64_t end) {
    for (std::int64_t i = done; i < end; ++i) {
      set_gradients();
      ASSERT_CTH(cth_prox_step(plan()));
      ASSERT_CTH(cth_controller_update(controller));
    }
  }

  std::vector<std::vector<float>> state() {
    std::vector<std::vector<float>> all;
    for (std::size_t t = 0; t < 4; ++t) all.push_back(list_.weight(t).to_host());
    for (std::size_t t = 0; t < 4; ++t) all.push_back(list_.momentum(t).to_host());
    return all;
  }
  void restore(const std::vector<std::vector<float>>& state) {
    for (std::size_t t = 0; t < 4; ++t) list_.set(list_.weight(t), state[t]);
    for (std::size_t t = 0; t < 4; ++t) list_.set(list_.momentum(t), state[4 + t]);
  }

 private:
  SmallNetwork(const Room& room, Random random, cth_step_kind kind) : list_(room, entries(random)) {
    for (auto& row : x_) {
      for (double& value : row) value = static_cast<double>(random.uniform(-1.0f, 1.0f));
    }
    list_.make_plan(kind);
    list_.set_rates({{0.05f, 0.5f, 0.0f}});
  }

  static std::vector<Entry> entries(Random& random) {
    return {{random.vector(kHidden * kIn, -0.5f, 0.5f), std::vector<float>(kHidden * kIn), 0, 0},
            {std::vector<float>(kHidden), std::vector<float>(kHidden), -1, 0},
            {random.vector(kHidden, -0.5f, 0.5f), std::vector<float>(kHidden), 1, 0},
            {std::vector<float>(1), std::vector<float>(1), -1, 0}};
  }

  /// The gradient of half the mean squared error in one row: the target is sin(2x₀) + x₁x₂.
  void add_row(const std::vector<std::vector<float>>& p, std::size_t row,
               std::vector<std::vector<double>>& g) const {
    const std::array<double, kIn>& x = x_[row];
    std::array<double, kHidden> h{};
    auto y = static_cast<double>(p[3][0]);
    for (std::size_t j = 0; j < kHidden; ++j) {
      auto z = static_cast<double>(p[1][j]);
      for (std::size_t i = 0; i < kIn; ++i) z += static_cast<double>(p[0][j * kIn + i]) * x[i];
      h[j] = std::tanh(z);
      y += static_cast<double>(p[2][j]) * h[j];
    }
    const double dy = (y - std::sin(2.0 * x[0]) - x[1] * x[2]) / static_cast<double>(kRows);
    g[3][0] += dy;
    for (std::size_t j = 0; j < kHidden; ++j) {
      const double dz = dy * static_cast<double>(p[2][j]) * (1.0 - h[j] * h[j]);
      g[2][j] += dy * h[j];
      g[1][j] += dz;
      for (std::size_t i = 0; i < kIn; ++i) g[0][j * kIn + i] += dz * x[i];
    }
  }

  List list_;
  std::array<std::array<double, kIn>, kRows> x_{};
};

inline cth_controller_options steps_of(std::int64_t steps) {
  cth_controller_options options = CTH_CONTROLLER_OPTIONS_INIT;
  options.steps = steps;
  return options;
}

/// A target of all groups, or of one.
inline cth_target target_of(const std::int32_t* group, std::uint64_t nonzeros) {
  cth_target target{};
  target.groups = group;
  target.group_count = group == nullptr ? 0 : 1;
  target.nonzeros = nonzeros;
  return target;
}

inline ControllerHandle make_controller(cth_plan* plan, const std::vector<cth_target>& targets,
                                        const cth_controller_options& options) {
  cth_controller* made = nullptr;
  EXPECT_CTH(cth_controller_create(plan, targets.data(), targets.size(), &options, &made));
  return ControllerHandle(made);
}

inline cth_phase phase_of(const ControllerHandle& controller) {
  cth_phase phase = CTH_PHASE_DONE;
  EXPECT_CTH(cth_controller_phase(controller.get(), &phase));
  return phase;
}

inline std::vector<cth_target_report> read_reports(const ControllerHandle& controller,
                                                   std::size_t targets) {
  std::vector<cth_target_report> reports(targets);
  EXPECT_CTH(cth_controller_read(controller.get(), reports.data(), targets));
  return reports;
}

}  // namespace cuthresh::testing
