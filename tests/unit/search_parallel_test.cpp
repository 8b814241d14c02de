// Several candidates a round: where they lie, what a round teaches, and how many rounds that saves.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "cuthresh/error.hpp"
#include "tests/support/seeded.hpp"
#include "tests/unit/search_cases.hpp"

namespace cuthresh::search {
namespace {

using ::testing::HasSubstr;

Settings together(std::int64_t target, float lo, float hi, std::int64_t parallel,
                  Pivot pivot = Pivot::kLogMidpoint) {
  Settings s = settings({target}, lo, hi, pivot);
  s.parallel = parallel;
  return s;
}

std::vector<float> lambdas(const LambdaSearch& search) {
  std::vector<float> all;
  for (const std::vector<float>& candidate : search.candidates()) all.push_back(candidate[0]);
  return all;
}

std::vector<Report> counted(const Counts& counts) {
  std::vector<Report> reports;
  for (const std::int64_t nnz : counts) reports.push_back({Counts(1, nnz), nnz < 0});
  return reports;
}

void expect_near(const std::vector<float>& got, const std::vector<double>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_NEAR(double{got[i]} / want[i], 1.0, 1e-5) << i;
  }
}

/// The least widest part that n points can leave of gaps of these widths, by trying every division.
double least_widest(const std::vector<double>& widths, std::size_t n, std::size_t from = 0) {
  if (from == widths.size()) {
    return n == 0 ? 0.0 : std::numeric_limits<double>::infinity();
  }
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t here = 0; here <= n; ++here) {
    const double part = widths[from] / static_cast<double>(here + 1);
    least = std::min(least, std::max(part, least_widest(widths, n - here, from + 1)));
  }
  return least;
}

TEST(Division, LeavesTheLeastWidestGap) {
  for (std::uint32_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    testing::Random random(seed);
    std::vector<Interval> gaps;
    std::vector<double> widths;
    std::vector<float> marks = {1e-6f};
    const auto count = static_cast<std::size_t>(random.integer(1, 4));
    for (std::size_t i = 0; i < count; ++i) {
      const float next = marks.back() * std::exp(random.uniform(0.1f, 3.0f));
      gaps.push_back({marks.back(), next});
      widths.push_back(std::log(double{next} / double{marks.back()}));
      marks.push_back(next);
    }
    const auto n = static_cast<std::size_t>(random.integer(0, 6));
    const std::vector<float> chosen = divided(gaps, n);
    ASSERT_EQ(chosen.size(), n);
    marks.insert(marks.end(), chosen.begin(), chosen.end());
    std::sort(marks.begin(), marks.end());
    double widest = 0.0;
    for (std::size_t i = 1; i < marks.size(); ++i) {
      ASSERT_LT(marks[i - 1], marks[i]);
      widest = std::max(widest, std::log(double{marks[i]} / double{marks[i - 1]}));
    }
    EXPECT_NEAR(widest, least_widest(widths, n), 1e-5);
  }
}

TEST(Division, GivesTheFloatsThatThereAre) {
  const float one = 1.0f;
  const float two = std::nextafter(one, 2.0f);
  const float three = std::nextafter(two, 2.0f);
  const float four = std::nextafter(three, 2.0f);
  EXPECT_EQ(divided({{one, two}}, 3), std::vector<float>());
  EXPECT_EQ(divided({{one, four}}, 5), (std::vector<float>{two, three}));
  EXPECT_EQ(divided({{0.0f, std::numeric_limits<float>::denorm_min()}}, 2), std::vector<float>());
  const std::vector<float> from_zero = divided({{0.0f, 1e-3f}}, 3);
  ASSERT_EQ(from_zero.size(), 3u);
  EXPECT_GT(from_zero[0], 0.0f);
}

