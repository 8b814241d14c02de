// What a run leaves on disk: single files, the run folder, result.json and history.csv.

#include "io/run_folder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "cuthresh/error.hpp"
#include "io/atomic_file.hpp"
#include "io/report.hpp"

namespace cuthresh {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class Disk : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(root_); }
  void TearDown() override { fs::remove_all(root_); }
  std::string path(const std::string& name) const { return (root_ / name).string(); }
  void put(const std::string& name, const std::string& text) const {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }
  std::string get(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(root_ / name).rdbuf();
    return text.str();
  }
  // Everything below the root, hidden things too.
  std::set<std::string> all() const {
    std::set<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(root_)) {
      names.insert(fs::relative(entry.path(), root_).string());
    }
    return names;
  }
  const fs::path root_ =
      fs::temp_directory_path() / ("cuthresh-disk-" + std::to_string(::getpid()));
};

using Names = std::set<std::string>;

template <typename Action>
ErrorInfo refusal(const Action& action) {
  try {
    action();
  } catch (const InputError& error) {
    EXPECT_FALSE(error.info().remedy.empty()) << error.what();
    return error.info();
  }
  ADD_FAILURE() << "nothing was refused";
  return {};
}

TEST_F(Disk, AFileIsWrittenOrReplacedWhole) {
  write_file_atomically(path("a"), std::string("one\0two", 7));
  EXPECT_EQ(get("a"), std::string("one\0two", 7));
  const std::string_view pieces[] = {"x", "", "yz"};
  write_file_atomically(path("a"), pieces);
  EXPECT_EQ(get("a"), "xyz");
  write_file_atomically(path("a"), "");
  EXPECT_EQ(get("a"), "");
  EXPECT_EQ(all(), (Names{"a"}));
}

TEST_F(Disk, ALinkToAFileStaysALink) {
  put("real", "old");
  fs::create_symlink("real", root_ / "link");
  write_file_atomically(path("link"), "new");
  EXPECT_TRUE(fs::is_symlink(root_ / "link"));
  EXPECT_EQ(get("real"), "new");
}

TEST_F(Disk, AFileThatCannotBeWrittenLeavesNothing) {
  put("file", "old");
  fs::create_directories(root_ / "folder");
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  const Names before = all();
  for (const char* name : {"none/a", "file/a", "folder", "folder/", "pipe"}) {
    SCOPED_TRACE(name);
    EXPECT_EQ(refusal([&] { write_file_atomically(path(name), "new"); }).where, path(name));
  }
  EXPECT_THAT(refusal([&] { write_file_atomically(path("none/a"), "new"); }).what,
              HasSubstr("No such file"));
  refusal([] { write_file_atomically("", "new"); });
  refusal([] { write_file_atomically("/dev/null", "new"); });
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  EXPECT_EQ(all(), before);
  EXPECT_EQ(get("file"), "old");
}

// A file-size limit makes the write fail after 1000 of 5000 bytes.
TEST_F(Disk, AWriteThatFailsHalfWayKeepsTheOldFile) {
  put("a", "old");
  const auto write_with_limit = [this] {
    const rlimit limit{.rlim_cur = 1000, .rlim_max = 1000};
    ::signal(SIGXFSZ, SIG_IGN);
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      write_file_atomically(path("a"), std::string(5000, 'x'));
    } catch (const InputError& error) {
      std::cerr << error.what() << '\n';
      ::_exit(7);
    }
    ::_exit(0);
  };
  EXPECT_EXIT(write_with_limit(), ::testing::ExitedWithCode(7), "cannot write: File too large");
  EXPECT_EQ(all(), (Names{"a"}));
  EXPECT_EQ(get("a"), "old");
}

TEST_F(Disk, ARunFolderAppearsOnCommitOnly) {
  {
    RunFolder folder(path("runs/deep/one") + "//", false);
    EXPECT_EQ(folder.path(), path("runs/deep/one"));
    folder.write("result.json", "{}");
    write_file_atomically(folder.staged("config.toml"), "x");
    const std::string hidden = "runs/deep/.one.partial-" + std::to_string(::getpid());
    EXPECT_EQ(all(), (Names{"runs", "runs/deep", hidden, hidden + "/result.json",
                            hidden + "/config.toml"}));
    EXPECT_EQ(folder.commit(), "");
    EXPECT_TRUE(folder.committed());
  }
  EXPECT_EQ(all(), (Names{"runs", "runs/deep", "runs/deep/one", "runs/deep/one/result.json",
                          "runs/deep/one/config.toml"}));
  EXPECT_EQ(get("runs/deep/one/result.json"), "{}");
}

