// cuthresh.hpp: that every call reaches its function, that handles outlive what they need in any
// order of destruction, and that errors arrive. What the functions compute is tests/capi's matter.

#include <gtest/gtest.h>

#include <array>
#include <cuthresh/cuthresh.hpp>
#include <limits>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

static_assert(!std::is_copy_constructible_v<cth::Context> &&
              !std::is_copy_constructible_v<cth::Plan> &&
              !std::is_copy_constructible_v<cth::Controller>);
static_assert(std::is_nothrow_move_constructible_v<cth::Plan>);

cth_status status_of(const auto& call) {
  try {
    call();
  } catch (const cth::Error& error) {
    EXPECT_STREQ(error.what(), cth_last_error());
    return error.status();
  }
  return CTH_OK;
}

/// Two groups of weights and a bias, on one thread.
class Wrapper : public testing::Test {
 protected:
  cth::Context context = cth::Context::cpu(1);
  std::vector<float> w = {0.5f, -0.25f, 0.0f, 3.0f};
  std::vector<float> g = {0.0f, 0.5f, -1.0f, 1.0f};
  std::array<float, 2> second = {1.0f, -8.0f};
  std::array<float, 2> second_gradient = {4.0f, 2.0f};
  float bias = 1.0f;
  float bias_gradient = 1.0f;
  cth::Plan plan{context,
                 {cth::plan_tensor(cth::cpu(w), cth::cpu(g), 0),
                  cth::plan_tensor(cth::cpu(second), cth::cpu(second_gradient), 1),
                  cth::plan_tensor(cth::cpu(&bias, 1), cth::cpu(&bias_gradient, 1), -1, {}, 1)}};
};

TEST_F(Wrapper, StepsAndCounts) {
  EXPECT_EQ(plan.groups(), 2u);
  EXPECT_EQ(plan.rates(), 2u);
  plan.set_rates({{0.25f, 0.0f, 0.0f}, {0.5f, 0.0f, 0.0f}});
  const std::array<float, 2> lambda = {1.0f, 2.0f};
  plan.set_lambda(std::span<const float>(lambda));
  EXPECT_EQ(plan.lambda(), (std::vector<float>{1.0f, 2.0f}));
  plan.step();
  EXPECT_EQ(w, (std::vector<float>{0.25f, -0.125f, 0.0f, 2.5f}));
  EXPECT_EQ(second, (std::array<float, 2>{0.0f, -8.0f}));
  EXPECT_EQ(bias, 0.5f);
  EXPECT_EQ(plan.counts(), (std::vector<std::uint64_t>{3, 1}));
  EXPECT_EQ(plan.status().steps, 1);
  EXPECT_EQ(plan.status().nonzeros, 4u);
  plan.restart();
  EXPECT_EQ(plan.status().steps, 0);
}

TEST_F(Wrapper, FollowsGradientsAndTheSkipFlag) {
  plan.set_rates({{1.0f, 0.0f, 0.0f}, {1.0f, 0.0f, 0.0f}});
  const std::vector<float> other = {1.0f, 1.0f, 1.0f, 1.0f};
  plan.set_gradients({other.data(), nullptr, nullptr});
  float skip = 1.0f;
  plan.set_skip(&skip);
  plan.step();
  EXPECT_EQ(w[3], 3.0f);
  skip = 0.0f;
  plan.step();
  EXPECT_EQ(w, (std::vector<float>{-0.5f, -1.25f, -1.0f, 2.0f}));
  EXPECT_EQ(second, (std::array<float, 2>{1.0f, -8.0f}));
  EXPECT_EQ(bias, 1.0f);
}

