// The data sets: the built-in series, the readers and what they refuse, the split.

#include "cuthresh/data.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cuthresh/error.hpp"

namespace cuthresh {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// RapidCheck prints this seed with a failure; RC_PARAMS in the environment overrides it.
const bool kSeeded = ::setenv("RC_PARAMS", "seed=1408", 0) == 0;

class Data : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string file(const std::string& name, const std::string& bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
    return path(name);
  }
  const fs::path folder_ =
      fs::temp_directory_path() / ("cuthresh-data-" + std::to_string(::getpid()));
};

template <typename Action>
ErrorInfo refusal(const Action& action) {
  try {
    action();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr(error.info().where));
    EXPECT_FALSE(error.info().remedy.empty()) << error.what();
    return error.info();
  }
  ADD_FAILURE() << "nothing was refused";
  return {};
}

std::uint32_t bits(float value) {
  return std::bit_cast<std::uint32_t>(value);
}

std::vector<std::uint32_t> bits(const std::vector<float>& values) {
  std::vector<std::uint32_t> list;
  for (const float value : values) list.push_back(bits(value));
  return list;
}

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

TEST_F(Data, LibsvmReadsWhatTheFormatAllows) {
  const std::string bytes =
      "\xEF\xBB\xBF# a comment\r\n+1 1:0.5 3:-2e-3 # another\r\n\r\n  -1\t2:+7  \n\n0\n1.5 "
      "3:1e-50 ";
  const Dataset data = read_libsvm(file("a.libsvm", bytes));
  EXPECT_EQ(data.rows, 4);
  EXPECT_EQ(data.features, 3);
  EXPECT_EQ(data.outputs, 1);
  EXPECT_EQ(data.source, "a.libsvm");
  EXPECT_EQ(data.targets, (std::vector<float>{1, -1, 0, 1.5f}));
  EXPECT_EQ(data.inputs, (std::vector<float>{0.5f, 0, -2e-3f, 0, 7, 0, 0, 0, 0, 0, 0, 0}));
  const Dataset wide = read_libsvm(path("a.libsvm"), 5);
  EXPECT_EQ(wide.features, 5);
  EXPECT_EQ(wide.inputs[6], 7.0f);
}

// Every finite float32, denormals and both zeros among them.
rc::Gen<float> any_finite_float() {
  return rc::gen::oneOf(
      rc::gen::element(0.0f, -0.0f, 1e-45f, -1e-45f, 1.17549421e-38f, 3.40282347e38f, 0.1f, 1e10f),
      rc::gen::map(rc::gen::suchThat(rc::gen::arbitrary<std::uint32_t>(),
                                     [](std::uint32_t word) { return (~word & 0x7F800000U) != 0; }),
                   [](std::uint32_t word) { return std::bit_cast<float>(word); }));
}

RC_GTEST_PROP(LibsvmRoundTrip, KeepsEveryBit, ()) {
  Dataset data;
  data.rows = *rc::gen::inRange<std::int64_t>(1, 20);
  data.features = *rc::gen::inRange<std::int64_t>(1, 9);
  data.outputs = 1;
  const auto many = [](std::int64_t count) {
    return *rc::gen::container<std::vector<float>>(static_cast<std::size_t>(count),
                                                   any_finite_float());
  };
  data.inputs = many(data.rows * data.features);
  data.targets = many(data.rows);
  const std::string path =
      (fs::temp_directory_path() / ("cuthresh-rt-" + std::to_string(::getpid()))).string();
  write_libsvm(path, data);
  const Dataset read = read_libsvm(path);
  fs::remove(path);
  RC_ASSERT(read.rows == data.rows);
  RC_ASSERT(read.features == data.features);
  RC_ASSERT(bits(read.inputs) == bits(data.inputs));
  RC_ASSERT(bits(read.targets) == bits(data.targets));
}

