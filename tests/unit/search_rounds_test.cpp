// The rounds of the λ search, rule by rule, on curves small enough to follow by hand.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <vector>

#include "tests/unit/search_cases.hpp"

namespace cuthresh::search {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

/// Trains by `curve` until the machine stops or asks for a pivot, which it is then refused.
void drive(LambdaSearch& search, const std::function<Counts(const Lambdas&)>& curve) {
  while (search.phase() != Phase::kDone) {
    if (search.phase() == Phase::kTrain) {
      search.report_probe(curve(search.lambda()), false);
    } else {
      search.report_pivot(std::vector<std::optional<float>>(search.queries().size()));
    }
  }
}

// Ten weights with |g| = 1, 2, …, 10 at every λ; a weight survives when its |g| exceeds λ.
TEST(AlgorithmOne, FollowsThePaperByHand) {
  LambdaSearch search(settings({3}, 0.5f, 10.5f, Pivot::kGradientMedian));
  const auto train = [&](float lambda, std::int64_t nnz) {
    ASSERT_EQ(search.phase(), Phase::kTrain);
    ASSERT_EQ(search.lambda(), Lambdas{lambda});
    search.report_probe({nnz}, false);
  };
  const auto asked = [&](float lo, float hi) {
    ASSERT_EQ(search.phase(), Phase::kPivot);
    ASSERT_THAT(search.queries(), SizeIs(1));
    EXPECT_TRUE(search.queries()[0].wanted);
    EXPECT_EQ(search.queries()[0].lo, lo);
    EXPECT_EQ(search.queries()[0].hi, hi);
  };
  train(10.5f, 0);
  train(0.5f, 10);
  asked(0.5f, 10.5f);
  search.report_pivot({5.0f});  // lower median of 1 … 10
  train(5.0f, 5);
  asked(5.0f, 10.5f);
  search.report_pivot({8.0f});  // of 6 … 10
  train(8.0f, 2);
  asked(5.0f, 8.0f);
  search.report_pivot({std::nullopt});  // as if none were inside: the midpoint
  train(6.5f, 4);
  asked(6.5f, 8.0f);
  EXPECT_EQ(search.confirmed(0).lo, 6.5f);
  EXPECT_EQ(search.confirmed(0).hi, 8.0f);
  search.report_pivot({7.0f});
  train(7.0f, 3);
  EXPECT_EQ(search.phase(), Phase::kDone);
  EXPECT_TRUE(search.met());
  EXPECT_EQ(search.best(), 5u);
  EXPECT_THAT(search.reason(), HasSubstr("training 6"));
  EXPECT_THAT(search.take_notes(), IsEmpty());
}

TEST(AlgorithmOne, NarrowsByTheNearestCountNotByTheLatest) {
  LambdaSearch search(settings({100}, 1.0f, 16.0f));
  search.report_probe({10}, false);
  search.report_probe({150}, false);
  EXPECT_EQ(search.lambda(), Lambdas{4.0f});
  search.report_probe({170}, false);  // more than at the smaller λ = 1: the bracket stays
  EXPECT_EQ(search.confirmed(0).lo, 1.0f);
  EXPECT_EQ(search.confirmed(0).hi, 16.0f);
  // The middle was tried: of the two equal gaps (1, 4) and (4, 16) the upper.
  EXPECT_EQ(search.lambda(), Lambdas{8.0f});
  search.report_probe({150}, false);  // as many as at 1: the larger λ counts
  EXPECT_EQ(search.confirmed(0).lo, 8.0f);
  search.report_probe({10}, false);  // as many as at 16: the smaller λ counts
  EXPECT_EQ(search.confirmed(0).hi, geometric(8.0f, 16.0f));
}

TEST(LogMidpoint, IsTheGeometricMeanAndArithmeticFromZero) {
  LambdaSearch search(settings({100}, 0.0f, 1e-3f));
  search.report_probe({10}, false);
  search.report_probe({1000}, false);
  EXPECT_EQ(search.phase(), Phase::kTrain);
  EXPECT_EQ(search.lambda(), Lambdas{static_cast<float>(double{1e-3f} / 2)});
  const float middle = search.lambda()[0];
  search.report_probe({500}, false);
  EXPECT_EQ(search.lambda(), Lambdas{geometric(middle, 1e-3f)});
}

TEST(Divergence, MovesAnEndInward) {
  LambdaSearch search(settings({100}, 1e-7f, 1e-3f));
  EXPECT_FALSE(search.report_probe({0}, true));
  EXPECT_FALSE(search.best());
  const float inner = geometric(1e-7f, 1e-3f);
  EXPECT_EQ(search.lambda(), Lambdas{inner});
  EXPECT_THAT(search.take_notes(), SizeIs(1));
  EXPECT_TRUE(search.report_probe({10}, false));
  EXPECT_EQ(search.lambda(), Lambdas{1e-7f});
  search.report_probe({5000}, true);
  const float upper = geometric(1e-7f, inner);
  EXPECT_EQ(search.lambda(), Lambdas{upper});
  search.report_probe({50}, false);  // below: widened, but not onto the λ that diverged
  EXPECT_GT(search.lambda()[0], 1e-7f);
  EXPECT_LT(search.lambda()[0], upper);
  search.report_probe({500}, false);
  EXPECT_EQ(search.confirmed(0).hi, upper);
}

TEST(Divergence, InARoundGoesBackTowardsATrainingThatWentWell) {
  LambdaSearch search(settings({100}, 1.0f, 256.0f, Pivot::kGradientMedian));
  search.report_probe({10}, false);
  search.report_probe({1000}, false);
  search.report_pivot({4.0f});
  search.report_probe({100}, true);  // the count of a diverged training is not a hit
  EXPECT_EQ(search.phase(), Phase::kTrain) << "no weights, so no medians";
  EXPECT_EQ(search.lambda(), Lambdas{32.0f});
  search.report_probe({100}, true);
  // (4, 32) lies between two divergences; of (1, 4) and (32, 256) the second is wider.
  EXPECT_EQ(search.lambda(), Lambdas{geometric(32.0f, 256.0f)});
  search.report_probe({100}, true);
  // Now (4, 32) is the widest gap, but both its ends diverged: (1, 4) is the widest of the others.
  EXPECT_EQ(search.lambda(), Lambdas{2.0f});
  EXPECT_FALSE(search.met());
  search.report_probe({500}, false);
  ASSERT_EQ(search.phase(), Phase::kPivot);
  EXPECT_EQ(search.queries()[0].lo, 2.0f);
  EXPECT_EQ(search.queries()[0].hi, 256.0f) << "a divergence is no end of a bracket";
  search.report_pivot({16.0f});  // between two that diverged
  EXPECT_EQ(search.lambda(), Lambdas{geometric(geometric(32.0f, 256.0f), 256.0f)});
}

TEST(Divergence, FiveInARowEndTheSearch) {
  LambdaSearch search(settings({100}, 1e-7f, 1e-3f));
  search.report_probe({10}, false);
  search.report_probe({1000}, false);
  for (int i = 0; i < 4; ++i) search.report_probe({0}, true);
  search.report_probe({500}, false);  // one good training starts the count again
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(search.phase(), Phase::kTrain) << i;
    search.report_probe({0}, true);
  }
  EXPECT_EQ(search.phase(), Phase::kDone);
  EXPECT_THAT(search.reason(), HasSubstr("5 trainings in a row diverged"));
  EXPECT_EQ(search.best(), 0u);
}

