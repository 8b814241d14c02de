// The λ search on what it is given: targets, the ends of the bracket, which training was best, one
// fixed λ, misuse. Curves small enough to follow by hand.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>

#include "cuthresh/error.hpp"
#include "tests/unit/search_cases.hpp"

namespace cuthresh::search {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(Band, HoldsExactlyTheCountsWithinTheTolerance) {
  for (std::int64_t target : {0, 1, 45, 100, 650, 1000, 1200, 2000, 50000}) {
    for (std::int64_t mille : {0, 1, 5, 29, 50, 100, 290, 333, 580, 999}) {
      const CountBand band = make_band(target, static_cast<double>(mille) / 1000.0);
      const auto lo = static_cast<std::int64_t>(band.lo);
      const auto hi = static_cast<std::int64_t>(band.hi);
      for (std::int64_t end : {lo - 1, lo, target, hi, hi + 1}) {
        if (end < 0) continue;  // no count
        const bool meets = std::abs(end - target) * 1000 <= mille * target;
        EXPECT_EQ(band.contains(static_cast<std::uint64_t>(end)), meets)
            << target << " " << mille << " " << end;
      }
    }
  }
}

TEST(Band, EndsAtTheLargestCount) {
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(make_band(most, 0.5).hi, static_cast<std::uint64_t>(most));
}

TEST(Band, RefusesWhatIsNoTarget) {
  EXPECT_THROW(make_band(-1, 0.1), InputError);
  EXPECT_THROW(make_band(10, 1.0), InputError);
  EXPECT_THROW(make_band(10, -0.001), InputError);
  EXPECT_THROW(make_band(10, std::nan("")), InputError);
}

TEST(Settings, ContradictionsAreInputErrorsThatNameTheKey) {
  const float inf = std::numeric_limits<float>::infinity();
  const auto broken = [](const std::string& key, const std::function<void(Settings&)>& change) {
    Settings s = settings({10, 20}, 1e-7f, 1e-3f);
    LambdaSearch sound(s);
    change(s);
    try {
      LambdaSearch search(s);
      ADD_FAILURE() << "accepted: " << key;
    } catch (const InputError& error) {
      EXPECT_THAT(error.info().where, HasSubstr(key));
      EXPECT_FALSE(error.info().remedy.empty());
    }
  };
  broken("search.lambda", [](Settings& s) { s.lambda_lo = 1e-3f; });
  broken("search.lambda", [](Settings& s) { s.lambda_lo = 2e-3f; });
  broken("search.lambda", [](Settings& s) { s.lambda_lo = -1e-3f; });
  broken("search.lambda", [&](Settings& s) { s.lambda_hi = inf; });
  broken("search.lambda", [](Settings& s) { s.lambda_lo = std::nanf(""); });
  broken("search.lambda", [](Settings& s) { s.lambda_lo = s.lambda_hi = 0.0f; });
  broken("search.lambda", [](Settings& s) { s.pivot = Pivot::kFixed; });
  broken("sparsity", [](Settings& s) { s.targets.clear(); });
  broken("sparsity.target_nnz", [](Settings& s) { s.targets[1] = -1; });
  broken("sparsity.tolerance", [](Settings& s) { s.tolerance = 1.0; });
  broken("sparsity.tolerance", [](Settings& s) { s.tolerance = std::nan(""); });
  broken("sparsity.layers_required", [](Settings& s) { s.groups_required = 3; });
  broken("sparsity.layers_required", [](Settings& s) { s.groups_required = -1; });
  broken("search.max_rounds", [](Settings& s) { s.max_rounds = 0; });
  broken("search", [](Settings& s) {
    s.pivot = Pivot::kFixed;
    s.targets.clear();
    s.lambda_lo = s.lambda_hi;
    s.groups = 0;
  });
}

TEST(Ends, AreTrainedUpperFirst) {
  LambdaSearch search(settings({5, 5}, 1e-7f, 1e-3f));
  EXPECT_EQ(search.lambda(), (Lambdas{1e-3f, 1e-3f}));
  EXPECT_FALSE(search.confirmed(0).hi);
  search.report_probe({1, 1}, false);
  EXPECT_EQ(search.lambda(), (Lambdas{1e-7f, 1e-7f}));
  EXPECT_EQ(search.confirmed(1).hi, 1e-3f);
  EXPECT_FALSE(search.confirmed(1).lo);
  search.report_probe({9, 9}, false);
  EXPECT_EQ(search.confirmed(1).lo, 1e-7f);
}

TEST(Ends, UpperIsWidenedOnlyWhereItFailsAndThatConfirmsTheLower) {
  LambdaSearch search(settings({100, 100}, 1e-7f, 1e-3f));
  search.report_probe({900, 20}, false);
  const float wider = 10.0f * 1e-3f;
  EXPECT_EQ(search.lambda(), (Lambdas{wider, 1e-3f}));
  const auto notes = search.take_notes();
  ASSERT_THAT(notes, SizeIs(1));
  EXPECT_THAT(notes[0], HasSubstr("group 1"));
  EXPECT_THAT(notes[0], HasSubstr("900"));
  EXPECT_THAT(notes[0], HasSubstr("0.01"));
  search.report_probe({30, 20}, false);
  // Group 1 has its lower end at 1e-3 already and does not go back to 1e-7.
  EXPECT_EQ(search.lambda(), (Lambdas{1e-3f, 1e-7f}));
}

TEST(Ends, OneGroupSkipsTheLowerTrainingAfterAFailedUpperOne) {
  LambdaSearch search(settings({100}, 1e-7f, 1.0f));
  search.report_probe({900}, false);
  EXPECT_EQ(search.lambda(), Lambdas{10.0f});
  search.report_probe({30}, false);
  EXPECT_EQ(search.lambda(), Lambdas{geometric(1.0f, 10.0f)});
}

TEST(Ends, LowerIsWidenedDownToZeroThenTheSearchEnds) {
  LambdaSearch search(settings({100}, 1e-9f, 1e-3f));
  search.report_probe({10}, false);
  Lambdas tried;
  while (search.phase() == Phase::kTrain) {
    tried.push_back(search.lambda()[0]);
    search.report_probe({99}, false);
  }
  ASSERT_THAT(tried, SizeIs(5));
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_FLOAT_EQ(tried[i], static_cast<float>(1e-9 * std::pow(10.0, -static_cast<double>(i))));
  }
  EXPECT_EQ(tried[4], 0.0f);
  EXPECT_EQ(search.phase(), Phase::kDone);
  EXPECT_FALSE(search.met());
  EXPECT_THAT(search.reason(), HasSubstr("no bracket"));
  EXPECT_THAT(search.reason(), HasSubstr("widened from λ = 1e-09"));
  EXPECT_THAT(search.reason(), HasSubstr("lower the target"));
  EXPECT_EQ(search.best(), 1u);
  EXPECT_THAT(search.take_notes(), SizeIs(4));
}

