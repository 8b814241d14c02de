#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "bench/report/compare.hpp"
#include "bench/report/table.hpp"
#include "cuthresh/error.hpp"
#include "report_cases.hpp"

namespace cuthresh::bench {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

/// Twenty rows of 100 µs whose second measurement was off by `noise`, and the one that is planted.
Report around(const Row& planted, double noise = 0.001) {
  Report report;
  report.version = "0.1.0";
  for (int i = 0; i < 20; ++i) {
    report.rows.push_back(
        testing::row("other/" + std::to_string(i), false, 100.0, 100.0 * (1.0 + noise)));
  }
  report.rows.push_back(planted);
  return report;
}

Compared judged(double before, double before_again, double now, double now_again,
                double noise_of_others = 0.001) {
  const Comparison comparison =
      compare(around(testing::row("a/b", true, before, before_again), noise_of_others),
              around(testing::row("a/b", true, now, now_again), noise_of_others), 1.1);
  EXPECT_EQ(comparison.rows.back().name, "a/b");
  EXPECT_TRUE(comparison.rows.back().cold);
  return comparison.rows.back();
}

TEST(BenchCompare, RatiosBeyondTheNoiseAndInside) {
  constexpr Verdict kSame = Verdict::kNoDifference;
  const struct {
    double before, before_again, now, now_again;
    Verdict verdict;
  } cases[] = {
      {100, 100, 100, 100, kSame},
      {100, 100, 101.9, 101.9, kSame},  // two quiet measurements say nothing about the next start
      {100, 100, 102.1, 102.1, Verdict::kSlower},
      {100, 100, 98.1, 98.1, kSame},
      {100, 100, 97.9, 97.9, Verdict::kFaster},
      {100, 105, 104.9, 106, kSame},  // noise of the earlier
      {100, 105, 105.5, 106, Verdict::kSlower},
      {100, 101, 108, 118, kSame},  // noise of the later, 9.3 %
      {100, 101, 111, 118, Verdict::kSlower},
      {100, 105, 107, 104, kSame},  // 7 % at first sight, but 104 and 105 are the other way round
      {100, 95, 94, 96, kSame},
      {100, 100, 1e6, 1e6, Verdict::kSlower},
      {1e6, 1e6, 100, 100, Verdict::kFaster},
      {100, 0, 200, 200, Verdict::kNoiseUnknown},
      {100, 100, 200, 0, Verdict::kNoiseUnknown},
      {0, 0, 100, 100, Verdict::kNoiseUnknown},
  };
  for (const auto& c : cases) {
    const Compared row = judged(c.before, c.before_again, c.now, c.now_again);
    EXPECT_EQ(row.verdict, c.verdict) << c.before << ' ' << c.before_again << ' ' << c.now << ' '
                                      << c.now_again << ": " << row.ratio << ", " << row.floor;
    if (c.before > 0) {
      EXPECT_DOUBLE_EQ(row.ratio, c.now / c.before);
    }
  }
}

TEST(BenchCompare, AQuietRowOnANoisyMachineIsNotTrusted) {
  // Its own two medians agree to 0.1 %, those of the others only to 4 %.
  EXPECT_EQ(judged(100, 100.1, 110, 110.1, 0.04).verdict, Verdict::kNoDifference);
  EXPECT_EQ(judged(100, 100.1, 110, 110.1, 0.001).verdict, Verdict::kSlower);
  EXPECT_EQ(judged(100, 100.1, 120, 120.1, 0.04).verdict, Verdict::kSlower);
  EXPECT_EQ(judged(120, 120.1, 100, 100.1, 0.04).verdict, Verdict::kFaster);
}

/// Pairs of runs of the same program on a machine with normal noise: hardly anything may be called
/// a difference, and a real one of five standard deviations hardly ever be missed.
TEST(BenchCompare, EqualRunsHardlyEverDiffer) {
  testing::Random random(73);
  SCOPED_TRACE(random.seed());
  const auto normal = [&] {
    double sum = -6.0;
    for (int i = 0; i < 12; ++i) sum += static_cast<double>(random.uniform(0.0f, 1.0f));
    return sum;
  };
  const auto run = [&](double factor) {
    Report report;
    for (int i = 0; i < 40; ++i) {
      report.rows.push_back(testing::row("a/" + std::to_string(i), false,
                                         100.0 * factor * (1.0 + 0.02 * normal()),
                                         100.0 * factor * (1.0 + 0.02 * normal())));
    }
    return report;
  };
  int differ = 0;
  int found = 0;
  for (int i = 0; i < 100; ++i) {
    for (const Compared& row : compare(run(1.0), run(1.0), 1.1).rows) {
      differ += row.verdict != Verdict::kNoDifference ? 1 : 0;
    }
    for (const Compared& row : compare(run(1.0), run(1.2), 1.1).rows) {
      found += row.verdict == Verdict::kSlower ? 1 : 0;
    }
  }
  EXPECT_LT(differ, 40);    // of 4,000
  EXPECT_GT(found, 3'800);  // of 4,000
}

TEST(BenchCompare, OnlyWhatIsBeyondItsNoiseCountsAsSlower) {
  const Report before = around(testing::row("a/b", true, 100, 100));
  const Report slower = around(testing::row("a/b", true, 120, 120));
  const Comparison comparison = compare(before, slower, 1.1);
  EXPECT_TRUE(comparison.any_slower_than(1.1));
  EXPECT_FALSE(comparison.any_slower_than(1.2));
  EXPECT_FALSE(compare(slower, before, 1.1).any_slower_than(1.0));
  const Report noisy = around(testing::row("a/b", true, 120, 160));
  EXPECT_FALSE(compare(before, noisy, 1.1).any_slower_than(1.0));
}

TEST(BenchCompare, RowsMatchByNameAndCacheState) {
  Report before;
  Report now;
  for (const bool cold : {true, false}) {
    before.rows.push_back(testing::row("a/x", cold, cold ? 200.0 : 100.0, 100.0));
    now.rows.push_back(testing::row("a/x", cold, cold ? 200.0 : 100.0, 100.0));
  }
  before.rows.push_back(testing::row("a/old", false, 1, 1));
  before.rows.push_back(testing::row("a/both", true, 1, 1));
  now.rows.push_back(testing::row("a/both", false, 1, 1));
  now.rows.push_back(testing::row("a/new", false, 1, 1));
  const Comparison comparison = compare(before, now, 1.1);
  ASSERT_THAT(comparison.rows, SizeIs(2));
  EXPECT_EQ(comparison.rows[0].ratio, 1.0);
  EXPECT_EQ(comparison.rows[1].ratio, 1.0);
  const auto names = [](const std::vector<OneSided>& rows) {
    std::vector<std::string> out;
    for (const OneSided& row : rows) out.push_back(row.name + (row.cold ? " cold" : " warm"));
    return out;
  };
  EXPECT_THAT(names(comparison.only_before), ElementsAre("a/old warm", "a/both cold"));
  EXPECT_THAT(names(comparison.only_now), ElementsAre("a/both warm", "a/new warm"));
  const std::string text = to_table(now, &comparison);
  EXPECT_THAT(text, AllOf(HasSubstr("a/old"), HasSubstr("only before"), HasSubstr("only now")));
}

TEST(BenchCompare, SaysWhatElseDiffers) {
  const Report before = testing::sample_report();
  EXPECT_THAT(compare(before, before, 1.1).warnings, IsEmpty());
  const auto warning = [&](const auto& change) {
    Report now = before;
    change(now);
    const std::vector<std::string> warnings = compare(before, now, 1.1).warnings;
    EXPECT_THAT(warnings, SizeIs(1));
    return warnings.empty() ? "" : warnings.front();
  };
  EXPECT_THAT(warning([](Report& r) { r.machine.processor = "Other"; }),
              AllOf(HasSubstr("two machines"), HasSubstr("Other, 2 cores")));
  EXPECT_THAT(warning([](Report& r) { r.machine.cores = 64; }), HasSubstr("two machines"));
  EXPECT_THAT(warning([](Report& r) { r.machine.room = "cuda (X)"; }),
              AllOf(HasSubstr("another room"), HasSubstr("cuda (X) now")));
  EXPECT_THAT(warning([](Report& r) { r.machine.threads = 1; }),
              HasSubstr("another number of threads: 2 before, 1 now"));
  EXPECT_THAT(warning([](Report& r) { r.machine.compiler = "g++ 13"; }),
              HasSubstr("another compiler: g++ 12.2.0 before, g++ 13 now"));
  EXPECT_THAT(warning([](Report& r) { r.machine.build = "Debug"; }), HasSubstr("another build"));
  EXPECT_THAT(warning([](Report& r) { r.machine.libraries.clear(); }),
              HasSubstr("another oneDNN: 2.6.3 before, nothing now"));
  EXPECT_THAT(warning([](Report& r) { r.smoke = true; }), HasSubstr("now is a smoke run"));
  // 50 before; the better of its two is 40 now.
  EXPECT_THAT(warning([](Report& r) {
                r.ceilings[0].first = testing::timing(7500.0);
                r.ceilings[0].last = testing::timing(7600.0);
              }),
              AllOf(HasSubstr("ran slower: stream 2:1 over 200 MB, cold"),
                    HasSubstr("from 50.0 to 40.0 GB/s (-20.0 %)")));
  Report now = before;
  now.machine.commit = "fffffff";  // what a comparison is for
  now.machine.date = "2027";
  now.ceilings[0].first = testing::timing(6100.0);
  EXPECT_THAT(compare(before, now, 1.1).warnings, IsEmpty());
}

TEST(BenchCompare, RefusesAFactorThatIsNone) {
  const Report report = testing::sample_report();
  for (const double bad :
       {0.99, 0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    EXPECT_THROW(compare(report, report, bad), InputError) << bad;
  }
  EXPECT_EQ(compare(report, report, 1.0).slower_factor, 1.0);
}

TEST(BenchCompare, TheTableSaysHowItCameOut) {
  const Report before = around(testing::row("a/b", true, 100, 100));
  const Report now = around(testing::row("a/b", true, 120, 120));
  const Comparison compared = compare(before, now, 1.1);
  EXPECT_THAT(to_table(now, &compared),
              AllOf(HasSubstr("Compared with 0.1.0"), HasSubstr("1.200"), HasSubstr("slower\n"),
                    HasSubstr("1 slower, 0 faster, 20 without a difference beyond the noise; some "
                              "slower")));
  const Comparison same = compare(now, now, 1.1);
  EXPECT_THAT(to_table(now, &same),
              HasSubstr("0 slower, 0 faster, 21 without a difference beyond the "
                        "noise; none by more than a factor of 1.1."));
}

}  // namespace
}  // namespace cuthresh::bench