TEST(AlgorithmTwo, NarrowsEachGroupByItsOwnCounts) {
  Settings s = settings({650, 1200, 1000, 45}, 1.0f, 256.0f, Pivot::kGradientMedian);
  s.tolerance = 0.05;
  s.groups_required = 3;
  LambdaSearch search(s);
  search.report_probe({0, 5, 5, 2}, false);
  search.report_probe({768, 16000, 8000, 64}, false);
  ASSERT_EQ(search.phase(), Phase::kPivot);
  search.report_pivot({2.0f, 30.0f, std::nullopt, 5.0f});
  EXPECT_EQ(search.lambda(), (Lambdas{2.0f, 30.0f, 128.5f, 5.0f}));
  search.report_probe({640, 900, 3000, 50}, false);  // group 1 is inside its band
  ASSERT_EQ(search.phase(), Phase::kPivot);
  EXPECT_FALSE(search.queries()[0].wanted);
  EXPECT_EQ(search.queries()[1].lo, 1.0f);
  EXPECT_EQ(search.queries()[1].hi, 30.0f);
  EXPECT_EQ(search.queries()[2].lo, 128.5f);
  EXPECT_EQ(search.queries()[2].hi, 256.0f);
  EXPECT_EQ(search.queries()[3].lo, 5.0f);
  search.report_pivot({std::nullopt, 20.0f, 200.0f, 9.0f});
  EXPECT_EQ(search.lambda(), (Lambdas{2.0f, 20.0f, 200.0f, 9.0f}));
  search.report_probe({700, 1190, 900, 44}, false);  // group 1 drifted out at the same λ
  ASSERT_EQ(search.phase(), Phase::kPivot);
  EXPECT_TRUE(search.queries()[0].wanted);
  EXPECT_EQ(search.queries()[0].lo, 2.0f) << "the newest count at a λ is the one that counts";
  EXPECT_EQ(search.queries()[0].hi, 256.0f);
  EXPECT_FALSE(search.queries()[1].wanted);
  EXPECT_FALSE(search.queries()[3].wanted);
  search.report_pivot({3.0f, std::nullopt, 190.0f, std::nullopt});
  EXPECT_EQ(search.lambda(), (Lambdas{3.0f, 20.0f, 190.0f, 9.0f}));
  search.report_probe({600, 1200, 1010, 46}, false);
  EXPECT_TRUE(search.met()) << "three of four";
  EXPECT_THAT(search.reason(), HasSubstr("at least 3 of 4"));
}