TEST_F(Disk, ARunWithoutCommitLeavesNothing) {
  put("kept/file", "");
  const Names before = all();
  {
    RunFolder folder(path("kept/runs/one"), false);
    folder.write("result.json", "{}");
  }
  EXPECT_EQ(all(), before);
}

TEST_F(Disk, TwoRunsInOneProcessDoNotMeet) {
  RunFolder first(path("one"), false);
  RunFolder second(path("one"), false);
  EXPECT_NE(first.staged(""), second.staged(""));
  first.write("result.json", "first");
  second.write("result.json", "second");
  EXPECT_EQ(first.commit(), "");
  put("one-2", "in the way");
  const std::string note = second.commit();
  EXPECT_THAT(note, HasSubstr("the run folder is " + path("one-3")));
  EXPECT_EQ(second.path(), path("one-3"));
  EXPECT_EQ(all(), (Names{"one", "one/result.json", "one-2", "one-3", "one-3/result.json"}));
  EXPECT_EQ(get("one/result.json"), "first");
  EXPECT_EQ(get("one-3/result.json"), "second");
}

TEST_F(Disk, AnExistingPathIsRefusedWithoutForce) {
  put("run/result.json", "old");
  put("file", "");
  fs::create_directories(root_ / "empty");
  fs::create_symlink("nowhere", root_ / "dangling");
  const Names before = all();
  for (const char* name : {"run", "file", "empty", "dangling"}) {
    SCOPED_TRACE(name);
    const ErrorInfo info = refusal([&] { RunFolder folder(path(name), false); });
    EXPECT_EQ(info.where, path(name));
    EXPECT_THAT(info.remedy, HasSubstr("--force"));
  }
  EXPECT_EQ(all(), before);
}

TEST_F(Disk, ForceReplacesRunFolders) {
  put("a/result.json", "old");
  put("a/old-only", "");
  put("b/config.toml", "old");
  fs::create_directories(root_ / "c");
  for (const std::string name : {"a", "b", "c", "d"}) {
    RunFolder folder(path(name), true);
    folder.write("result.json", "new");
    EXPECT_NE(get(name + "/result.json"), "new") << "replaced before commit";
    EXPECT_EQ(folder.commit(), "");
  }
  EXPECT_EQ(all(), (Names{"a", "a/result.json", "b", "b/result.json", "c", "c/result.json", "d",
                          "d/result.json"}));
  EXPECT_EQ(get("a/result.json"), "new");
}

TEST_F(Disk, ForceTouchesNothingElse) {
  put("home/thesis.tex", "years of work");
  put("file", "old");
  put("run/result.json", "old");
  fs::create_symlink("run", root_ / "link");
  const Names before = all();
  for (const char* name : {"home", "file", "link"}) {
    SCOPED_TRACE(name);
    EXPECT_EQ(refusal([&] { RunFolder folder(path(name), true); }).where, path(name));
  }
  const fs::path working = fs::current_path();
  fs::current_path(root_ / "run");
  EXPECT_THAT(refusal([&] { RunFolder folder(path("run"), true); }).what, HasSubstr("working"));
  fs::current_path(working);
  EXPECT_EQ(all(), before);
  EXPECT_EQ(get("run/result.json"), "old");
}

// The folder turned into something else while the training ran.
TEST_F(Disk, ACommitKeepsWhatMayNotBeReplaced) {
  put("run/result.json", "old");
  {
    RunFolder folder(path("run"), true);
    folder.write("result.json", "new");
    fs::rename(root_ / "run/result.json", root_ / "run/precious");
    EXPECT_THAT(folder.commit(), HasSubstr("the run folder is " + path("run-2")));
    EXPECT_TRUE(folder.committed());
  }
  EXPECT_EQ(all(), (Names{"run", "run/precious", "run-2", "run-2/result.json"}));
  EXPECT_EQ(get("run/precious"), "old");
}

TEST_F(Disk, AFailingCommitIsAnErrorAndLeavesNothing) {
  RunFolder folder(path("gone"), false);
  fs::remove_all(folder.staged(""));
  EXPECT_THAT(refusal([&] { folder.commit(); }).what, HasSubstr("No such file"));
  EXPECT_FALSE(folder.committed());
  EXPECT_EQ(folder.path(), path("gone"));
  EXPECT_EQ(all(), Names{});
}

