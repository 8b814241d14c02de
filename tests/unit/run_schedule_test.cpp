// The phases of one controlled training, step by step, against their shares.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "cuthresh/error.hpp"
#include "search/schedule.hpp"

namespace cuthresh::search {
namespace {

std::vector<std::int64_t> steps_of_phases(const RunSchedule& schedule) {
  std::vector<std::int64_t> steps(6, 0);
  auto last = RunPhase::kDense;
  for (std::int64_t i = 0; i < schedule.steps; ++i) {
    const RunPhase phase = schedule.phase(i);
    EXPECT_GE(phase, last) << "step " << i;
    last = phase;
    ++steps[static_cast<std::size_t>(phase)];
  }
  EXPECT_EQ(schedule.phase(schedule.steps), RunPhase::kDone);
  EXPECT_EQ(schedule.phase(schedule.steps + 1000), RunPhase::kDone);
  return steps;
}

TEST(RunSchedule, PhasesTakeTheirSharesOfTheSteps) {
  const RunSchedule schedule = make_run_schedule(2000, {});
  const std::vector<std::int64_t> want = {100, 1100, 360, 40, 400, 0};
  EXPECT_EQ(steps_of_phases(schedule), want);
  EXPECT_EQ(schedule.debias_at, 1600);
}

TEST(RunSchedule, AFinishIsAtLeastAStepAndADebiasMayBeNone) {
  RunShares shares;
  shares.finish = shares.debias = shares.ramp_begin = 0.0;
  shares.ramp_end = 0.9;
  const std::vector<std::int64_t> want = {0, 9, 0, 1, 0, 0};
  EXPECT_EQ(steps_of_phases(make_run_schedule(10, shares)), want);
}

TEST(RunSchedule, UpdatesBetweenOneAndTwoThousandTimesBeforeTheFinish) {
  for (const std::int64_t steps : {100L, 999L, 1000L, 1999L, 2000L, 123456L}) {
    const RunSchedule schedule = make_run_schedule(steps, {});
    std::int64_t updates = 0;
    for (std::int64_t i = 0; i < steps; ++i) {
      if (!schedule.updates_after(i)) continue;
      ++updates;
      // The step that follows is none of the finish, whose λ does not move.
      EXPECT_LT(schedule.phase(i + 1), RunPhase::kFinish) << i << " of " << steps;
    }
    EXPECT_LE(updates, 2000);
    EXPECT_GE(updates, std::min<std::int64_t>(steps / 2, 500));
    // A unit of error that stays moves log λ by the gain over all steps.
    const double all = static_cast<double>(schedule.rule.integral) * static_cast<double>(steps) /
                       static_cast<double>(schedule.update_every);
    EXPECT_NEAR(all, 30.0, 1e-4);
  }
}

TEST(RunSchedule, UpdatesAsOftenAsToldTo) {
  const RunSchedule schedule = make_run_schedule(100000, {}, 7);
  EXPECT_TRUE(schedule.updates_after(6));
  EXPECT_FALSE(schedule.updates_after(7));
  EXPECT_TRUE(schedule.updates_after(13));
  EXPECT_NEAR(static_cast<double>(schedule.rule.integral), 30.0 * 7 / 100000, 1e-9);
}

TEST(RunSchedule, FirstLambdaTakesTheShareWithinTheWay) {
  // 1,000 weights evenly on ±0.5, shrunk by αλ a step for 50 steps of α = 0.1.
  const float lambda = first_lambda(0.5, 0.8, 50 * 0.1);
  int gone = 0;
  for (int i = 0; i < 1000; ++i) {
    const double weight = (i + 0.5) / 1000.0 - 0.5;
    if (std::fabs(weight) <= 50 * 0.1 * static_cast<double>(lambda)) ++gone;
  }
  EXPECT_NEAR(gone, 800, 1);
  EXPECT_GT(first_lambda(0.5, 0.0, 5.0), 0.0f);
  EXPECT_TRUE(std::isfinite(first_lambda(1e3, 1.0, 0.0)));
}

void refuses(std::int64_t steps, const RunShares& shares, std::int64_t every,
             const std::string& says) {
  try {
    make_run_schedule(steps, shares, every);
    FAIL() << "took what should say: " << says;
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
  }
}

TEST(RunSchedule, RefusesWhatCannotBe) {
  refuses(0, {}, 0, "steps: must be at least 1");
  refuses(1, {}, 0, "too few for the phases");
  refuses(100, {0.6, 0.05}, 0, "other ramp_begin");
  refuses(100, {0.05, 0.6, 0.3, 0.2}, 0, "too few for the phases");
  refuses(100, {-0.1}, 0, "ramp_begin: must be a share");
  refuses(100, {0.05, 1.5}, 0, "ramp_end: must be a share");
  refuses(100, {0.05, 0.6, std::numeric_limits<double>::quiet_NaN()}, 0, "finish: must be a share");
  refuses(100, {0.05, 0.6, 0.02, 1.01}, 0, "debias: must be a share");
  refuses(100, {0.05, 0.6, 0.02, 0.2, -1.0}, 0, "integral_gain: must be from 0");
  refuses(100, {0.05, 0.6, 0.02, 0.2, 1.0, 1e7}, 0, "proportional_gain: must be from 0");
  refuses(100, {}, -1, "update_every: must be from 0");
  refuses(100, {}, 101, "update_every: must be from 0");
}

}  // namespace
}  // namespace cuthresh::search