TEST(AlgorithmTwo, TheNewestCountOverrulesOlderOnesThatContradictIt) {
  LambdaSearch search(settings({100, 100}, 1.0f, 256.0f));
  search.report_probe({10, 10}, false);
  search.report_probe({900, 900}, false);
  ASSERT_EQ(search.lambda()[0], 16.0f);
  search.report_probe({100, 50}, false);  // group 1 is met and stays at 16, group 2 goes to 4
  ASSERT_EQ(search.lambda(), (Lambdas{16.0f, 4.0f}));
  search.take_notes();
  search.report_probe({60, 300}, false);  // with group 2 at 4, group 1 has too few at 16
  EXPECT_EQ(search.confirmed(0).lo, 1.0f);
  EXPECT_EQ(search.confirmed(0).hi, 16.0f);
  const auto notes = search.take_notes();
  ASSERT_THAT(notes, SizeIs(1));
  EXPECT_THAT(notes[0], HasSubstr("group 1: 60 nonzeros at λ = 16"));
  EXPECT_EQ(search.lambda(), (Lambdas{4.0f, 8.0f}));
  search.report_probe({40, 150}, false);  // fewer at 4 than at 16: the count at 16 is forgotten
  EXPECT_EQ(search.confirmed(0).hi, 4.0f);
}

TEST(AlgorithmTwo, FourMissesOnOneSideMoveTheFarEndOut) {
  LambdaSearch search(settings({100, 100}, 1.0f, 65536.0f));
  search.report_probe({10, 10}, false);
  search.report_probe({900, 900}, false);
  search.report_probe({20, 200}, false);  // group 1: 256 is its upper end
  ASSERT_EQ(search.lambda()[0], 16.0f);
  search.report_probe({30, 190}, false);  // 16 is
  for (std::int64_t nnz : {400, 390, 380}) {
    search.report_probe({nnz, nnz / 2}, false);
    EXPECT_EQ(search.confirmed(0).hi, 16.0f);
  }
  search.take_notes();
  search.report_probe({370, 150}, false);
  EXPECT_EQ(search.confirmed(0).hi, 256.0f);
  ASSERT_FALSE(search.take_notes().empty());
}

TEST(Repeats, APivotTriedBeforeIsReplacedByTheMiddleOfTheWidestGap) {
  LambdaSearch search(settings({100}, 1.0f, 64.0f, Pivot::kGradientMedian));
  search.report_probe({10}, false);
  search.report_probe({150}, false);
  search.report_pivot({4.0f});
  search.report_probe({300}, false);  // the bracket stays (1, 64)
  search.report_pivot({4.0f});
  EXPECT_EQ(search.lambda(), Lambdas{16.0f}) << "the middle of (4, 64)";
}

TEST(Exhaustion, AJumpBetweenNeighbouringFloatsEndsTheSearch) {
  const float edge = 1.0f + 10 * std::numeric_limits<float>::epsilon();
  LambdaSearch search(settings({100}, 1.0f, 1.0f + 64 * std::numeric_limits<float>::epsilon()));
  drive(search, [&](const Lambdas& l) { return Counts{l[0] < edge ? 150 : 50}; });
  EXPECT_FALSE(search.met());
  EXPECT_LE(search.probes().size(), 9u);
  EXPECT_EQ(search.confirmed(0).hi, edge);
  EXPECT_EQ(search.confirmed(0).lo, std::nextafter(edge, 0.0f));
  EXPECT_THAT(search.reason(), HasSubstr("no untried λ is left"));
}

TEST(Exhaustion, CountsThatContradictEachOtherLetTheBracketStepOut) {
  const float eps = std::numeric_limits<float>::epsilon();
  // 17 floats, one of which meets the target, beside a pair of neighbours that bracket it closely.
  const auto curve = [&](const Lambdas& l) -> Counts {
    const int place = static_cast<int>((l[0] - 1.0f) / eps);
    switch (place) {
      case 8:
        return {101};
      case 9:
        return {99};
      case 3:
        return {100};
      case 12:
        return {60};  // more than at 10: not monotone
      default:
        return {place < 8 ? 150 : 50};
    }
  };
  LambdaSearch search(settings({100}, 1.0f, 1.0f + 16 * eps));
  drive(search, curve);
  EXPECT_TRUE(search.met());
  const auto notes = search.take_notes();
  ASSERT_FALSE(notes.empty());
  EXPECT_THAT(notes[0], HasSubstr("no untried λ is left between"));
}

}  // namespace
}  // namespace cuthresh::search
