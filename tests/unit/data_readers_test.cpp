// The readers of LIBSVM text and CSV, the writer, and what they refuse.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "cuthresh/data.hpp"
#include "cuthresh/error.hpp"
#include "tests/unit/data_cases.hpp"

namespace cuthresh {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

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

}  // namespace
}  // namespace cuthresh
