// What a controlled run launches beside the fused step, in three orders of threads and several
// grids, against room A: the controller, the exact finish with its ties, and the support's bits.

#include <gtest/gtest.h>

#include <algorithm>
#include <span>

#include "backend/checks.hpp"
#include "cpu/cpu_backend.hpp"
#include "kernels/block/control.cuh"
#include "kernels/block/keep_largest.cuh"
#include "kernels/block/share_target.cuh"
#include "kernels/block/support.cuh"
#include "step_list.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::uint32_t kBlock = 32;
constexpr std::uint32_t kPickBlock = 512;
constexpr std::uint32_t kShareBlock = 64;
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
/// Of 151 and 200 entries in groups 0 and 2 the first keeps more than its share and the second
/// less; group 1 has just one number between its bounds that can be.
const std::vector<ControlTarget> kBounded = {{{0, 2}, 200, 0.5f, {120, 0}, {151, 70}},
                                             {{1}, 33, 0.25f, {33}, {40}}};
const ControlRule kKeepRule = {0, 4, 0.5f, 1.0f, 3.0f};

/// The same list in room A.
struct RoomA {
  StepList<float> list;
  std::unique_ptr<Backend> room = cpu::make_cpu_backend("reference", 1);
  std::unique_ptr<ProxPlan> plan;

  std::vector<ProxTensor> tensors;
  ControlLayout layout;

  RoomA(const std::vector<TensorCase<float>>& cases, const std::vector<ControlTarget>& targets)
      : list(cases, 3, kTile) {
    for (std::size_t t = 0; t < cases.size(); ++t) {
      tensors.push_back({list.w[t]->data(), list.g[t]->data(),
                         static_cast<std::int64_t>(cases[t].w.size()), cases[t].group});
    }
    plan = room->make_plan(tensors, 3);
    room->set_stop(*plan, {});
    room->set_control(*plan, kKeepRule, targets);
    layout = check_control(kKeepRule, targets, tensors, 3);
    room->set_lambda(*plan, list.lambda.values());
    room->set_rate(*plan, *list.rates.data());
  }
};

template <class T>
Guarded<T> guarded(const std::vector<T>& values) {
  return Guarded<T>{std::span<const T>(values)};
}

/// The second half of keep_targets, as the room launches it. With g = 0 there is no first half.
void keep(StepList<float>& list, const ControlLayout& layout, std::uint32_t grid) {
  const auto count = static_cast<std::int32_t>(layout.wanted.size());
  const ProxStepArguments<float> args = list.arguments();
  Guarded<ControlGroup> targets = guarded(layout.targets);
  Guarded<std::int32_t> target_of = guarded(layout.target_of);
  Guarded<std::int32_t> selection_of = guarded(layout.selection_of);
  Guarded<GroupBounds> bounds = guarded(layout.bounds);
  Guarded<std::int32_t> bounded = guarded(layout.bounded);
  Guarded<std::uint64_t> wanted = guarded(layout.wanted);
  Guarded<ShareCount> counts(3, ShareCount{7, 7});
  Guarded<SelectHeader> header(1, SelectHeader{0});
  Guarded<SelectState> states(layout.wanted.size(), SelectState{});
  Guarded<SelectResult> results(layout.wanted.size(), SelectResult{});
  Guarded<std::uint64_t> bins(layout.wanted.size() * kSelectBins, std::uint64_t{0});
  Guarded<TieEnd> ends(layout.wanted.size(), TieEnd{-1, -1});
  const SelectGroups selection(selection_of.data());
  const auto count_keys = [&] {
    simt::launch(grid, kBlock, select_count_kernel<WeightSource, kBlock>, args.list, selection,
                 header.data(), states.data(), bins.data());
  };
  if (!layout.bounded.empty()) {
    const ShareArguments share{targets.data(),
                               bounded.data(),
                               target_of.data(),
                               selection_of.data(),
                               bounds.data(),
                               reinterpret_cast<StepHeader*>(list.status.data()),
                               header.data(),
                               states.data(),
                               bins.data(),
                               counts.data(),
                               wanted.data(),
                               static_cast<std::int32_t>(layout.bounded.size()),
                               3,
                               count};
    simt::launch(grid, kBlock, share_begin_kernel<kBlock>, share);
    for (int pass = 0; pass < kSelectMaxPasses; ++pass) {
      count_keys();
      simt::launch(grid, kShareBlock, share_pick_kernel<kShareBlock>, share);
    }
  }
  simt::launch(grid, kBlock, keep_begin_kernel<kBlock>, wanted.data(), count, header.data(),
               states.data());
  for (int pass = 0; pass < kSelectMaxPasses; ++pass) {
    count_keys();
    simt::launch(grid, kPickBlock, select_pick_kernel<kPickBlock>, header.data(), states.data(),
                 results.data(), bins.data(), count);
  }
  simt::launch(grid, kBlock, keep_ties_kernel<kBlock>, args.list, selection, states.data(),
               ends.data(), count);
  simt::launch(
      grid, kBlock,
      prox_step_kernel<float, ThresholdStep<float>, KeepLargestPenalty, kSecondHalf, kBlock>, args,
      KeepLargestPenalty{args.list.tensors, selection, states.data(), ends.data(), true});
  EXPECT_TRUE(states.guards_hold() && results.guards_hold() && ends.guards_hold() &&
              bins.guards_hold() && counts.guards_hold() && wanted.guards_hold());
  EXPECT_EQ(bins.values(), std::vector<std::uint64_t>(bins.size(), 0));
}

