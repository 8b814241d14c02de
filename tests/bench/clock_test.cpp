// How calls are timed, by a clock that only the calls themselves move on.

#include <gtest/gtest.h>

#include "bench/core/clock.hpp"
#include "core/registry.hpp"

namespace cuthresh::bench {
namespace {

/// Each call takes `call_seconds`; a reset takes a second that no sample may hold.
class Ticking final : public Workload {
 public:
  Ticking(double call_seconds, std::int64_t sets)
      : call_seconds_(call_seconds), per_set(static_cast<std::size_t>(sets)) {}

  std::string check() override { return ""; }
  void reset() override {
    now += 1.0;
    ++resets;
    since_reset = 0;
    per_set.assign(per_set.size(), 0);
  }
  void call(std::int64_t set) override {
    now += call_seconds_;
    ++since_reset;
    ++per_set.at(static_cast<std::size_t>(set));
    most_since_reset = std::max(most_since_reset, since_reset);
  }

 private:
  double call_seconds_;

 public:
  double now = 0.0;
  std::int64_t resets = 0;
  std::int64_t since_reset = 0;
  std::int64_t most_since_reset = 0;
  std::vector<std::int64_t> per_set;
};

class WallClockTest : public ::testing::Test {
 protected:
  Timing time(Ticking& workload, std::int64_t sets, std::int64_t max_calls,
              const ClockOptions& options = {}, std::int64_t max_samples = 0) {
    WallClock clock(*backend_, options, [&] { return workload.now; });
    return clock.time(workload, {.sets = sets, .max_calls = max_calls, .max_samples = max_samples});
  }

 private:
  std::unique_ptr<Backend> backend_ =
      make_backend({.device = "cpu", .engine = "reference", .threads = 1}).backend;
};

TEST(TimingOf, TakesMinimumMedianAndNinetiethPercentile) {
  const Timing ten = timing_of({9, 1, 8, 2, 7, 3, 6, 4, 5, 10}, 4);
  EXPECT_EQ(ten.min_us, 1.0);
  EXPECT_EQ(ten.median_us, 5.5);
  EXPECT_EQ(ten.p90_us, 10.0);
  EXPECT_EQ(ten.samples, 10);
  EXPECT_EQ(ten.calls, 4);
  EXPECT_EQ(timing_of({3, 1, 2}, 1).median_us, 2.0);
}

TEST_F(WallClockTest, ShortCallsFillASampleOfTwoMilliseconds) {
  Ticking workload(1e-6, 1);
  const Timing timing = time(workload, 1, 0);
  EXPECT_NEAR(timing.median_us, 1.0, 1e-6);
  EXPECT_NEAR(timing.min_us, 1.0, 1e-6);
  EXPECT_GE(timing.calls, 2000);
  EXPECT_LE(timing.calls, 10000);
  EXPECT_GE(timing.samples, 30);
  const double measured =
      timing.median_us * 1e-6 * static_cast<double>(timing.calls * timing.samples);
  EXPECT_GE(measured, 0.3 - 1e-6);
  EXPECT_LE(measured, 0.4);
  EXPECT_EQ(workload.since_reset, timing.calls);
  EXPECT_GE(workload.resets, timing.samples + 1) << "no reset before a sample";
}

TEST_F(WallClockTest, LittleTimeGivesAsManyShortSamples) {
  Ticking workload(1e-5, 1);
  EXPECT_EQ(time(workload, 1, 0, {0.025, false}).samples, 30);
  Ticking hasty(1e-5, 1);
  EXPECT_EQ(time(hasty, 1, 0, {0.001, false}).samples, 5);
}

TEST_F(WallClockTest, NoMoreCallsThanTheCaseAllows) {
  Ticking workload(1e-6, 1);
  const Timing timing = time(workload, 1, 7);
  EXPECT_EQ(timing.calls, 7);
  EXPECT_EQ(workload.most_since_reset, 7);
  EXPECT_NEAR(timing.median_us, 1.0, 1e-6);
}

TEST_F(WallClockTest, EverySetIsCalledAsOften) {
  Ticking workload(1e-6, 300);
  const Timing timing = time(workload, 300, 0);
  EXPECT_EQ(timing.calls % 300, 0);
  for (const std::int64_t calls : workload.per_set) EXPECT_EQ(calls, timing.calls / 300);
  Ticking limited(1e-6, 300);
  EXPECT_EQ(time(limited, 300, 700).calls, 600);
  Ticking few(1e-6, 300);
  EXPECT_EQ(time(few, 300, 4).calls, 4);
}

TEST_F(WallClockTest, LongCallsGetThreeSamples) {
  Ticking workload(1.5, 1);
  const Timing timing = time(workload, 1, 0);
  EXPECT_EQ(timing.samples, 3);
  EXPECT_EQ(timing.calls, 1);
  EXPECT_EQ(workload.resets, 4);
  EXPECT_NEAR(timing.median_us, 1.5e6, 1.0);
}

TEST_F(WallClockTest, HalfLongCallsGetWhatFits) {
  Ticking workload(0.1, 1);
  EXPECT_EQ(time(workload, 1, 0, {0.251, false}).samples, 10);
}

TEST_F(WallClockTest, NoMoreSamplesThanTheCaseAllowsAndNoneToWarmUp) {
  Ticking workload(1e-3, 2);
  const Timing timing = time(workload, 2, 0, {}, 7);
  EXPECT_EQ(timing.samples, 7);
  EXPECT_EQ(timing.calls, 2);
  EXPECT_EQ(workload.resets, 7);
  Ticking smoke(1e-3, 1);
  EXPECT_EQ(time(smoke, 1, 0, {0.3, true}, 1).samples, 1);
  EXPECT_EQ(smoke.resets, 1);
}

TEST_F(WallClockTest, SmokeHardlyTakesTime) {
  Ticking workload(1e-6, 4);
  const Timing timing = time(workload, 4, 0, {0.3, true});
  EXPECT_EQ(timing.samples, 3);
  EXPECT_EQ(timing.calls, 4);
  EXPECT_EQ(workload.resets, 3);
}

}  // namespace
}  // namespace cuthresh::bench