TEST(Ends, UpperIsWidenedToAMillionAtMost) {
  LambdaSearch search(settings({100}, 1.0f, 3e4f));
  Lambdas tried;
  while (search.phase() == Phase::kTrain) {
    tried.push_back(search.lambda()[0]);
    search.report_probe({101}, false);
  }
  EXPECT_EQ(tried, (Lambdas{3e4f, 3e5f, 1e6f}));
  EXPECT_THAT(search.reason(), HasSubstr("raise the target"));
}

TEST(Ends, OneInsideItsBandIsNotWidenedAndIsComeBackTo) {
  Settings s = settings({100, 1000}, 1e-7f, 1e-3f);
  s.tolerance = 0.05;
  LambdaSearch search(s);
  search.report_probe({104, 2}, false);
  EXPECT_EQ(search.lambda(), (Lambdas{1e-7f, 1e-7f}));
  EXPECT_FALSE(search.confirmed(0).lo);
  search.report_probe({900, 9000}, false);
  EXPECT_EQ(search.lambda(), (Lambdas{1e-3f, geometric(1e-7f, 1e-3f)}));
  EXPECT_THAT(search.take_notes(), IsEmpty());
}

TEST(Ends, AGroupThatCannotStraddleIsPinnedWhileEnoughOthersRemain) {
  Settings s = settings({100, 100, 100}, 0.0f, 1.0f);
  s.groups_required = 2;
  LambdaSearch search(s);
  search.report_probe({10, 10, 10}, false);
  search.report_probe({900, 50, 900}, false);  // λ = 0 leaves group 2 below its target
  EXPECT_EQ(search.lambda(), (Lambdas{0.5f, 0.0f, 0.5f}));
  const auto notes = search.take_notes();
  ASSERT_THAT(notes, SizeIs(1));
  EXPECT_THAT(notes[0], HasSubstr("group 2"));
  search.report_probe({100, 40, 100}, false);
  EXPECT_TRUE(search.met());

  s.groups_required = 3;
  LambdaSearch strict(s);
  strict.report_probe({10, 10, 10}, false);
  strict.report_probe({900, 50, 900}, false);
  EXPECT_EQ(strict.phase(), Phase::kDone);
  EXPECT_THAT(strict.reason(), HasSubstr("group 2"));
}