TEST_F(Wrapper, Reductions) {
  EXPECT_EQ(plan.count_nonzero(), (std::vector<std::uint64_t>{3, 2}));
  EXPECT_EQ(plan.kth_magnitude(CTH_OF_WEIGHTS, 2), 3.0f);
  EXPECT_EQ(plan.kth_magnitude(CTH_OF_GRADIENTS, 1), 4.0f);
  const float infinity = std::numeric_limits<float>::infinity();
  const auto medians = plan.bracket_median(CTH_OF_GRADIENTS, {{0.0f, infinity}, {3.0f, infinity}});
  ASSERT_EQ(medians.size(), 2u);
  EXPECT_EQ(medians[0].inside, 3u);
  EXPECT_EQ(medians[0].median, 1.0f);
  EXPECT_EQ(medians[1].inside, 1u);
  EXPECT_EQ(medians[1].median, 4.0f);
  plan.set_lambda({0.5f, 0.0f});
  const auto residuals = plan.kkt_residual();
  ASSERT_EQ(residuals.size(), 2u);
  EXPECT_EQ(residuals[0].nonzeros, 3u);
  EXPECT_EQ(residuals[0].zeros, 1u);
  EXPECT_EQ(residuals[0].on_nonzero, 1.5f);
  EXPECT_EQ(residuals[0].on_zero, 0.5f);
}

TEST(WrapperDtypes, Float64) {
  const cth::Context context = cth::Context::cpu(1);
  std::vector<double> weights = {0.5, -0.25, 0.1};
  const std::vector<double> gradients = {0.0, 0.0, 1.0};
  cth::Plan wide(context, {cth::plan_tensor(cth::cpu(weights.data(), 3, CTH_FLOAT64),
                                            cth::cpu(gradients.data(), 3, CTH_FLOAT64), 0)});
  wide.set_rates64({{0.1, 0.0, 0.0}});
  wide.set_lambda64({1.0});
  wide.refresh_masters();
  wide.step();
  EXPECT_EQ(weights, (std::vector<double>{0.5 - 0.1, -(0.25 - 0.1), 0.0}));
  EXPECT_EQ(wide.kth_magnitude64(CTH_OF_WEIGHTS, 2), 0.25 - 0.1);
  const auto medians = wide.bracket_median64(CTH_OF_WEIGHTS, {{0.2, 1.0}});
  EXPECT_EQ(medians[0].median, 0.5 - 0.1);
  EXPECT_THROW(wide.kth_magnitude(CTH_OF_WEIGHTS, 2), cth::Error);
}

/// A controlled run of w ← optimum, with `interrupt` put into another controller half-way.
std::vector<float> controlled(bool interrupt) {
  constexpr int kSteps = 60;
  std::vector<float> optimum(100);
  for (std::size_t i = 0; i < optimum.size(); ++i) {
    optimum[i] = 0.01f * static_cast<float>((i * 37) % 100) - 0.5f;
  }
  std::vector<float> w = optimum;
  std::vector<float> g(w.size());
  const cth::Context context = cth::Context::cpu(1);
  const cth::Plan plan(context, {cth::plan_tensor(cth::cpu(w), cth::cpu(g), 0)});
  std::optional<cth::Plan> later;
  const auto controller_of = [](const cth::Plan& of) {
    return cth::Controller(of, {cth::target_nonzeros(20)}, cth::controller_options(kSteps));
  };
  const auto set_rate = [](const cth::Plan& of) {
    const cth_rate rate = {0.2f, 0.0f, 0.0f};
    cth::check(cth_plan_set_rates(of.get(), &rate, 1));
  };
  set_rate(plan);
  cth::Controller controller = controller_of(plan);
  EXPECT_EQ(controller.phase(), CTH_PHASE_DENSE);
  for (int step = 0; step < kSteps; ++step) {
    for (std::size_t i = 0; i < w.size(); ++i) g[i] = w[i] - optimum[i];
    cth::check(cth_prox_step((later ? *later : plan).get()));
    controller.update();
    if (interrupt && step == kSteps / 2) {
      const std::vector<unsigned char> saved = controller.save();
      later.emplace(context, std::vector{cth::plan_tensor(cth::cpu(w), cth::cpu(g), 0)});
      set_rate(*later);
      controller = controller_of(*later);
      controller.load(saved);
    }
  }
  EXPECT_EQ(controller.phase(), CTH_PHASE_DONE);
  const auto reports = controller.read();
  EXPECT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports.at(0).nonzeros, 20u);
  EXPECT_EQ(reports.at(0).met, 1);
  return w;
}