/// What the first half leaves in the status.
void count_groups(StepList<float>& list, const std::vector<TensorCase<float>>& cases) {
  for (const TensorCase<float>& c : cases) {
    if (c.group < 0) continue;
    list.status.data()[4 + c.group] += static_cast<std::uint64_t>(
        std::count_if(c.w.begin(), c.w.end(), [](float w) { return w != 0.0f; }));
  }
}

void expect_room_a(const std::vector<TensorCase<float>>& cases,
                   const std::vector<ControlTarget>& targets, std::uint32_t grid) {
  RoomA a(cases, targets);
  a.room->keep_targets(*a.plan);
  const StepStatus& want = a.room->read_status(*a.plan);
  ASSERT_EQ(want.nnz[0] + want.nnz[2], 200U) << "the case must have something to cut";
  ASSERT_EQ(want.nnz[1], 33U);
  StepList<float> list(cases, 3, kTile);
  count_groups(list, cases);
  keep(list, a.layout, grid);
  EXPECT_EQ(list.nnz(), want.nnz);
  EXPECT_EQ(list.header().steps, 0U) << "the first half counts the step";
  EXPECT_EQ(list.header().total, want.total);
  for (std::size_t t = 0; t < cases.size(); ++t) {
    EXPECT_EQ(list.w[t]->values(), a.list.w[t]->values()) << "tensor " << t;
    EXPECT_TRUE(list.w[t]->guards_hold());
  }
}

TEST(KeepLargest, IsRoomAsWithTies) {
  Random random(51);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const std::vector<TensorCase<float>> cases = tied_tensors(random);
  for_each_step_launch([&](std::uint32_t grid) {
    SCOPED_TRACE(::testing::Message() << "grid " << grid << ", " << simt::order_name());
    expect_room_a(cases, kKeepTargets, grid);
  });
}

TEST(KeepLargest, SharesATargetWithinBoundsAsRoomA) {
  Random random(54);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const std::vector<TensorCase<float>> cases = tied_tensors(random);
  for_each_step_launch([&](std::uint32_t grid) {
    SCOPED_TRACE(::testing::Message() << "grid " << grid << ", " << simt::order_name());
    expect_room_a(cases, kBounded, grid);
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
  // Group 0 is at its least in every step, so that its λ is 0.
  std::vector<ControlTarget> targets = kKeepTargets;
  targets[0].least = {150, 1};
  for_each_step_launch([&](std::uint32_t grid) {
    RoomA a(cases, targets);
    Guarded<ControlGroup> groups = guarded(a.layout.targets);
    Guarded<std::int32_t> target_of = guarded(a.layout.target_of);
    Guarded<GroupBounds> bounds = guarded(a.layout.bounds);
    Guarded<float> lambda(3, 0.25f);
    Guarded<std::int64_t> counts(2, 5);
    Guarded<float> skip(1, 0.0f);
    bool given = false;
    const auto control = [&](StepList<float>& list) {
      const ControlArguments args{kKeepRule,
                                  groups.data(),
                                  target_of.data(),
                                  bounds.data(),
                                  reinterpret_cast<StepHeader*>(list.status.data()),
                                  lambda.data(),
                                  2,
                                  3,
                                  given ? counts.data() : nullptr,
                                  skip.data()};
      simt::launch(grid, kBlock, control_kernel<kBlock>, args);
    };
    for (int step = 1; step <= 6; ++step) {
      a.room->prox_step(*a.plan);
      const StepStatus& status = a.room->read_status(*a.plan);
      StepList<float> list(cases, 3, kTile);
      auto* const header = reinterpret_cast<StepHeader*>(list.status.data());
      *header = {static_cast<std::uint64_t>(step), 0, status.total, 0};
      std::copy(status.nnz.begin(), status.nnz.end(), list.status.data() + 4);
      simt::launch(grid, kBlock, copy_counts_kernel<kBlock>, target_of.data(), header,
                   counts.data(), 2, 3);
      std::vector<std::int64_t> want(2, 0);
      a.room->copy_counts(*a.plan, want.data());
      EXPECT_EQ(counts.values(), want);
      // Every second time from counts that are given, twice as many.
      given = step % 2 == 0;
      for (std::int64_t& n : want) n *= 2;
      std::copy(want.begin(), want.end(), counts.data());
      if (given) a.room->control(*a.plan, want.data());
      if (!given) a.room->control(*a.plan);
      const std::vector<float> before = lambda.values();
      *skip.data() = 1.0f;
      control(list);
      EXPECT_EQ(lambda.values(), before) << "skipped, step " << step;
      *skip.data() = 0.0f;
      control(list);
      EXPECT_EQ(lambda.values(), a.room->read_lambda(*a.plan)) << "step " << step;
      EXPECT_EQ(lambda.values()[0], 0.0f);
      // Once stopped λ stays.
      header->stopped = 1;
      const std::vector<float> last = lambda.values();
      control(list);
      EXPECT_EQ(lambda.values(), last);
    }
    EXPECT_TRUE(lambda.guards_hold() && groups.guards_hold() && counts.guards_hold());
  });
}

}  // namespace
}  // namespace cuthresh::testing
