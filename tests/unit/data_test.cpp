// The built-in series and the split.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "cuthresh/data.hpp"
#include "cuthresh/error.hpp"
#include "tests/unit/data_cases.hpp"

namespace cuthresh {
namespace {

namespace fs = std::filesystem;

std::uint64_t fnv1a(const std::vector<float>& values) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const float value : values) {
    for (int shift = 0; shift < 32; shift += 8) {
      hash = (hash ^ ((bits(value) >> shift) & 0xFF)) * 0x100000001b3;
    }
  }
  return hash;
}

// Between two grid points the delayed term is constant, so the equation is linear and has a closed
// form: no Runge-Kutta here. The two agree until chaos has grown Runge-Kutta's error (1e-14 a step)
// past float32's rounding, after about 250 samples.
std::vector<long double> closed_form_series(int samples) {
  const int last = std::max(0, (6 * (samples - 1) - 17) * 20);
  const long double decay = std::exp(-0.1L * 0.05L);
  std::vector<long double> x = {0.9L};
  for (int n = 0; n < last; ++n) {
    const long double late = n < 340 ? 0.9L : x[static_cast<std::size_t>(n - 340)];
    const long double rest = 2.0L * late / (1.0L + std::pow(late, 10.0L));
    x.push_back(rest + (x.back() - rest) * decay);
  }
  std::vector<long double> series;
  for (int k = 0; k < samples; ++k) {
    series.push_back(x[static_cast<std::size_t>(std::max(0, (6 * k - 17) * 20))]);
  }
  return series;
}

TEST(MackeyGlass, FollowsTheEquation) {
  constexpr int kRows = 100;
  const Dataset data = make_mackey_glass(kRows);
  ASSERT_EQ(data.rows, kRows);
  ASSERT_EQ(data.features, 6);
  ASSERT_EQ(data.outputs, 1);
  ASSERT_EQ(data.inputs.size(), std::size_t{kRows * 6});
  ASSERT_EQ(data.targets.size(), std::size_t{kRows});
  const auto series = closed_form_series(215);
  for (std::size_t row = 0; row < kRows; ++row) {
    for (std::size_t input = 0; input < 6; ++input) {
      const long double expected = (series[row + 30 - 6 * input] - 0.8671892L) / 0.4495530L;
      ASSERT_NEAR(static_cast<double>(expected), data.inputs[row * 6 + input], 1e-7)
          << "row " << row << ", input " << input;
    }
    ASSERT_NEAR(static_cast<double>(series[row + 115]), data.targets[row], 1e-7) << "row " << row;
  }
}

// The bits of all 1385 rows, computed by a Python program from the recipe. A contracted
// multiply-add or another pow() changes them: the series is chaotic.
TEST(MackeyGlass, BitsAreTheSameEverywhere) {
  const Dataset data = make_mackey_glass();
  ASSERT_EQ(data.rows, 1385);
  EXPECT_EQ(fnv1a(data.inputs), 0xb39ab9670962cd16U);
  EXPECT_EQ(fnv1a(data.targets), 0xf3570a79f0e70af4U);
}

TEST(MackeyGlass, FewerRowsAreThePrefix) {
  const Dataset all = make_mackey_glass();
  for (const std::int64_t rows : {1, 2, 100, 1384}) {
    const Dataset some = make_mackey_glass(rows);
    const auto inputs = all.inputs.begin();
    EXPECT_EQ(some.inputs, std::vector<float>(inputs, inputs + rows * 6)) << rows;
    EXPECT_EQ(some.targets, std::vector<float>(all.targets.begin(), all.targets.begin() + rows));
  }
}

TEST(MackeyGlass, RefusesRowCountsOutOfRange) {
  for (const std::int64_t rows : {-1, 0, 1386}) {
    EXPECT_EQ(refusal([&] { make_mackey_glass(rows); }).value, std::to_string(rows));
  }
}

// Half a unit of the sixth significant digit, the last that the published file has.
double half_digit(double value) {
  return value == 0.0 ? 0.0 : 0.5 * std::pow(10.0, std::floor(std::log10(std::fabs(value))) - 5.0);
}

// Every value of the file, to its own rounding: without the corrections in mackey_glass.cpp the two
// part after 800 samples.
TEST(MackeyGlass, EqualsThePublishedFile) {
  const std::string path = CTH_SOURCE_DIR "/../shared/data/mackey_glass/mg_scale.libsvm";
  if (!fs::exists(path)) GTEST_SKIP() << "the published file is not here: " << path;
  const Dataset file = read_libsvm(path);
  const Dataset data = make_mackey_glass();
  ASSERT_EQ(file.rows, data.rows);
  ASSERT_EQ(file.features, data.features);
  constexpr double kSeriesUnits = 0.449553;  // of an input
  for (std::size_t row = 0; row < 1385; ++row) {
    for (std::size_t input = 0; input < 6; ++input) {
      const double published = file.inputs[row * 6 + input];
      const double ours = data.inputs[row * 6 + input];
      ASSERT_NEAR(ours * kSeriesUnits, published * kSeriesUnits,
                  1e-7 + half_digit(published) * kSeriesUnits)
          << "row " << row << ", input " << input;
    }
    // The last 115 labels lie behind the last input: only their own six digits held the fit there.
    const double tolerance = row + 115 < 1385 ? 1e-7 : 2e-6;
    ASSERT_NEAR(data.targets[row], file.targets[row], tolerance + half_digit(file.targets[row]))
        << "row " << row;
  }
}