TEST_F(Data, LibsvmWriterRefusesWhatTheFormatCannotHold) {
  Dataset data{1, 2, 1, {1, NAN}, {0}, "here"};
  EXPECT_THAT(refusal([&] { write_libsvm(path("w"), data); }).what, HasSubstr("not finite"));
  data.inputs = {1};
  EXPECT_THAT(refusal([&] { write_libsvm(path("w"), data); }).value, HasSubstr("1 inputs"));
  EXPECT_THAT(refusal([&] {
                write_libsvm(path("w"), {1, 1, 2, {1}, {1, 2}, ""});
              }).what,
              HasSubstr("one target"));
  EXPECT_THAT(refusal([&] {
                write_libsvm(path("w"), {0, 1, 1, {}, {}, ""});
              }).what,
              HasSubstr("no rows"));
  EXPECT_TRUE(fs::is_empty(folder_));
}

struct BadText {
  std::string bytes;
  int line;  // 0: the file as a whole
  std::string what;
  std::string value;
  std::string remedy = "";
};

template <typename Read>
void expect_refusals(const std::vector<BadText>& cases, const std::string& path, const Read& read) {
  for (const BadText& bad : cases) {
    SCOPED_TRACE(bad.bytes);
    std::ofstream(path, std::ios::binary) << bad.bytes;
    const ErrorInfo info = refusal([&] { read(path); });
    EXPECT_EQ(info.where, bad.line == 0 ? path : path + ":" + std::to_string(bad.line));
    EXPECT_THAT(info.what, HasSubstr(bad.what));
    EXPECT_EQ(info.value, bad.value);
    EXPECT_THAT(info.remedy, HasSubstr(bad.remedy));
  }
}

TEST_F(Data, LibsvmRefusals) {
  const std::vector<BadText> cases = {
      {"", 0, "empty", ""},
      {"\n# only this\n\n", 0, "no rows", ""},
      {"1\n2\n", 0, "number of inputs is unknown", ""},
      {"1 1:2\nx 1:2\n", 2, "the label is not a number", "x"},
      {"nan 1:2\n", 1, "the label is not finite", "nan"},
      {"1 1:2\n\n1 1:inf\n", 3, "the value is not finite", "1:inf"},
      {"1 1:1e39\n", 1, "too large", "1:1e39"},
      {"1 1:1e5000\n", 1, "too large", "1:1e5000"},
      {"1 1:0x10\n", 1, "not a number", "1:0x10"},
      {"1 1:+-1\n", 1, "not a number", "1:+-1"},
      {"1 1:1,5\n", 1, "not a number", "1:1,5", "label index:value"},
      {"1 1\n", 1, "index:value", "1"},
      {"1 qid:3 1:2\n", 1, "index:value", "qid:3"},
      {"1 -1:2\n", 1, "index:value", "-1:2"},
      {"1 0:2\n", 1, "start at 1", "0:2", "add 1"},
      {"1 2:2 1:3\n", 1, "ascend", "1:3", "sort"},
      {"1 2:2 2:3\n", 1, "ascend", "2:3"},
      {"1 1:2\n1 1:", 2, "ends inside this line", "1:", "cut short"},
      {"1 1:\x01\n", 1, "not a number", "1:\\x01"},
      {"1 99999999999999999999:1\n", 1, "index:value", "99999999999999999999:1"},
  };
  expect_refusals(cases, path("bad.libsvm"), [](const std::string& p) { read_libsvm(p); });
  const std::vector<BadText> narrow = {
      {"1 1:2\n1 4:3 9:1\n", 2, "above the number of inputs, 3", "4:3", "at least 4 inputs"}};
  expect_refusals(narrow, path("bad.libsvm"), [](const std::string& p) { read_libsvm(p, 3); });
}

TEST_F(Data, LibsvmRefusesMoreThanTheMachineHolds) {
  const ErrorInfo info =
      refusal([&] { read_libsvm(file("huge.libsvm", "1 900000000000000000:1\n")); });
  EXPECT_EQ(info.where, path("huge.libsvm"));
  EXPECT_THAT(info.what, HasSubstr("900000000000000000 inputs"));
}

TEST_F(Data, ReadersNameAFileThatCannotBeRead) {
  for (const auto& read : {+[](const std::string& p) { read_libsvm(p); },
                           +[](const std::string& p) { read_csv(p); }}) {
    const ErrorInfo missing = refusal([&] { read(path("none")); });
    EXPECT_EQ(missing.where, path("none"));
    EXPECT_THAT(missing.what, HasSubstr("No such file"));
    EXPECT_THAT(refusal([&] { read(folder_.string()); }).what, HasSubstr("is a directory"));
    EXPECT_THAT(refusal([&] { read(""); }).what, HasSubstr("no path"));
  }
  EXPECT_EQ(refusal([&] { read_libsvm(file("a", "1 1:1\n"), -3); }).value, "-3");
  if (::geteuid() == 0) return;  // root reads everything
  fs::permissions(file("closed", "1 1:1\n"), fs::perms::none);
  EXPECT_THAT(refusal([&] { read_libsvm(path("closed")); }).what, HasSubstr("Permission denied"));
}

