// What the CUDA room does about zeros: which kernel, what it allocates and when, and what a caller
// who breaks his promise would find.

#include <gmock/gmock.h>

#include <algorithm>

#include "cuda/room.hpp"

namespace cuthresh::testing {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

/// Half of 4,096 weights zero; gradients that wake none of them.
struct HalfZero {
  Array<float> w, g;
  std::unique_ptr<ProxPlan> plan;

  explicit HalfZero(Backend& backend) {
    std::vector<float> values(4096, 0.0f);
    std::fill_n(values.begin(), values.size() / 2, 4.0f);
    w = Array<float>(backend, std::span<const float>(values));
    g = Array<float>(backend, std::span<const float>(std::vector<float>(values.size(), 0.125f)));
    const ProxTensor tensor{w.data(), g.data(), w.size(), 0};
    plan = backend.make_plan({&tensor, 1}, 1);
    backend.set_lambda(*plan, std::vector<float>{0.25f});
    backend.set_rate(*plan, {0.5f});
    backend.set_stop(*plan, {});
  }
};

TEST(ZeroRoom, OneLaunchAStepAndNothingElse) {
  const CudaRoom room;
  HalfZero list(*room.backend);
  room.backend->skip_zeros(*list.plan, ZeroSkipping::kOn);
  simt::recording().clear();
  for (int i = 0; i < 5; ++i) room.backend->prox_step(*list.plan);
  EXPECT_EQ(simt::recording().launches(), 5U);
  EXPECT_THAT(simt::recording().kernels(), Each(HasSubstr("prox_step_kernel")));
  EXPECT_THAT(simt::recording().kernels(), Each(HasSubstr(", 8, 256")));  // kSkipZeros
  EXPECT_EQ(simt::recording().count(simt::CallKind::kSet), 0U);
  EXPECT_EQ(simt::recording().allocations() + simt::recording().synchronizations(), 0U);
  EXPECT_EQ(simt::recording().bytes_to_device() + simt::recording().bytes_to_host(), 0U);
}

// The fake device's memory is the host's: what is written there behind the room's back is not seen
// where a unit was zero, until somebody says so.
TEST(ZeroRoom, ZerosAreNotLookedAtUntilTheyAreForgotten) {
  const CudaRoom room;
  HalfZero list(*room.backend);
  room.backend->skip_zeros(*list.plan, ZeroSkipping::kOn);
  for (int i = 0; i < 2; ++i) room.backend->prox_step(*list.plan);
  list.w.data()[4000] = 5.0f;
  room.backend->prox_step(*list.plan);
  EXPECT_EQ(list.w.data()[4000], 5.0f);
  EXPECT_EQ(room.backend->read_status(*list.plan).total, 2048U);
  room.backend->set_stop(*list.plan, {});
  room.backend->prox_step(*list.plan);
  EXPECT_EQ(list.w.data()[4000], 5.0f - 0.0625f - 0.125f);
  EXPECT_EQ(room.backend->read_status(*list.plan).total, 2049U);
}

TEST(ZeroRoom, AutoLeavesAloneWhatACacheHolds) {
  const CudaRoom room;
  int cache = 0;
  ASSERT_EQ(cudaDeviceGetAttribute(&cache, cudaDevAttrL2CacheSize, 0), cudaSuccess);
  for (const bool large : {false, true}) {
    Array<float> w(*room.backend, cache / 8 + (large ? 1 : 0));
    // No step is taken, so that one array does for both.
    const ProxTensor tensor{w.data(), w.data(), w.size(), 0};
    const auto plan = room.backend->make_plan({&tensor, 1}, 1);
    simt::recording().clear();
    room.backend->skip_zeros(*plan, ZeroSkipping::kAuto);
    EXPECT_EQ(simt::recording().allocations(), large ? 1U : 0U);
  }
}

TEST(ZeroRoom, WithoutAPenaltyOrAGradientThereIsNothingToSkip) {
  const CudaRoom room;
  Array<float> w(*room.backend, 300);
  for (const bool threshold : {false, true}) {
    const ProxTensor tensor{w.data(), w.data(), w.size(), threshold ? 0 : -1};
    const auto plan = room.backend->make_plan({&tensor, 1}, threshold ? 1 : 0,
                                              threshold ? StepKind::kThreshold : StepKind::kPlain);
    simt::recording().clear();
    room.backend->skip_zeros(*plan, ZeroSkipping::kOn);
    EXPECT_EQ(simt::recording().allocations(), 0U);
  }
}

}  // namespace
}  // namespace cuthresh::testing
