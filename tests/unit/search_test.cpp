// The λ search, rule by rule, on curves small enough to follow by hand.

#include "search/search.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <string>

#include "cuthresh/error.hpp"

namespace cuthresh::search {
namespace {

using Counts = std::vector<std::int64_t>;
using Lambdas = std::vector<float>;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

Settings settings(Counts targets, float lo, float hi, Pivot pivot = Pivot::kLogMidpoint) {
  Settings s;
  s.pivot = pivot;
  s.targets = std::move(targets);
  s.lambda_lo = lo;
  s.lambda_hi = hi;
  return s;
}

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

float geometric(float a, float b) {
  return static_cast<float>(std::sqrt(double{a} * double{b}));
}

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
