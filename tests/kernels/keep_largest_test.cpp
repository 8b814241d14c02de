// What a controlled run launches beside the fused step, in three orders of threads and several
// grids, against room A: the controller, the exact finish with its ties, and the support's bits.

#include <gtest/gtest.h>

#include <span>

#include "cpu/cpu_backend.hpp"
#include "kernels/block/control.cuh"
#include "kernels/block/keep_largest.cuh"
#include "kernels/block/support.cuh"
#include "step_list.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::uint32_t kBlock = 32;
constexpr std::uint32_t kPickBlock = 512;
constexpr std::int64_t kTile = 64;

/// Few distinct magnitudes: many entries are equal to the smallest that stays.
std::vector<TensorCase<float>> tied_tensors(Random& random) {
  std::vector<TensorCase<float>> cases;
  for (const auto& [size, group] : {std::pair{150, 0}, std::pair{40, -1}, std::pair{70, 1},
                                    std::pair{200, 2}, std::pair{1, 0}}) {
    TensorCase<float> c;
    c.group = group;
    for (int i = 0; i < size; ++i) {
      c.w.push_back(0.25f * static_cast<float>(random.integer(-4, 4)));
      c.g.push_back(0.0f);
      c.v.push_back(0.0f);
    }
    cases.push_back(std::move(c));
  }
  return cases;
}

const std::vector<ControlTarget> kKeepTargets = {{{0, 2}, 200, 0.5f}, {{1}, 33, 0.25f}};
const std::vector<std::int32_t> kTargetOf = {0, 1, 0};
const ControlRule kKeepRule = {0, 4, 0.5f, 1.0f, 3.0f};

/// The same list in room A.
struct RoomA {
  StepList<float> list;
  std::unique_ptr<Backend> room = cpu::make_cpu_backend("reference", 1);
  std::unique_ptr<ProxPlan> plan;

  explicit RoomA(const std::vector<TensorCase<float>>& cases) : list(cases, 3, kTile) {
    std::vector<ProxTensor> tensors;
    for (std::size_t t = 0; t < cases.size(); ++t) {
      tensors.push_back({list.w[t]->data(), list.g[t]->data(),
                         static_cast<std::int64_t>(cases[t].w.size()), cases[t].group});
    }
    plan = room->make_plan(tensors, 3);
    room->set_stop(*plan, {});
    room->set_control(*plan, kKeepRule, kKeepTargets);
    room->set_lambda(*plan, list.lambda.values());
    room->set_rate(*plan, *list.rates.data());
  }
};

std::vector<ControlGroup> begin_groups() {
  std::vector<ControlGroup> groups;
  for (const auto& [size, t] : {std::pair{351U, 0}, std::pair{70U, 1}}) {
    const ControlTarget& target = kKeepTargets[static_cast<std::size_t>(t)];
    const float log_start = log_float(target.lambda);
    groups.push_back({size, target.target, log_start, log_start});
  }
  return groups;
}

/// The second half of keep_targets, as the room launches it. With g = 0 there is no first half.
void keep(StepList<float>& list, std::uint32_t grid) {
  constexpr auto kTargets = static_cast<std::int32_t>(2);
  const ProxStepArguments<float> args = list.arguments();
  Guarded<ControlGroup> groups{std::span<const ControlGroup>(begin_groups())};
  Guarded<std::int32_t> target_of{std::span<const std::int32_t>(kTargetOf)};
  Guarded<SelectHeader> header(1, SelectHeader{0});
  Guarded<SelectState> states(2, SelectState{});
  Guarded<SelectResult> results(2, SelectResult{});
  Guarded<std::uint64_t> bins(2 * kSelectBins, std::uint64_t{0});
  Guarded<TieEnd> ends(2, TieEnd{-1, -1});
  const SelectGroups selection(target_of.data());
  simt::launch(grid, kBlock, keep_begin_kernel<kBlock>, groups.data(), kTargets, header.data(),
               states.data());
  for (int pass = 0; pass < kSelectMaxPasses; ++pass) {
    simt::launch(grid, kBlock, select_count_kernel<WeightSource, kBlock>, args.list, selection,
                 header.data(), states.data(), bins.data());
    simt::launch(grid, kPickBlock, select_pick_kernel<kPickBlock>, header.data(), states.data(),
                 results.data(), bins.data(), kTargets);
  }
  simt::launch(grid, kBlock, keep_ties_kernel<kBlock>, args.list, selection, states.data(),
               ends.data(), kTargets);
  simt::launch(
      grid, kBlock,
      prox_step_kernel<float, ThresholdStep<float>, KeepLargestPenalty, kSecondHalf, kBlock>, args,
      KeepLargestPenalty{args.list.tensors, selection, states.data(), ends.data()});
  EXPECT_TRUE(states.guards_hold() && results.guards_hold() && ends.guards_hold() &&
              bins.guards_hold());
}