TEST_F(Disk, APlaceThatCannotBeWrittenIsRefusedUpFront) {
  put("file", "");
  const Names before = all();
  EXPECT_THAT(refusal([&] { RunFolder folder(path("file/run"), false); }).what,
              HasSubstr("is not a folder"));
  EXPECT_THAT(refusal([] { RunFolder folder("/proc/cuthresh-run", false); }).what,
              HasSubstr("cannot write to the folder /proc"));
  EXPECT_THAT(refusal([] { RunFolder folder("/proc/cuthresh/run", false); }).what,
              HasSubstr("cannot make the folder /proc/cuthresh"));
  EXPECT_THAT(refusal([&] { RunFolder folder(path("new/") + std::string(300, 'x'), false); }).what,
              HasSubstr("too long"));
  for (const char* name : {"", ".", "..", "/", "a/.."}) {
    SCOPED_TRACE(name);
    refusal([&] { RunFolder folder(name, true); });
  }
  EXPECT_EQ(all(), before);
  if (::geteuid() == 0) return;  // root writes everywhere
  fs::permissions(root_, fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_THAT(refusal([&] { RunFolder folder(path("run"), false); }).what,
              HasSubstr("Permission denied"));
  fs::permissions(root_, fs::perms::owner_all);
}

FitResult sample_result() {
  FitResult result;
  result.outcome = Outcome::kCrossed;
  result.achieved = true;
  result.why_stopped = "reached 1999 of 2000 \xE2\x80\x94 \"in band\"";
  result.nnz = 1999;
  result.numel = 25408;
  result.target_nnz = 2000;
  result.best_round = 2;
  result.best_candidate = 3;
  result.candidate_steps_per_second = 1500.5;
  result.steps_total = (std::int64_t{1} << 53) + 1;
  result.train_loss = 0.1;
  result.test_loss = std::numeric_limits<double>::quiet_NaN();
  result.seconds = 1.25;
  result.device = "cpu";
  result.bytes_to_host = (std::uint64_t{1} << 32) + 1;
  result.bytes_to_host_search = (std::uint64_t{1} << 32) - 1;
  result.train_accuracy = 0.875;
  result.dense = NetworkScores{500, 0.05, std::nan(""), 0.9375, std::nullopt};
  result.before_debias = NetworkScores{400, 0.25, 0.5, std::nullopt, 0.75};
  result.layers = {{"fc1", 768, 700, 650, 1e-4, 0.25, std::nullopt, true, 0.125},
                   {"fc2", 16384, 1299, std::nullopt, 0.0, std::nullopt, 0.5, false}};
  result.rounds = {{1, {1e-3, 2e-3}, {3, 4}, 500, NAN, NAN, false, true, 0.5},
                   {2, {1e-4}, {1999}, 499, 0.1, 1.0 / 3.0, true, false, 0.75, 0.5, 0.25, 3}};
  return result;
}

TEST(Report, ResultJsonHoldsEveryKey) {
  FitConfig config;
  config.run.seed = ~std::uint64_t{0};
  config.sparsity.tolerance = 0.05;
  const std::string text = result_json(sample_result(), config, "9.8.7");
  EXPECT_EQ(text.back(), '\n');
  EXPECT_THAT(text, HasSubstr("\n  \"schema\": \"cuthresh/result/1\","));
  const auto expected = nlohmann::json::parse(R"({
    "schema": "cuthresh/result/1", "version": "9.8.7", "achieved": true, "outcome": "crossed",
    "why_stopped": "reached 1999 of 2000 \u2014 \"in band\"", "nnz": 1999, "numel": 25408,
    "target_nnz": 2000, "tolerance": 0.05, "sparsity": 0.921323992443325, "rounds": 2,
    "trainings": 2, "best_round": 2, "best_candidate": 3, "candidate_steps_per_second": 1500.5, "steps_total": 9007199254740993, "train_loss": 0.1, "test_loss": null,
    "train_accuracy": 0.875, "test_accuracy": null, "dense": {"steps": 500, "train_loss": 0.05,
      "test_loss": null, "train_accuracy": 0.9375, "test_accuracy": null},
    "before_debias": {"steps": 400, "train_loss": 0.25, "test_loss": 0.5, "train_accuracy": null,
      "test_accuracy": 0.75}, "seconds": 1.25, "device": "cpu",
    "bytes_to_host": 4294967297, "bytes_to_host_search": 4294967295, "seed": 18446744073709551615,
    "layers": [
      {"name": "fc1", "numel": 768, "nnz": 700, "target_nnz": 650, "shared_target_nnz": null, "lambda": 1e-4,
       "kkt_nonzero": 0.25, "kkt_zero": null, "gradient_nonzero": 0.125, "reached": true},
      {"name": "fc2", "numel": 16384, "nnz": 1299, "target_nnz": null, "shared_target_nnz": null, "lambda": 0.0,
       "kkt_nonzero": null, "kkt_zero": 0.5, "gradient_nonzero": null, "reached": false}],
    "rounds_detail": [
      {"round": 1, "candidate": 1, "lambda": [1e-3, 2e-3], "nnz": [3, 4], "steps": 500, "train_loss": null,
       "test_loss": null, "train_accuracy": null, "test_accuracy": null, "hit": false, "diverged": true, "seconds": 0.5},
      {"round": 2, "candidate": 3, "lambda": [1e-4], "nnz": [1999], "steps": 499, "train_loss": 0.1,
       "test_loss": 0.3333333333333333, "train_accuracy": 0.5, "test_accuracy": 0.25, "hit": true, "diverged": false, "seconds": 0.75}]})");
  EXPECT_EQ(nlohmann::json::parse(text), expected);
}

