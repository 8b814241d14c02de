// The learning rate of a step against the recursions of PyTorch's schedulers, which reach it from
// the step before.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/math/schedule.hpp"

namespace cuthresh::testing {
namespace {

constexpr double kAlpha = 0.3;

TEST(Schedule, ConstantIsTheLearningRateItself) {
  const Schedule schedule{.learning_rate = kAlpha};
  for (const std::int64_t step : {0L, 1L, 999L}) EXPECT_EQ(schedule.at(step, 1000), kAlpha);
}

TEST(Schedule, StepMultipliesEverySoOften) {
  for (const std::int64_t every : {1L, 7L, 40L, 1000L}) {
    const Schedule schedule{.kind = ScheduleKind::kStep,
                            .learning_rate = kAlpha,
                            .decay_every = every,
                            .decay_factor = 0.9};
    double want = kAlpha;  // StepLR: lr *= gamma whenever epoch % step_size == 0
    for (std::int64_t step = 0; step < 100; ++step) {
      if (step > 0 && step % every == 0) want *= 0.9;
      ASSERT_NEAR(schedule.at(step, 100), want, 1e-13 * want) << every << " " << step;
    }
  }
}

TEST(Schedule, CosineFollowsPytorchsRecursion) {
  constexpr std::int64_t kSteps = 150;
  const double pi = std::acos(-1.0);
  for (const double final_rate : {0.0, 0.02}) {
    const Schedule schedule{
        .kind = ScheduleKind::kCosine, .learning_rate = kAlpha, .final_learning_rate = final_rate};
    // CosineAnnealingLR.get_lr of torch/optim/lr_scheduler.py.
    double want = kAlpha;
    for (std::int64_t step = 0; step < kSteps; ++step) {
      const auto t = static_cast<double>(step);
      if (step > 0) {
        want = (1 + std::cos(pi * t / kSteps)) / (1 + std::cos(pi * (t - 1) / kSteps)) *
                   (want - final_rate) +
               final_rate;
      }
      ASSERT_NEAR(schedule.at(step, kSteps), want, 1e-11) << step;
      ASSERT_GT(schedule.at(step, kSteps), final_rate) << "the end is approached, not reached";
    }
    EXPECT_EQ(schedule.at(0, kSteps), kAlpha);
    EXPECT_NEAR(schedule.at(kSteps / 2, kSteps), 0.5 * (kAlpha + final_rate), 1e-15);
  }
}

TEST(Schedule, WarmUpGoesStraightToTheSchedulesBeginning) {
  for (const ScheduleKind kind :
       {ScheduleKind::kConstant, ScheduleKind::kStep, ScheduleKind::kCosine}) {
    const Schedule cold{.kind = kind, .learning_rate = kAlpha, .decay_every = 10};
    Schedule warm = cold;
    warm.warmup = 8;
    for (std::int64_t step = 0; step < 8; ++step) {
      EXPECT_NEAR(warm.at(step, 58), kAlpha * static_cast<double>(step + 1) / 8.0, 1e-16) << step;
    }
    for (std::int64_t step = 0; step < 50; ++step) {
      EXPECT_EQ(warm.at(step + 8, 58), cold.at(step, 50)) << step;
    }
  }
}

TEST(Schedule, ManyDecaysReachZeroAndStayFinite) {
  const Schedule schedule{.kind = ScheduleKind::kStep, .learning_rate = kAlpha, .decay_every = 1};
  const double late = schedule.at(999'999'999'999, 1'000'000'000'000);
  EXPECT_EQ(late, 0.0);
}

}  // namespace
}  // namespace cuthresh::testing
