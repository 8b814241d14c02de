// Plans of the C ABI in every room: steps against the definition written out, counts, what stops
// them and what they leave alone.

#include <limits>

#include "capi/support.hpp"

namespace cuthresh::testing {
namespace {

class CapiPlan : public ::testing::TestWithParam<Room> {};
INSTANTIATE_TEST_SUITE_P(Rooms, CapiPlan, ::testing::ValuesIn(list_rooms()), room_name);

const std::vector<cth_rate> kRates = {{0.125f, 0.875f, 0.0f}, {0.03f, 0.5f, 0.25f}};
const std::vector<float> kLambda = {0.5f, 0.0f, 2.0f};

std::vector<Entry> mixed_entries(Random& random) {
  std::vector<Entry> entries;
  const std::int32_t groups[] = {0, 2, -1, 1, 0, 2};
  const std::size_t sizes[] = {1000, 7, 33, 0, 20011, 1};
  for (std::size_t i = 0; i < std::size(sizes); ++i) {
    entries.push_back({random.vector(sizes[i], -1.0f, 1.0f), random.vector(sizes[i], -1.0f, 1.0f),
                       groups[i], static_cast<std::int32_t>(i % 2)});
  }
  return entries;
}

/// cuthresh.h's formulas, an entry at a time, in float with the roundings that PyTorch has.
struct StepByDefinition {
  cth_step_kind kind;
  cth_rate rate;
  float lambda;