TEST(KeepLargest, IsRoomAsWithTies) {
  Random random(51);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const std::vector<TensorCase<float>> cases = tied_tensors(random);
  for_each_step_launch([&](std::uint32_t grid) {
    SCOPED_TRACE(::testing::Message() << "grid " << grid << ", " << simt::order_name());
    RoomA a(cases);
    a.room->keep_targets(*a.plan);
    const StepStatus& want = a.room->read_status(*a.plan);
    ASSERT_EQ(want.nnz[0] + want.nnz[2], 200U) << "the case must have something to cut";
    ASSERT_EQ(want.nnz[1], 33U);
    StepList<float> list(cases, 3, kTile);
    keep(list, grid);
    EXPECT_EQ(list.nnz(), want.nnz);
    EXPECT_EQ(list.header().steps, 0U) << "the first half counts the step";
    EXPECT_EQ(list.header().total, want.total);
    for (std::size_t t = 0; t < cases.size(); ++t) {
      EXPECT_EQ(list.w[t]->values(), a.list.w[t]->values()) << "tensor " << t;
      EXPECT_TRUE(list.w[t]->guards_hold());
    }
  });
}

TEST(Support, HasTheBitsOfWhatIsNotZero) {
  Random random(52);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const std::vector<TensorCase<float>> cases = tied_tensors(random);
  for_each_step_launch([&](std::uint32_t grid) {
    StepList<float> list(cases, 3, kTile);
    std::vector<std::unique_ptr<Guarded<std::uint32_t>>> bits;
    std::vector<std::uint32_t*> pointers;
    for (const TensorCase<float>& c : cases) {
      bits.push_back(std::make_unique<Guarded<std::uint32_t>>((c.w.size() + 31) / 32, 0xabababU));
      pointers.push_back(c.group < 0 ? nullptr : bits.back()->data());
    }
    Guarded<std::uint32_t*> table{std::span<std::uint32_t* const>(pointers)};
    simt::launch(grid, kBlock, support_kernel<kBlock>, list.arguments().list,
                 static_cast<std::uint32_t* const*>(table.data()));
    for (std::size_t t = 0; t < cases.size(); ++t) {
      std::vector<std::uint32_t> want(bits[t]->size(), cases[t].group < 0 ? 0xabababU : 0U);
      for (std::size_t i = 0; i < cases[t].w.size() && cases[t].group >= 0; ++i) {
        if (cases[t].w[i] != 0.0f) want[i / 32] |= 1U << (i % 32);
      }
      EXPECT_EQ(bits[t]->values(), want) << "tensor " << t;
      EXPECT_TRUE(bits[t]->guards_hold());
    }
  });
}

TEST(ControlKernel, HasRoomAsLambdaToTheBit) {
  Random random(53);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const std::vector<TensorCase<float>> cases = tied_tensors(random);
  for_each_step_launch([&](std::uint32_t grid) {
    RoomA a(cases);
    Guarded<ControlGroup> groups{std::span<const ControlGroup>(begin_groups())};
    Guarded<std::int32_t> target_of{std::span<const std::int32_t>(kTargetOf)};
    Guarded<float> lambda(3, 0.25f);
    for (int step = 1; step <= 6; ++step) {
      a.room->prox_step(*a.plan);
      const StepStatus& status = a.room->read_status(*a.plan);
      StepList<float> list(cases, 3, kTile);
      *reinterpret_cast<StepHeader*>(list.status.data()) = {static_cast<std::uint64_t>(step), 0,
                                                            status.total, 0};
      std::copy(status.nnz.begin(), status.nnz.end(), list.status.data() + 4);
      a.room->control(*a.plan);
      const ControlArguments args{kKeepRule,
                                  groups.data(),
                                  target_of.data(),
                                  reinterpret_cast<StepHeader*>(list.status.data()),
                                  lambda.data(),
                                  2,
                                  3};
      simt::launch(grid, kBlock, control_kernel<kBlock>, args);
      EXPECT_EQ(lambda.values(), a.room->read_lambda(*a.plan)) << "step " << step;
      // Once stopped λ stays.
      reinterpret_cast<StepHeader*>(list.status.data())->stopped = 1;
      const std::vector<float> before = lambda.values();
      simt::launch(grid, kBlock, control_kernel<kBlock>, args);
      EXPECT_EQ(lambda.values(), before);
    }
    EXPECT_TRUE(lambda.guards_hold() && groups.guards_hold());
  });
}

}  // namespace
}  // namespace cuthresh::testing