TEST(Parallel, DividesTheBracketFromTheFirstRoundOn) {
  LambdaSearch search(together(100, 1.0f, 1000.0f, 4));
  expect_near(lambdas(search), {1000.0, 1.0, 10.0, 100.0});
  EXPECT_TRUE(search.report_round(counted({10, 900, 400, 60})));
  EXPECT_EQ(search.nearest(), 3u);
  EXPECT_FLOAT_EQ(search.confirmed(0).lo.value(), 10.0f);
  EXPECT_FLOAT_EQ(search.confirmed(0).hi.value(), 100.0f);
  // Its own λ is the middle. Of the two halves that leaves, the upper gets two of the others.
  const double w = std::log(10.0);
  expect_near(lambdas(search), {10.0 * std::exp(w / 2), 10.0 * std::exp(w / 4),
                                10.0 * std::exp(w * 4 / 6), 10.0 * std::exp(w * 5 / 6)});
  EXPECT_FALSE(search.report_round(counted({200, 300, 150, 20})));
  EXPECT_EQ(search.nearest(), 2u) << "50 off, where round 1 had come to 40";
  search.report_round(counted({100, 130, 101, 100}));
  EXPECT_TRUE(search.met());
  EXPECT_EQ(search.nearest(), 0u) << "of equals the first";
  EXPECT_THAT(search.reason(), HasSubstr("round 3 met the target: 100 nonzeros"));
  EXPECT_EQ(search.probes().size(), 12u);
  EXPECT_EQ(search.probes()[8].round, 3);
}

TEST(Parallel, TheOwnLambdaIsTheMethods) {
  LambdaSearch search(together(3, 0.5f, 10.5f, 2, Pivot::kGradientMedian));
  expect_near(lambdas(search), {10.5, 0.5});
  search.report_round(counted({0, 10}));
  EXPECT_EQ(search.nearest(), 0u);
  ASSERT_EQ(search.phase(), Phase::kPivot);
  EXPECT_EQ(search.queries()[0].lo, 0.5f);
  search.report_pivot({5.0f});
  expect_near(lambdas(search), {5.0, std::sqrt(0.5 * 5.0)});
  search.report_round(counted({5, 8}));
  EXPECT_EQ(search.nearest(), 0u);
  EXPECT_EQ(search.queries()[0].lo, 5.0f);
  EXPECT_EQ(search.queries()[0].hi, 10.5f);
}

TEST(Parallel, EndsAreWidenedFromTheOutermost) {
  LambdaSearch up(together(100, 1.0f, 100.0f, 3));
  up.report_round(counted({300, 900, 500}));
  expect_near(lambdas(up), {1000.0, 100.0 * std::cbrt(10.0), 100.0 * std::cbrt(100.0)});
  up.report_round(counted({20, 200, 40}));
  EXPECT_FLOAT_EQ(up.confirmed(0).lo.value(), 100.0f * std::cbrt(10.0f));
  EXPECT_FLOAT_EQ(up.confirmed(0).hi.value(), 100.0f * std::cbrt(100.0f));

  LambdaSearch down(together(100, 1.0f, 100.0f, 3));
  down.report_round(counted({1, 50, 10}));
  expect_near(lambdas(down), {0.1, 0.1 * std::cbrt(10.0), 0.1 * std::cbrt(100.0)});
  down.report_round(counted({300, 200, 150}));
  EXPECT_FLOAT_EQ(down.confirmed(0).lo.value(), 0.1f * std::cbrt(100.0f));
  EXPECT_FLOAT_EQ(down.confirmed(0).hi.value(), 1.0f);
}

TEST(Parallel, ACandidateThatDivergedCostsOnlyItself) {
  LambdaSearch search(together(100, 1.0f, 1e4f, 3));
  expect_near(lambdas(search), {1e4, 1.0, 100.0});
  EXPECT_TRUE(search.report_round(counted({-1, 900, 60})));
  EXPECT_EQ(search.nearest(), 2u);
  EXPECT_EQ(search.confirmed(0).lo, 1.0f) << "the candidate between serves as the upper end";
  EXPECT_FLOAT_EQ(search.confirmed(0).hi.value(), 100.0f);
  expect_near(lambdas(search), {10.0, std::pow(10.0, 0.5), std::pow(10.0, 1.5)});
  search.report_round(counted({-1, 200, 70}));
  expect_near({lambdas(search)[0]}, {10.0 * std::pow(10.0, 0.25)});
}

TEST(Parallel, FiveRoundsThatDivergedEndTheSearch) {
  LambdaSearch search(together(100, 1.0f, 1e4f, 4));
  search.report_round(counted({10, 900, 400, 60}));
  for (int i = 0; i < 4; ++i) search.report_round(counted({-1, -1, -1, -1}));
  search.report_round(counted({-1, -1, 200, -1}));
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(search.phase(), Phase::kTrain) << i;
    search.report_round(counted(Counts(search.candidates().size(), -1)));
  }
  EXPECT_EQ(search.phase(), Phase::kDone);
  EXPECT_THAT(search.reason(), HasSubstr("5 rounds in a row diverged"));
  EXPECT_EQ(search.best(), 3u);
}

