// search.method = "interpolate": the pivot by its definition, its guards, and its rounds against
// those of the log midpoint on responses that are made up.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

#include "tests/unit/search_cases.hpp"

namespace cuthresh::search {
namespace {

using Response = std::function<Counts(const Lambdas&)>;

const LambdaSearch& drive_to_end(LambdaSearch& search, const Response& response) {
  while (search.phase() != Phase::kDone) search.report_probe(response(search.lambda()), false);
  return search;
}

/// By the definition, in one line of logarithms.
double on_the_line(double lo, double at_lo, double hi, double at_hi, double target) {
  const double y0 = std::log(at_lo + 0.5);
  const double y1 = std::log(at_hi + 0.5);
  return lo * std::pow(hi / lo, (y0 - std::log(target + 0.5)) / (y0 - y1));
}

TEST(Interpolation, IsTheLineInLogarithms) {
  const auto pivot = interpolated({1e-6f, 1e-2f}, {9000, 100, 1000, 0});
  ASSERT_TRUE(pivot);
  const double want = on_the_line(double{1e-6f}, 9000, double{1e-2f}, 100, 1000);
  EXPECT_NEAR(double{*pivot} / want, 1.0, 1e-6);
}

TEST(Interpolation, HalvesTheEndThatStays) {
  // Both ends are a factor of e⁴ off, so the line's share is 1/2.
  const auto count = [](double log_ratio) {
    return static_cast<std::int64_t>(std::llround(1e6 * std::exp(log_ratio)));
  };
  const auto share = [&](int run) {
    const auto pivot = interpolated({1.0f, 1e4f}, {count(4.0), count(-4.0), 1000000, run});
    return std::log10(double{pivot.value()}) / 4.0;
  };
  EXPECT_NEAR(share(0), 0.5, 1e-4);
  EXPECT_NEAR(share(1), 0.5, 1e-4);
  EXPECT_NEAR(share(2), 4.0 / (4.0 + 2.0), 1e-4);
  EXPECT_NEAR(share(3), 4.0 / (4.0 + 1.0), 1e-4);
  EXPECT_NEAR(share(-2), 2.0 / (2.0 + 4.0), 1e-4);
}

TEST(Interpolation, KeepsAwayFromTheEnds) {
  const auto near_hi = interpolated({1.0f, 1e4f}, {1000000, 999, 1000, 9});
  const auto near_lo = interpolated({1.0f, 1e4f}, {1001, 0, 1000, -9});
  ASSERT_TRUE(near_hi && near_lo);
  EXPECT_NEAR(std::log10(double{*near_hi}) / 4.0, 0.95, 1e-6);
  EXPECT_NEAR(std::log10(double{*near_lo}) / 4.0, 0.05, 1e-6);
}

TEST(Interpolation, HasNoOpinionWithoutALine) {
  EXPECT_FALSE(interpolated({0.0f, 1.0f}, {100, 1, 10, 0})) << "0 has no logarithm";
  EXPECT_FALSE(interpolated({0.1f, 1.0f}, {100, 20, 10, 0})) << "both ends above";
  EXPECT_FALSE(interpolated({0.1f, 1.0f}, {9, 1, 10, 0})) << "both ends below";
  EXPECT_FALSE(interpolated({1.0f, 0.1f}, {100, 1, 10, 0})) << "ends that contradict each other";
  EXPECT_TRUE(interpolated({0.1f, 1.0f}, {100, 0, 10, 0})) << "no nonzeros at the upper end";
}

TEST(Interpolation, PaceAsksForAHalving) {
  Pace pace;
  EXPECT_FALSE(pace.too_slow({1.0f, 16.0f}));
  EXPECT_FALSE(pace.too_slow({1.5f, 16.0f}));
  EXPECT_TRUE(pace.too_slow({2.0f, 16.0f}));
  EXPECT_FALSE(pace.too_slow({2.0f, 6.0f}));
  EXPECT_FALSE(pace.too_slow({3.0f, 6.0f}));
  EXPECT_FALSE(pace.too_slow({3.0f, 4.0f})) << "it has halved";
}

TEST(Interpolation, APowerLawIsHitAtOnce) {
  // After the two ends the line is the response itself.
  Settings s = settings({1000}, 1e-6f, 1e-2f, Pivot::kInterpolate);
  s.tolerance = 0.001;
  LambdaSearch search(s);
  drive_to_end(search, [](const Lambdas& lambda) {
    return Counts{std::llround(1000.0 * std::sqrt(3e-4 / double{lambda[0]}))};
  });
  EXPECT_TRUE(search.met()) << search.reason();
  EXPECT_LE(search.probes().size(), 4u);  // + ½ bends the line a little
}

TEST(Interpolation, BeginsAtZeroToo) {
  LambdaSearch search(settings({10}, 0.0f, 1.0f, Pivot::kInterpolate));
  drive_to_end(search, [](const Lambdas& lambda) {
    return Counts{static_cast<std::int64_t>(1000.0 / (1.0 + 1e7 * double{lambda[0]}))};
  });
  EXPECT_TRUE(search.met()) << search.reason();
}

struct Effort {
  std::size_t met = 0;
  std::vector<std::size_t> rounds;  // ascending; the whole budget where the target was missed
};

Effort effort(Kind kind, Pivot pivot) {
  Effort out;
  for (std::uint32_t number = 1; number <= 101; ++number) {
    const MadeResponse response(kind, number);
    Settings s = settings(response.targets, 1e-7f, 1e-2f, pivot);
    s.tolerance = kind == Kind::kJitter ? 0.01 : 0.001;
    s.max_rounds = 60;
    LambdaSearch search(s);
    drive_to_end(search, response);
    out.met += search.met() ? 1 : 0;
    out.rounds.push_back(search.met() ? search.probes().size() : 60);
  }
  std::sort(out.rounds.begin(), out.rounds.end());
  return out;
}

class Responses : public ::testing::TestWithParam<Kind> {};

TEST_P(Responses, TakeFewerRoundsThanByHalving) {
  const Effort halving = effort(GetParam(), Pivot::kLogMidpoint);
  const Effort interpolating = effort(GetParam(), Pivot::kInterpolate);
  RecordProperty("halving", static_cast<int>(halving.rounds[50]));
  RecordProperty("interpolating", static_cast<int>(interpolating.rounds[50]));
  EXPECT_GE(interpolating.met, halving.met);
  EXPECT_LE(interpolating.rounds[50], halving.rounds[50]);
  if (GetParam() == Kind::kSmooth) {
    EXPECT_LE(3 * interpolating.rounds[50], 2 * halving.rounds[50]);
    EXPECT_EQ(interpolating.met, 101u);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Responses,
                         ::testing::Values(Kind::kSmooth, Kind::kJitter, Kind::kSteps,
                                           Kind::kCoupled));

}  // namespace
}  // namespace cuthresh::search