  float operator()(float w, float g, float& v) const {
    const float alpha = rate.learning_rate;
    const float gradient = rate.weight_decay == 0.0f ? g : std::fma(rate.weight_decay, w, g);
    float z = w;
    if (kind == CTH_STEP_SGD) {
      z = std::fma(-alpha, gradient, w);
    } else if (kind != CTH_STEP_THRESHOLD) {
      v = rate.momentum * v + gradient;
      const bool ahead = kind == CTH_STEP_NESTEROV;
      z = std::fma(-alpha, ahead ? std::fma(rate.momentum, v, gradient) : v, w);
    }
    const float t = alpha * lambda;
    if (t == 0.0f) return z == 0.0f ? 0.0f : z;
    return z > t ? z - t : (z < -t ? z + t : 0.0f);
  }
};

TEST_P(CapiPlan, StepsAreTheDefinitionForEveryKind) {
  for (const cth_step_kind kind :
       {CTH_STEP_SGD, CTH_STEP_MOMENTUM, CTH_STEP_NESTEROV, CTH_STEP_THRESHOLD}) {
    Random random(101);
    SCOPED_TRACE(::testing::Message() << "seed " << random.seed() << ", kind " << kind);
    std::vector<Entry> entries = mixed_entries(random);
    List list(GetParam(), entries);
    list.make_plan(kind);
    list.set_rates(kRates);
    list.set_lambda(kLambda);
    std::vector<std::vector<float>> v;
    for (const Entry& entry : entries) v.emplace_back(entry.w.size(), 0.0f);
    for (int step = 0; step < 4; ++step) {
      ASSERT_CTH(cth_prox_step(list.plan()));
      std::vector<std::uint64_t> nonzeros(3, 0);
      for (std::size_t t = 0; t < entries.size(); ++t) {
        Entry& entry = entries[t];
        const auto group = static_cast<std::size_t>(entry.group);
        const StepByDefinition definition{kind, kRates[static_cast<std::size_t>(entry.rate)],
                                          entry.group < 0 ? 0.0f : kLambda[group]};
        for (std::size_t i = 0; i < entry.w.size(); ++i) {
          entry.w[i] = definition(entry.w[i], entry.g[i], v[t][i]);
        }
        expect_same_bits(list.weight(t).to_host(), entry.w, "tensor " + std::to_string(t));
        if (entry.group >= 0) nonzeros[group] += nonzeros_of(entry.w);
        entry.g = random.vector(entry.g.size(), -1.0f, 1.0f);
        list.set(list.gradient(t), entry.g);
      }
      EXPECT_EQ(list.counts(3), nonzeros);
      const cth_step_status status = list.status();
      EXPECT_EQ(status.steps, step + 1);
      EXPECT_EQ(status.nonzeros, nonzeros[0] + nonzeros[1] + nonzeros[2]);
      EXPECT_EQ(status.nonfinite, 0U);
      EXPECT_EQ(status.stopped, 0);
    }
    EXPECT_EQ(list.lambda(3), kLambda);
  }
}

TEST_P(CapiPlan, LambdaKeepsItsMeaningWhenTheRateChanges) {
  // Two steps with α and one with 2α shrink by 4αλ in all.
  List list(GetParam(), {{{1.0f, -1.0f}, {0.0f, 0.0f}, 0, 0}});
  list.make_plan();
  list.set_lambda({0.25f});
  list.set_rates({{0.125f, 0.0f, 0.0f}});
  EXPECT_CTH(cth_prox_step(list.plan()));
  EXPECT_CTH(cth_prox_step(list.plan()));
  list.set_rates({{0.25f, 0.0f, 0.0f}});
  EXPECT_CTH(cth_prox_step(list.plan()));
  EXPECT_EQ(list.weight(0).to_host(), (std::vector<float>{0.875f, -0.875f}));
}

TEST_P(CapiPlan, ZerosStayZerosAndSmallNumbersStaySmall) {
  constexpr float kTiny = std::numeric_limits<float>::denorm_min();
  List list(GetParam(), {{{0.0f, -0.0f, kTiny, -3.0f * kTiny}, {0.0f, 0.0f, 0.0f, 0.0f}, 0, 0}});
  list.make_plan(CTH_STEP_MOMENTUM);
  // λ = 0 and α = 0: 0/0 and the like must not come about.
  for (const float alpha : {0.0f, 0.5f}) {
    list.set_rates({{alpha, 0.5f, 0.0f}});
    EXPECT_CTH(cth_prox_step(list.plan()));
    EXPECT_EQ(list.weight(0).to_host(), (std::vector<float>{0.0f, 0.0f, kTiny, -3.0f * kTiny}));
    EXPECT_EQ(list.counts(1), std::vector<std::uint64_t>{2});
  }
  list.set_lambda({4.0f * kTiny});
  EXPECT_CTH(cth_prox_step(list.plan()));
  EXPECT_EQ(list.weight(0).to_host(), (std::vector<float>{0.0f, 0.0f, 0.0f, -kTiny}));
  EXPECT_EQ(list.status().nonfinite, 0U);
}

TEST_P(CapiPlan, TensorsWithoutAGradientAreCountedAndNotStepped) {
  List list(GetParam(),
            {{{1.0f, 0.0f, 2.0f}, {1.0f, 1.0f, 1.0f}, 0, 0}, {{4.0f, 5.0f}, {1.0f, 1.0f}, 0, 0}});
  list.entries()[0].gradient.data = nullptr;
  list.make_plan();
  list.set_rates({{0.5f, 0.0f, 0.0f}});
  EXPECT_CTH(cth_prox_step(list.plan()));
  EXPECT_EQ(list.weight(0).to_host(), (std::vector<float>{1.0f, 0.0f, 2.0f}));
  EXPECT_EQ(list.weight(1).to_host(), (std::vector<float>{3.5f, 4.5f}));
  EXPECT_EQ(list.counts(1), std::vector<std::uint64_t>{4});
  const void* swapped[] = {list.gradient(0).data(), nullptr};
  EXPECT_CTH(cth_plan_set_gradients(list.plan(), swapped, 2));
  EXPECT_CTH(cth_prox_step(list.plan()));
  EXPECT_EQ(list.weight(0).to_host(), (std::vector<float>{0.5f, -0.5f, 1.5f}));
  EXPECT_EQ(list.weight(1).to_host(), (std::vector<float>{3.5f, 4.5f}));
  EXPECT_EQ(list.counts(1), std::vector<std::uint64_t>{5});
}

TEST_P(CapiPlan, StopsAtWhatIsNotFiniteUntilItIsRestarted) {
  List list(GetParam(), {{{1.0f, 2.0f}, {0.5f, 0.5f}, 0, 0}});
  list.make_plan();
  list.set_rates({{1.0f, 0.0f, 0.0f}});
  EXPECT_CTH(cth_prox_step(list.plan()));
  list.set(list.gradient(0), {std::numeric_limits<float>::quiet_NaN(), 0.5f});
  EXPECT_CTH(cth_prox_step(list.plan()));
  const std::vector<float> then = list.weight(0).to_host();
  EXPECT_TRUE(std::isnan(then[0]));
  EXPECT_EQ(then[1], 1.0f);
  EXPECT_CTH(cth_prox_step(list.plan()));  // not taken
  EXPECT_EQ(list.weight(0).to_host()[1], 1.0f);
  cth_step_status status = list.status();
  EXPECT_EQ(status.steps, 2);
  EXPECT_EQ(status.nonfinite, 1U);
  EXPECT_EQ(status.nonzeros, 2U);  // NaN is no sparsity
  EXPECT_EQ(status.stopped, 1);

  list.set(list.weight(0), {3.0f, 1.0f});
  list.set(list.gradient(0), {0.5f, 0.5f});
  EXPECT_CTH(cth_plan_restart(list.plan()));
  EXPECT_CTH(cth_prox_step(list.plan()));
  EXPECT_EQ(list.weight(0).to_host(), (std::vector<float>{2.5f, 0.5f}));
  status = list.status();
  EXPECT_EQ(status.steps, 1);
  EXPECT_EQ(status.nonfinite, 0U);
  EXPECT_EQ(status.stopped, 0);
}

TEST_P(CapiPlan, SkipsStepsWhileTheFlagIsUp) {
  List list(GetParam(), {{{1.0f, 2.0f}, {0.5f, 0.5f}, 0, 0}, {{1.0f}, {0.0f}, -1, 0}});
  list.make_plan();
  list.set_rates({{1.0f, 0.0f, 0.0f}});
  auto* const flag = list.gradient(1).data();
  EXPECT_CTH(cth_plan_set_skip(list.plan(), flag));
  EXPECT_CTH(cth_prox_step(list.plan()));
  list.set(list.gradient(1), {1.0f});
  EXPECT_CTH(cth_prox_step(list.plan()));
  EXPECT_EQ(list.weight(0).to_host(), (std::vector<float>{0.5f, 1.5f}));
  EXPECT_EQ(list.status().steps, 1);
  EXPECT_CTH(cth_plan_set_skip(list.plan(), nullptr));
  EXPECT_CTH(cth_prox_step(list.plan()));
  EXPECT_EQ(list.weight(0).to_host(), (std::vector<float>{0.0f, 1.0f}));
  EXPECT_EQ(list.status().steps, 2);
}

TEST_P(CapiPlan, MayHaveMoreGroupsAndRatesThanAreUsedAndEmptyTensors) {
  List list(GetParam(), {{{1.0f}, {0.0f}, 1, 1}, {{}, {}, 0, 0}});
  list.entries()[1].weight.data = nullptr;
  cth_plan_options options = CTH_PLAN_OPTIONS_INIT;
  options.groups = 4;
  options.rates = 3;
  cth_plan* made = nullptr;
  ASSERT_CTH(cth_plan_create(list.context(), list.entries().data(), list.entries().size(), &options,
                             &made));
  const PlanHandle plan(made);
  std::size_t groups = 0;
  std::size_t rates = 0;
  EXPECT_CTH(cth_plan_extents(plan.get(), &groups, &rates));
  EXPECT_EQ(groups, 4U);
  EXPECT_EQ(rates, 3U);
  EXPECT_CTH(cth_plan_extents(plan.get(), nullptr, nullptr));
  EXPECT_CTH(cth_prox_step(plan.get()));  // rates and λ are 0 to begin with
  EXPECT_EQ(list.weight(0).to_host(), std::vector<float>{1.0f});
  const cth_rate given[] = {{0.0f, 0.0f, 0.0f}, {0.5f, 0.0f, 0.0f}, {9.0f, 0.0f, 0.0f}};
  EXPECT_CTH(cth_plan_set_rates(plan.get(), given, 3));
  const float lambda[] = {9.0f, 0.5f, 9.0f, 9.0f};
  EXPECT_CTH(cth_plan_set_lambda(plan.get(), lambda, 4));
  EXPECT_CTH(cth_prox_step(plan.get()));
  EXPECT_EQ(list.weight(0).to_host(), std::vector<float>{0.75f});
  std::uint64_t counts[4] = {9, 9, 9, 9};
  EXPECT_CTH(cth_count_nonzero(plan.get(), counts, 4));
  EXPECT_EQ(std::vector<std::uint64_t>(counts, counts + 4),
            (std::vector<std::uint64_t>{0, 1, 0, 0}));
}

TEST_P(CapiPlan, GradientsThatAreTheSameEnqueueNothingAndReadsAreCounted) {
  List list(GetParam(), {{{1.0f, 2.0f}, {0.5f, 0.5f}, 0, 0}});
  list.make_plan();
  std::uint64_t before = 0;
  std::uint64_t after = 0;
  const void* same[] = {list.gradient(0).data()};
  EXPECT_CTH(cth_context_bytes_to_host(list.context(), &before));
  EXPECT_CTH(cth_plan_set_gradients(list.plan(), same, 1));
  EXPECT_CTH(cth_prox_step(list.plan()));
  EXPECT_CTH(cth_context_synchronize(list.context()));
  EXPECT_CTH(cth_context_bytes_to_host(list.context(), &after));
  EXPECT_EQ(after, before);
  std::uint64_t count = 0;
  EXPECT_CTH(cth_count_nonzero(list.plan(), &count, 1));
  EXPECT_CTH(cth_context_bytes_to_host(list.context(), &after));
  EXPECT_EQ(after, before + 8);
  const char* text = nullptr;
  EXPECT_CTH(cth_context_description(list.context(), &text));
  EXPECT_NE(std::string(text).find(GetParam().engine), std::string::npos) << text;
}

TEST_P(CapiPlan, HandlesMayBeDestroyedInAnyOrder) {
  List list(GetParam(), {{{1.0f, 2.0f}, {0.5f, 0.5f}, 0, 0}});
  list.make_plan();
  list.set_rates({{0.5f, 0.0f, 0.0f}});
  const cth_target target = {nullptr, 0, 1, 0.0, 0.0, 0.0f, nullptr, nullptr, 0};
  cth_controller_options options = CTH_CONTROLLER_OPTIONS_INIT;
  options.steps = 10;
  cth_controller* made = nullptr;
  ASSERT_CTH(cth_controller_create(list.plan(), &target, 1, &options, &made));
  const ControllerHandle controller(made);
  list.drop_plan();
  expect_refused(cth_controller_update(controller.get()), CTH_INVALID_ARGUMENT,
                 "cth_controller_update, controller: its plan was destroyed");
  cth_plan_destroy(nullptr);
  cth_context_destroy(nullptr);
  cth_controller_destroy(nullptr);
}

}  // namespace
}  // namespace cuthresh::testing
