// When a run of fused steps ends, what a stopped launch does, and what lies beyond 32 bits; step by
// step against room A.

#include <span>

#include "cpu/cpu_backend.hpp"
#include "sparse_memory.hpp"
#include "step_list.hpp"

namespace cuthresh::testing {
namespace {

constexpr auto kKernel = prox_step_kernel<float, PlainStep<float>, L1Penalty<float>, kNoExtras, 32>;

constexpr std::uint32_t kRun = 4711;

void set_stop(StepList<float>& list, const StopRule& rule) {
  *list.stop.data() = {rule.after, static_cast<std::int32_t>(rule.bands.size()), rule.required,
                       kRun};
  std::copy(rule.bands.begin(), rule.bands.end(), list.bands.data());
  std::fill_n(list.status.data(), list.status.size(), 0U);
}

std::vector<TensorCase<float>> small_tensors(Random& random) {
  std::vector<TensorCase<float>> cases;
  for (std::int32_t i = 0; i < 6; ++i) {
    const auto n = static_cast<std::size_t>(random.integer(40, 150));
    cases.push_back(hard_tensor<float>(random, n, i % 4 - 1, 0.03125f, true));
  }
  return cases;
}

// Both rooms take `steps` steps from the same values by the same rule; the statuses and the weights
// must be the same after each.
void compare_with_room_a(const std::vector<TensorCase<float>>& cases, const StopRule& rule,
                         int steps, std::uint32_t grid, bool* stopped = nullptr) {
  StepList<float> list(cases, 3, 64);
  StepList<float> twin(cases, 3, 64);
  const auto room_a = cpu::make_cpu_backend("reference", 1);
  std::vector<ProxTensor> tensors;
  for (std::size_t t = 0; t < cases.size(); ++t) {
    tensors.push_back({twin.w[t]->data(), twin.g[t]->data(),
                       static_cast<std::int64_t>(cases[t].w.size()), cases[t].group});
  }
  const auto plan = room_a->make_plan(tensors, 3);
  room_a->set_lambda(*plan, list.lambda.values());
  room_a->set_rate(*plan, *list.rates.data());
  room_a->set_stop(*plan, rule);
  set_stop(list, rule);
  for (int step = 0; step < steps; ++step) {
    simt::launch(grid, 32, kKernel, list.arguments(), L1Penalty<float>{});
    room_a->prox_step(*plan);
    const StepStatus& want = room_a->read_status(*plan);
    ASSERT_EQ(list.header().steps, static_cast<std::uint64_t>(want.steps)) << "step " << step;
    ASSERT_EQ(list.header().stopped, want.stopped ? 1U : 0U) << "step " << step;
    ASSERT_EQ(*list.announcement.data(), want.stopped ? kRun : 0U) << "step " << step;
    ASSERT_EQ(list.header().total, want.total);
    ASSERT_EQ(list.header().nonfinite, want.nonfinite);
    ASSERT_EQ(list.nnz(), want.nnz);
    for (std::size_t t = 0; t < cases.size(); ++t) {
      ASSERT_EQ(first_difference(list.w[t]->values(), twin.w[t]->values()), "") << "step " << step;
    }
    if (stopped != nullptr) *stopped = want.stopped;
  }
  ASSERT_TRUE(list.guards_hold());
}

TEST(ProxStepStop, StepsAreRoomAsWithoutARule) {
  Random random(71);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto cases = small_tensors(random);
  for_each_step_launch([&](std::uint32_t grid) { compare_with_room_a(cases, {}, 4, grid); });
}

TEST(ProxStepStop, RandomRulesStopWhereRoomAStops) {
  Random random(72);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  int total_rules = 0, group_rules = 0;
  for (int run = 0; run < (kThoroughly ? 60 : 4); ++run) {
    const auto cases = small_tensors(random);
    StopRule rule;
    const bool over_total = run % 2 == 0;
    for (int i = 0; i < (over_total ? 1 : 3); ++i) {
      const auto lo = static_cast<std::uint64_t>(random.integer(0, over_total ? 500 : 160));
      rule.bands.push_back({lo, lo + static_cast<std::uint64_t>(random.integer(0, 90))});
    }
    rule.required = static_cast<std::int32_t>(random.integer(0, over_total ? 1 : 3));
    rule.after = random.integer(0, 4);
    bool stopped = false;
    ASSERT_NO_FATAL_FAILURE(compare_with_room_a(
        cases, rule, 8, static_cast<std::uint32_t>(random.integer(1, 9)), &stopped));
    if (stopped) ++(over_total ? total_rules : group_rules);
  }
  if (!kThoroughly) return;
  EXPECT_GT(total_rules, 3) << "the cases are too weak";
  EXPECT_GT(group_rules, 3) << "the cases are too weak";
}

// w = 1…100 with g = 0: each step of threshold 1 empties one more entry.
TEST(ProxStepStop, StopsAtTheFirstCountInsideTheBandAfterTheWait) {
  TensorCase<float> ramp;
  for (int i = 1; i <= 100; ++i) ramp.w.push_back(static_cast<float>(i));
  ramp.g.assign(100, 0.0f);
  ramp.v.assign(100, 0.0f);
  simt::for_each_order([&] {
    if (!kThoroughly && simt::current_order() != simt::Order::kReverse) return;
    for (const std::int64_t after : {0L, 60L}) {
      StepList<float> list({ramp}, 1, 16);
      *list.lambda.data() = 1.0f;
      list.rates.data()->learning_rate = 1.0f;
      set_stop(list, {{CountBand{30, 70}}, 1, after});
      for (int i = 0; i < (after == 0 ? 33 : 64); ++i) {
        simt::launch(3, 32, kKernel, list.arguments(), L1Penalty<float>{});
      }
      EXPECT_EQ(list.header().stopped, 1U);
      EXPECT_EQ(list.header().steps, after == 0 ? 30U : 61U);
      EXPECT_EQ(list.header().total, 100 - list.header().steps);
    }
  });
}

TEST(ProxStepStop, MofDGroupsMustHold) {
  std::vector<TensorCase<float>> cases(3);
  for (std::int32_t i = 0; i < 3; ++i) {
    TensorCase<float>& c = cases[static_cast<std::size_t>(i)];
    c.group = i;
    for (int k = 1; k <= 20; ++k) c.w.push_back(static_cast<float>(k));
    c.g.assign(20, 0.0f);
    c.v.assign(20, 0.0f);
  }
  // Counts fall together: the first band holds at 12…15, the second at 10…13, the third never.
  const std::vector<CountBand> bands = {{12, 15}, {10, 13}, {100, 200}};
  const std::uint64_t expected[] = {1, 5, 7, 20};  // steps until 0, 1, 2 or 3 of them hold
  for (std::int32_t required = 0; required <= 3; ++required) {
    StepList<float> list(cases, 3, 16);
    std::fill_n(list.lambda.data(), 3, 1.0f);
    list.rates.data()->learning_rate = 1.0f;
    set_stop(list, {bands, required, 0});
    for (std::uint64_t i = 0; i < std::min<std::uint64_t>(expected[required] + 2, 20); ++i)
      simt::launch(4, 32, kKernel, list.arguments(), L1Penalty<float>{});
    EXPECT_EQ(list.header().steps, expected[required]) << required << " of 3";
    EXPECT_EQ(list.header().stopped, required < 3 ? 1U : 0U);
  }
}

TEST(ProxStepStop, NonFiniteValuesStopWhateverTheRule) {
  Random random(73);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (const std::int32_t group : {0, -1}) {
    for (const bool with_bands : {false, true}) {
      auto cases = small_tensors(random);
      cases.push_back(hard_tensor<float>(random, 90, group, 0.03125f, true));
      cases.back().g[77] = std::numeric_limits<float>::infinity();
      StopRule rule;
      if (with_bands) rule = {{CountBand{0, 0}}, 1, 1000};
      bool stopped = false;
      ASSERT_NO_FATAL_FAILURE(compare_with_room_a(cases, rule, 3, 5, &stopped));
      EXPECT_TRUE(stopped);
    }
  }
}

TEST(ProxStepStop, AStoppedLaunchTouchesNothing) {
  Random random(74);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto cases = small_tensors(random);
  constexpr auto kAll =
      prox_step_kernel<float, NesterovStep<float>, L1Penalty<float>, kCertificate | kNorm, 64>;
  for_each_step_launch([&](std::uint32_t grid) {
    StepList<float> list(cases, 3, 64);
    list.status.data()[1] = 1;
    const auto status = list.status.values();
    simt::launch(grid, 64, kAll, list.arguments(), L1Penalty<float>{});
    for (std::size_t t = 0; t < cases.size(); ++t) {
      ASSERT_EQ(list.w[t]->values(), cases[t].w);
      ASSERT_EQ(list.v[t]->values(), cases[t].v);
    }
    ASSERT_EQ(list.status.values(), status);
    ASSERT_EQ(list.sums.values(), std::vector<std::uint64_t>(5, 0));
    ASSERT_EQ(list.kkt.values(), std::vector<std::uint32_t>(6, 0xdead));
    ASSERT_EQ(list.norms.values(), std::vector<double>(3, -1.0));
    ASSERT_TRUE(list.guards_hold());
  });
}

TEST(ProxStepStop, NothingIsTouchedWhileTheFlagIsSet) {
  Random random(76);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto cases = small_tensors(random);
  for_each_step_launch([&](std::uint32_t grid) {
    StepList<float> list(cases, 3, 64);
    Guarded<float> flag(1, 0.5f);
    ProxStepArguments<float> args = list.arguments();
    args.skip = flag.data();
    const auto status = list.status.values();
    simt::launch(grid, 32, kKernel, args, L1Penalty<float>{});
    for (std::size_t t = 0; t < cases.size(); ++t) ASSERT_EQ(list.w[t]->values(), cases[t].w);
    ASSERT_EQ(list.status.values(), status);
    ASSERT_EQ(list.sums.values(), std::vector<std::uint64_t>(5, 0));
    ASSERT_TRUE(list.guards_hold());
    *flag.data() = 0.0f;
    simt::launch(grid, 32, kKernel, args, L1Penalty<float>{});
    ASSERT_EQ(list.header().steps, 1U);
  });
}

// The same arguments launched again follow what changed in device memory, as a captured graph must.
TEST(ProxStepStop, RatesAreReadFromDeviceMemoryAtEveryLaunch) {
  Random random(75);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  auto cases = small_tensors(random);
  StepList<float> list(cases, 3, 64);
  const ProxStepArguments<float> args = list.arguments();
  for (int step = 0; step < 4; ++step) {
    list.rates.data()->learning_rate = random.uniform(0.01f, 0.2f);
    for (std::size_t i = 0; i < 3; ++i) list.lambda.data()[i] = random.uniform(0.0f, 1.0f);
    for (std::size_t t = 0; t < cases.size(); ++t) cases[t].w = list.w[t]->values();
    const auto want = step_outcome(
        cases, list, StepKind::kPlain,
        [](float z, float t, std::size_t, std::size_t) { return soft_by_definition(z, t); });
    simt::launch(3, 32, kKernel, args, L1Penalty<float>{});
    ASSERT_NO_FATAL_FAILURE(expect_outcome(list, want, false)) << "step " << step;
    EXPECT_EQ(list.header().steps, static_cast<std::uint64_t>(step + 1));
  }
}

TEST(ProxStepStop, AnEmptyListStillCountsItsStep) {
  StepList<float> list({}, 2, 64);
  simt::launch(3, 32, kKernel, list.arguments(), L1Penalty<float>{});
  EXPECT_EQ(list.header().steps, 1U);
  EXPECT_EQ(list.nnz(), (std::vector<std::uint64_t>{0, 0}));
}

// More nonzeros, steps and non-finite values than 32 bits hold: what earlier blocks have added.
TEST(ProxStepStop, SumsAndBandsBeyond32Bits) {
  TensorCase<float> ones;
  ones.w.assign(100, 1.0f);
  ones.g.assign(100, 0.0f);
  ones.v.assign(100, 0.0f);
  ones.group = 1;
  const std::uint64_t many = 0xfffffff0ULL, more = std::uint64_t{3} << 40;
  for (const std::uint64_t nonfinite : {std::uint64_t{0}, std::uint64_t{1} << 33}) {
    StepList<float> list({ones}, 3, 64);
    set_stop(list, {{{0, 0}, {many + 100, many + 100}, {more, more}}, 3, std::int64_t{1} << 33});
    list.status.data()[0] = std::uint64_t{1} << 33;
    list.sums.data()[1] = nonfinite;
    list.sums.data()[3] = many;
    list.sums.data()[4] = more;
    simt::launch(2, 32, kKernel, list.arguments(), L1Penalty<float>{});
    EXPECT_EQ(list.nnz(), (std::vector<std::uint64_t>{0, many + 100, more}));
    EXPECT_EQ(list.header().total, many + 100 + more);
    EXPECT_EQ(list.header().steps, (std::uint64_t{1} << 33) + 1);
    EXPECT_EQ(list.header().nonfinite, nonfinite);
    EXPECT_EQ(list.header().stopped, 1U);
    EXPECT_EQ(list.sums.values(), std::vector<std::uint64_t>(5, 0));
  }
}

TEST(ProxStepStop, PlacesBeyond32Bits) {
  constexpr std::int64_t kBegin = (std::int64_t{1} << 32) + 7 * kTileElements;
  constexpr std::int64_t kBytes = (kBegin + kTileElements) * std::int64_t{sizeof(float)};
  SparseMemory w(kBytes), g(kBytes);
  if (!w || !g) GTEST_SKIP() << "the system maps no " << w.bytes() << " bytes twice";
  float* const trap = w.as<float>() + (kBegin & 0xffffffff);
  for (std::int64_t i = 0; i < kTileElements; ++i) {
    w.as<float>()[kBegin + i] = 1.0f;
    g.as<float>()[kBegin + i] = i % 2 == 0 ? 4.0f : 6.0f;
    trap[i] = 1.0f;
  }
  StepList<float> list({}, 1, 64);
  Guarded<TensorRecord> tensors(
      1, {w.as<float>(), g.as<float>(), nullptr, nullptr, kBegin + kTileElements, 0});
  Guarded<Tile> tiles(1, {kBegin, 0, static_cast<std::int32_t>(kTileElements)});
  ProxStepArguments<float> args = list.arguments();
  args.list = {tensors.data(), tiles.data(), 1, 1};
  list.rates.data()->learning_rate = 0.125f;
  *list.lambda.data() = 2.0f;  // threshold 1/4
  simt::launch(1, 256, prox_step_kernel<float, PlainStep<float>, L1Penalty<float>>, args,
               L1Penalty<float>{});
  for (std::int64_t i = 0; i < kTileElements; ++i) {
    ASSERT_EQ(w.as<float>()[kBegin + i], i % 2 == 0 ? 0.25f : 0.0f);
    ASSERT_EQ(trap[i], 1.0f);
  }
  EXPECT_EQ(list.nnz().front(), static_cast<std::uint64_t>(kTileElements / 2));
}

}  // namespace
}  // namespace cuthresh::testing