TEST(Parallel, BothEndsDivergedMoveInward) {
  LambdaSearch search(together(100, 1.0f, 1e4f, 4));
  search.report_round(counted({-1, -1, 900, -1}));
  const double good = std::pow(10.0, 4.0 / 3.0);
  const double bad = std::pow(10.0, 8.0 / 3.0);
  EXPECT_NEAR(double{search.lambda()[0]} / std::sqrt(good * bad), 1.0, 1e-5);
  for (const float lambda : lambdas(search)) {
    EXPECT_GT(double{lambda}, good);
    EXPECT_LT(double{lambda}, bad);
  }
}

TEST(Parallel, AsManyAsThereAreFloats) {
  const float next = std::nextafter(1.0f, 2.0f);
  LambdaSearch search(together(100, 1.0f, std::nextafter(next, 2.0f), 8));
  EXPECT_EQ(search.candidates().size(), 3u);
  search.report_round(counted({10, 900, 400}));
  EXPECT_EQ(search.phase(), Phase::kDone);
  EXPECT_THAT(search.reason(), HasSubstr("no untried λ is left"));
}

TEST(Parallel, IsForOneLambda) {
  const auto refused = [](Settings s) {
    try {
      const LambdaSearch search(std::move(s));
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  Settings two = settings({100, 100}, 1.0f, 2.0f);
  two.parallel = 2;
  EXPECT_THAT(refused(two), HasSubstr("search.parallel"));
  EXPECT_THAT(refused(together(100, 1.0f, 2.0f, 0)), HasSubstr("search.parallel"));
  EXPECT_THAT(refused(together(100, 1.0f, 1.0f, 2, Pivot::kFixed)), HasSubstr("search.parallel"));
}

/// Rounds that a search takes, and the bracket's width in log λ after each.
struct Course {
  std::size_t rounds = 0;
  std::vector<double> width;
};

Course course_of(const MadeResponse& response, std::int64_t parallel, Pivot pivot) {
  Settings s = together(response.targets[0], 1e-7f, 1e-2f, parallel, pivot);
  s.tolerance = 0.001;
  LambdaSearch search(s);
  Course course;
  while (search.phase() != Phase::kDone) {
    Counts counts;
    for (const Lambdas& candidate : search.candidates()) counts.push_back(response(candidate)[0]);
    search.report_round(counted(counts));
    ++course.rounds;
    const auto [lo, hi] = search.confirmed(0);
    if (lo && hi) course.width.push_back(std::log(double{*hi} / double{*lo}));
  }
  EXPECT_TRUE(search.met()) << search.reason();
  return course;
}

TEST(Parallel, NoRoundLeavesMoreThanOneTrainingWould) {
  for (std::uint32_t seed = 1; seed <= 101; ++seed) {
    SCOPED_TRACE(seed);
    const MadeResponse response(Kind::kSmooth, seed);
    const Course alone = course_of(response, 1, Pivot::kLogMidpoint);
    for (const std::int64_t parallel : {2, 4}) {
      const Course course = course_of(response, parallel, Pivot::kLogMidpoint);
      EXPECT_LE(course.rounds, alone.rounds) << parallel;
      // Alone the second round is that of the other end.
      for (std::size_t i = 0; i < std::min(course.width.size(), alone.width.size()); ++i) {
        EXPECT_LE(course.width[i], alone.width[i] * (1.0 + 1e-5)) << parallel << ", round " << i;
      }
    }
  }
}

TEST(Parallel, TakesFewerRounds) {
  const auto median = [](std::int64_t parallel, Pivot pivot) {
    std::vector<std::size_t> rounds;
    for (std::uint32_t seed = 1; seed <= 101; ++seed) {
      rounds.push_back(course_of(MadeResponse(Kind::kSmooth, seed), parallel, pivot).rounds);
    }
    std::sort(rounds.begin(), rounds.end());
    return rounds[rounds.size() / 2];
  };
  // What docs/design.md says.
  EXPECT_EQ(median(1, Pivot::kLogMidpoint), 12u);
  EXPECT_EQ(median(2, Pivot::kLogMidpoint), 8u);
  EXPECT_EQ(median(4, Pivot::kLogMidpoint), 5u);
  EXPECT_EQ(median(1, Pivot::kInterpolate), 6u);
  EXPECT_EQ(median(2, Pivot::kInterpolate), 5u);
  EXPECT_EQ(median(4, Pivot::kInterpolate), 4u);
}

}  // namespace
}  // namespace cuthresh::search