TEST(Report, OutcomesAndOddValues) {
  FitResult result;
  result.device = "\xFF";
  result.test_accuracy = 0.5;
  result.train_loss = std::numeric_limits<double>::infinity();
  for (const auto& [outcome, name] : {std::pair{Outcome::kCrossed, "crossed"},
                                      {Outcome::kConverged, "converged"},
                                      {Outcome::kKept, "kept"},
                                      {Outcome::kMissed, "missed"},
                                      {Outcome::kFixed, "fixed"}}) {
    result.outcome = outcome;
    const auto json = nlohmann::json::parse(result_json(result, FitConfig{}, "1"));
    EXPECT_EQ(json["outcome"], name);
    EXPECT_TRUE(json["target_nnz"].is_null());
    EXPECT_TRUE(json["sparsity"].is_null()) << "no weights, no share";
    EXPECT_TRUE(json["train_loss"].is_null());
    EXPECT_EQ(json["test_accuracy"], 0.5);
    EXPECT_EQ(json["device"], "\xEF\xBF\xBD");
    EXPECT_EQ(json["layers"], nlohmann::json::array());
  }
}

TEST(Report, HistoryHasALineARow) {
  HistoryCsv history;
  history.add_step({1, 10, {1e-3, 2e-3}, {3, 4}, NAN, NAN, {}, {}, 0.25});
  history.add_step({1, 20, {1e-3, 2e-3}, {3, 4}, 0.5, 0.75, 0.125, 1.0, 0.25});
  for (const RoundResult& round : sample_result().rounds) history.add_round(round);
  EXPECT_EQ(history.text(),
            "kind,round,step,lambda,nnz,train_loss,test_loss,train_accuracy,test_accuracy,hit,"
            "diverged,seconds\n"
            "step,1,10,0.001;0.002,3;4,,,,,,,0.25\n"
            "step,1,20,0.001;0.002,3;4,0.5,0.75,0.125,1,,,0.25\n"
            "round,1,500,0.001;0.002,3;4,,,,,0,1,0.5\n"
            "round,2,499,1e-04,1999,0.1,0.3333333333333333,0.5,0.25,1,0,0.75\n");
}

TEST(Report, HistoryNumbersRoundTrip) {
  const double values[] = {0.1, 1.0 / 3.0, 5e-324, 1.7976931348623157e308, 1.92e-4f, -0.0, 1e22};
  for (const double value : values) {
    HistoryCsv history;
    history.add_step({1, 1, {value}, {1}, value, NAN, {}, {}, 0.0});
    std::istringstream lines(history.text());
    std::string line;
    std::getline(lines, line);
    std::getline(lines, line);
    std::vector<std::string> fields;
    std::istringstream row(line);
    for (std::string field; std::getline(row, field, ',');) fields.push_back(field);
    ASSERT_EQ(fields.size(), 12U);
    EXPECT_EQ(std::strtod(fields[3].c_str(), nullptr), value);
    EXPECT_EQ(std::signbit(std::strtod(fields[5].c_str(), nullptr)), std::signbit(value));
  }
}

}  // namespace
}  // namespace cuthresh