Dataset numbered(std::int64_t rows) {
  Dataset data{rows, 2, 1, {}, {}, "numbered"};
  for (std::int64_t i = 0; i < rows; ++i) {
    const auto number = static_cast<float>(i);
    data.inputs.insert(data.inputs.end(), {number, -number});
    data.targets.push_back(number);
  }
  return data;
}

RC_GTEST_PROP(Split, DividesAllRowsAndKeepsThemWhole, ()) {
  const auto rows = *rc::gen::inRange<std::int64_t>(1, 60);
  const auto train = *rc::gen::inRange<std::int64_t>(1, rows + 1);
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  const SplitOptions options{train, 0.0, true, seed};
  const DataSplit split = split_dataset(numbered(rows), options);
  RC_ASSERT(split.train.rows == train);
  RC_ASSERT(split.test.rows == rows - train);
  std::set<float> seen;
  for (const Dataset* part : {&split.train, &split.test}) {
    RC_ASSERT(part->inputs.size() == static_cast<std::size_t>(part->rows * 2));
    for (std::size_t i = 0; i < part->targets.size(); ++i) {
      RC_ASSERT(part->inputs[2 * i] == part->targets[i]);
      RC_ASSERT(part->inputs[2 * i + 1] == -part->targets[i]);
      RC_ASSERT(seen.insert(part->targets[i]).second);
    }
  }
  RC_ASSERT(static_cast<std::int64_t>(seen.size()) == rows);
  RC_ASSERT(split_dataset(numbered(rows), options).train.targets == split.train.targets);
}

TEST(Split, WithoutShuffleTheFirstRowsTrain) {
  const DataSplit split = split_dataset(numbered(5), {3, 0.0, false, 99});
  EXPECT_EQ(split.train.targets, (std::vector<float>{0, 1, 2}));
  EXPECT_EQ(split.test.targets, (std::vector<float>{3, 4}));
  EXPECT_EQ(split.test.features, 2);
  EXPECT_EQ(split.test.source, "numbered");
  EXPECT_EQ(split_dataset(numbered(5), {}).train.rows, 5);
}

// 24 orders of 4 rows over seeds 0 ... 23999: chi-square with 23 degrees of freedom exceeds 58 once
// in 13,000 draws of honest dice.
TEST(Split, EveryOrderIsEquallyLikely) {
  std::map<std::vector<float>, int> counts;
  for (std::uint64_t seed = 0; seed < 24000; ++seed) {
    ++counts[split_dataset(numbered(4), {4, 0.0, true, seed}).train.targets];
  }
  ASSERT_EQ(counts.size(), 24U);
  double chi_square = 0.0;
  for (const auto& [order, count] : counts) chi_square += (count - 1000) * (count - 1000) / 1000.0;
  EXPECT_LT(chi_square, 58.0);
}

TEST(Split, FractionsRoundDownButKeepARow) {
  const auto rows = [](std::int64_t all, double share) {
    return split_dataset(numbered(all), {0, share, false, 0}).train.rows;
  };
  EXPECT_EQ(rows(10, 0.79), 7);
  EXPECT_EQ(rows(10, 0.7), 7);
  EXPECT_EQ(rows(100, 0.29), 29);
  EXPECT_EQ(rows(10, 0.01), 1);
  EXPECT_EQ(rows(10, 1.0), 10);
}

TEST(Split, RefusesWhatCannotBe) {
  const auto where = [](std::int64_t rows, const SplitOptions& options) {
    const ErrorInfo info = refusal([&] { split_dataset(numbered(rows), options); });
    return info.where + " " + info.value;
  };
  EXPECT_EQ(where(5, {6, 0.0, false, 0}), "data.train_rows 6");
  EXPECT_EQ(where(5, {-1, 0.0, false, 0}), "data.train_rows -1");
  EXPECT_EQ(where(5, {2, 0.5, false, 0}), "data.train_rows 2 and 0.500000");
  EXPECT_EQ(where(5, {0, 1.5, false, 0}), "data.train_fraction 1.500000");
  EXPECT_EQ(where(5, {0, NAN, false, 0}), "data.train_fraction nan");
  EXPECT_EQ(where(1, {0, 0.5, false, 0}), "data.train_fraction 0.500000");
  EXPECT_EQ(where(0, {}), "numbered ");
}

}  // namespace
}  // namespace cuthresh