TEST_F(Data, CsvReadsWhatItShould) {
  const std::string bytes =
      "\xEF\xBB\xBF\"a \"\"quoted\"\", name\", b ,c,\"d\"\r\n1,2, 3 ,4\r\n\r\n\"5\",-6e-1,+7,8e0";
  const std::string name = file("t.csv", bytes);
  const Dataset last = read_csv(name);
  EXPECT_EQ(last.rows, 2);
  EXPECT_EQ(last.features, 3);
  EXPECT_EQ(last.source, "t.csv");
  EXPECT_EQ(last.inputs, (std::vector<float>{1, 2, 3, 5, -0.6f, 7}));
  EXPECT_EQ(last.targets, (std::vector<float>{4, 8}));
  const Dataset chosen = read_csv(name, {"c", "a \"quoted\", name"});
  EXPECT_EQ(chosen.outputs, 2);
  EXPECT_EQ(chosen.inputs, (std::vector<float>{2, 4, -0.6f, 8}));
  EXPECT_EQ(chosen.targets, (std::vector<float>{3, 1, 7, 5}));
  EXPECT_EQ(read_csv(file("pandas.csv", "0,1,2\n5,6,7\n")).targets, (std::vector<float>{7}));
}

TEST_F(Data, CsvRefusals) {
  const std::vector<BadText> cases = {
      {"", 0, "empty", ""},
      {"\n \n", 0, "blank lines only", ""},
      {"a,b\n\n", 0, "no rows", ""},
      {"a;b\n1;2\n", 1, "only one column", "a;b", "commas"},
      {"1.5,2\n3,4\n", 1, "header line", "1.5"},
      {"a,b,a\n1,2,3\n", 1, "columns 1 and 3 have the same name", "a"},
      {"a,,b\n1,2,3\n", 1, "column 2 has no name", "", "index=False"},
      {"\"a,b\n1,2\n", 1, "unmatched quote", "\"a,b"},
      {"\"a\"x,b\n1,2\n", 1, "unmatched quote", "\"a\"x,b"},
      {"a,b\n1,2\n1\n", 3, "expected 2 values", "1 values"},
      {"a,b\n1,2,3,4\n", 2, "expected 2 values", "4 values"},
      {"a,b\n\n1,2\n1,", 4, "ends inside this line", "", "cut short"},
      {"a,b\n1,2\n3", 3, "ends inside this line", "1 values", "cut short"},
      {"a,b\n,2\n", 2, "column \"a\": the value is missing", ""},
      {"a,b\n1,two\n", 2, "column \"b\": the value is not a number", "two"},
      {"a,b\nNaN,2\n", 2, "column \"a\": the value is not finite", "NaN"},
      {"a,b\n1,-inf\n", 2, "column \"b\": the value is not finite", "-inf"},
      {"a,b\n1,1e99\n", 2, "too large", "1e99"},
      {"a,b\n\"1,2\n", 2, "unmatched quote", "\"1,2"},
  };
  expect_refusals(cases, path("bad.csv"), [](const std::string& p) { read_csv(p); });
}

TEST_F(Data, CsvRefusesTargetsThatDoNotFit) {
  const std::string name = file("t.csv", "time,price,volume\n1,2,3\n");
  const ErrorInfo unknown = refusal([&] { read_csv(name, {"pirce"}); });
  EXPECT_EQ(unknown.where, name + ":1");
  EXPECT_EQ(unknown.value, "pirce");
  EXPECT_THAT(unknown.remedy, HasSubstr("\"price\""));
  EXPECT_THAT(refusal([&] { read_csv(name, {"price", "price"}); }).what, HasSubstr("twice"));
  EXPECT_THAT(refusal([&] {
                read_csv(name, {"time", "price", "volume"});
              }).what,
              HasSubstr("none is left as input"));
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