TEST(WrapperControl, GoesOnFromSavedBytes) {
  EXPECT_EQ(controlled(true), controlled(false));
}

TEST(WrapperControl, CountsByHandAreTheCounts) {
  std::vector<float> w = {1.0f, -2.0f, 0.5f, 0.25f};
  const std::vector<float> g(4);
  const cth::Context context = cth::Context::cpu(1);
  cth::Plan plan(context, {cth::plan_tensor(cth::cpu(w), cth::cpu(g), 0)});
  plan.set_rates({{0.1f, 0.0f, 0.0f}});
  cth::Controller controller(plan, {cth::target_sparsity(0.5)}, cth::controller_options(10));
  plan.step();
  std::int64_t count = -1;
  controller.copy_counts(&count);
  EXPECT_EQ(count, 4);
  controller.update_from(&count);
  EXPECT_EQ(controller.read().at(0).target, 2u);
}

TEST(WrapperLifetime, AnyOrderOfDestruction) {
  std::vector<float> w(8, 1.0f);
  const std::vector<float> g(8, 0.5f);
  const auto list = std::vector{cth::plan_tensor(cth::cpu(w), cth::cpu(g), 0)};
  std::optional<cth::Context> context(cth::Context::cpu(1));
  std::optional<cth::Plan> plan(std::in_place, *context, list);
  plan->set_rates({{0.1f, 0.0f, 0.0f}});
  cth::Controller controller(*plan, {cth::target_sparsity(0.5)}, cth::controller_options(10));
  context.reset();
  plan->step();
  EXPECT_EQ(plan->counts().at(0), 8u);
  plan.reset();
  controller.update();
  EXPECT_EQ(controller.read().at(0).weights, 8u);

  cth::Context first = cth::Context::cpu(1);
  cth::Plan replaced(first, list);
  cth::Context second = cth::Context::cpu(1);
  replaced = cth::Plan(second, list);  // the first plan goes before its context
  replaced.set_rates({{0.1f, 0.0f, 0.0f}});
  first = std::move(second);
  controller = cth::Controller(replaced, {cth::target_sparsity(0.5)}, cth::controller_options(10));
  EXPECT_EQ(controller.read().size(), 1u);
}

TEST(WrapperErrors, ArriveWithStatusAndMessage) {
  cth::Context context = cth::Context::cpu(1);
  EXPECT_EQ(status_of([&] { cth::Plan(context, {}); }), CTH_INVALID_ARGUMENT);
  EXPECT_EQ(status_of([&] { context.set_stream(&context); }), CTH_INVALID_ARGUMENT);
  const cth::Context moved = std::move(context);
  EXPECT_EQ(status_of([&] { context.synchronize(); }), CTH_INVALID_ARGUMENT);
  EXPECT_EQ(status_of([&] { (void)moved.bytes_to_host(); }), CTH_OK);
  EXPECT_NE(moved.description().find("cpu"), std::string::npos);
  EXPECT_EQ(status_of([] { cth::from_dlpack(nullptr); }), CTH_INVALID_ARGUMENT);
}

TEST(WrapperAllocation, SumsToTheTotal) {
  const std::vector<std::uint64_t> nonzeros = cth::allocate_erdos_renyi({600, 40}, {50, 14}, 100);
  ASSERT_EQ(nonzeros.size(), 2u);
  EXPECT_EQ(nonzeros[0] + nonzeros[1], 100u);
  EXPECT_THROW(cth::allocate_erdos_renyi({600, 40}, {50}, 100), cth::Error);
}

}  // namespace