TEST(Ends, MessagesCallTheGroupsByTheirNames) {
  Settings s = settings({100, 100}, 0.0f, 1.0f);
  s.names = {{"fc1", "fc3"}};
  LambdaSearch search(s);
  search.report_probe({10, 900}, false);
  const auto notes = search.take_notes();
  ASSERT_THAT(notes, SizeIs(1));
  EXPECT_THAT(notes[0], HasSubstr("fc3: λ = 1 leaves 900 nonzeros"));
  search.report_probe({10, 10}, false);
  search.report_probe({50, 900}, false);  // λ = 0 leaves fc1 below its target
  EXPECT_THAT(search.reason(), HasSubstr("fc1: "));
}

TEST(Best, IsTheNearestThenTheSmallerSumThenTheEarlier) {
  Settings s = settings({100, 100, 100}, 1e-7f, 1e-3f);
  s.groups_required = 2;
  s.max_rounds = 5;
  LambdaSearch search(s);
  EXPECT_TRUE(search.report_probe({60, 0, 0}, false));
  EXPECT_DOUBLE_EQ(search.probes()[0].distance, 1.0);
  EXPECT_TRUE(search.report_probe({110, 120, 1000}, false));
  EXPECT_DOUBLE_EQ(search.probes()[1].distance, 0.2);
  EXPECT_TRUE(search.report_probe({80, 120, 150}, false));
  EXPECT_FALSE(search.report_probe({120, 80, 50}, false)) << "a tie in both";
  EXPECT_FALSE(search.report_probe({99, 79, 79}, false));
  EXPECT_EQ(search.best(), 2u);
  EXPECT_EQ(search.phase(), Phase::kDone);
  EXPECT_THAT(search.reason(), HasSubstr("budget of 5 trainings"));
  EXPECT_THAT(search.reason(), HasSubstr("training 3"));
}

TEST(Best, AMissOfAZeroTargetIsMeasuredInWeights) {
  Settings s = settings({0}, 1e-7f, 1e-3f);
  s.max_rounds = 1;
  LambdaSearch search(s);
  search.report_probe({7}, false);
  EXPECT_DOUBLE_EQ(search.probes()[0].distance, 7.0);
  EXPECT_FALSE(search.met());
}

TEST(Fixed, TrainsOnce) {
  Settings s = settings({}, 1e-4f, 1e-4f, Pivot::kFixed);
  s.groups = 2;
  LambdaSearch search(s);
  EXPECT_EQ(search.lambda(), (Lambdas{1e-4f, 1e-4f}));
  EXPECT_TRUE(search.report_probe({3, 4}, false));
  EXPECT_EQ(search.phase(), Phase::kDone);
  EXPECT_EQ(search.best(), 0u);
  EXPECT_FALSE(search.met());
  EXPECT_THAT(search.reason(), HasSubstr("0.0001"));
}

TEST(Fixed, SaysWhetherGivenTargetsWereMet) {
  for (const std::int64_t nnz : {104, 106}) {
    Settings s = settings({100}, 0.0f, 0.0f, Pivot::kFixed);
    s.tolerance = 0.05;
    LambdaSearch search(s);
    search.report_probe({nnz}, false);
    EXPECT_EQ(search.phase(), Phase::kDone);
    EXPECT_EQ(search.met(), nnz == 104);
    EXPECT_FALSE(search.confirmed(0).lo);
  }
  LambdaSearch search(settings({}, 1.0f, 1.0f, Pivot::kFixed));
  EXPECT_FALSE(search.report_probe({0}, true));
  EXPECT_FALSE(search.best());
  EXPECT_THAT(search.reason(), HasSubstr("diverged"));
}

TEST(Misuse, IsAnInternalErrorAndChangesNothing) {
  Settings named = settings({100, 100}, 1.0f, 64.0f);
  named.names = {{"fc1"}};
  EXPECT_THROW(LambdaSearch{named}, InternalError);
  LambdaSearch search(settings({100}, 1.0f, 64.0f, Pivot::kGradientMedian));
  EXPECT_THROW(search.report_pivot({2.0f}), InternalError);
  EXPECT_THROW(search.report_probe({1, 2}, false), InternalError);
  EXPECT_THROW(search.report_probe({-1}, false), InternalError);
  search.report_probe({10}, false);
  search.report_probe({1000}, false);
  EXPECT_THROW(search.report_probe({10}, false), InternalError);
  EXPECT_THROW(search.report_pivot({}), InternalError);
  const float inf = std::numeric_limits<float>::infinity();
  for (float outside : {1.0f, 64.0f, 0.0f, 100.0f, -inf, inf, std::nanf("")}) {
    EXPECT_THROW(search.report_pivot({outside}), InternalError) << outside;
  }
  ASSERT_EQ(search.phase(), Phase::kPivot);
  search.report_pivot({2.0f});
  EXPECT_EQ(search.lambda(), Lambdas{2.0f});
  EXPECT_THAT(search.probes(), SizeIs(2));
}

}  // namespace
}  // namespace cuthresh::search
