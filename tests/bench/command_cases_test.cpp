// The benchmark's cases that start the command, on commands that are shell scripts: what they print
// and how they end is looked at, and so is the memory that they hold.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "bench/cases/cases.hpp"
#include "bench/cases/searches.hpp"
#include "bench/core/child.hpp"
#include "bench/core/temporary_folder.hpp"
#include "cuthresh/cuthresh.h"
#include "cuthresh/fit.hpp"
#include "support/engines.hpp"

namespace cuthresh::testing {
namespace {

namespace fs = std::filesystem;

class CommandCases : public ::testing::Test {
 protected:
  /// A program that does what `lines` say.
  std::string script(const std::string& lines) {
    const fs::path path = folder_ / "cuthresh";
    std::ofstream(path) << "#!/bin/sh\n" << lines << '\n';
    fs::permissions(path, fs::perms::owner_all);
    return path.string();
  }
  std::map<std::string, bench::Case> cases(const std::string& command) {
    std::map<std::string, bench::Case> by_name;
    for (const bench::Case& c : bench::command_cases(room_, command)) by_name[c.name] = c;
    return by_name;
  }
  void expect_refused(const std::string& name, const std::string& lines, const std::string& why) {
    SCOPED_TRACE(lines);
    const auto workload = cases(script(lines)).at(name).make(room_, 1);
    try {
      workload->check();
      ADD_FAILURE() << "nothing was found";
    } catch (const bench::CheckFailed& failed) {
      EXPECT_NE(std::string(failed.what()).find(why), std::string::npos) << failed.what();
    }
  }

  bench::TemporaryFolder folder_;
  std::unique_ptr<Backend> backend_ = cpu::make_cpu_backend("reference", 1);
  bench::Room room_{*backend_, 1, std::int64_t{1} << 30, std::int64_t{1} << 20, true};
};

TEST_F(CommandCases, AreLeftOutWithoutTheCommand) {
  for (const auto& [name, c] : cases("")) {
    EXPECT_NE(c.lacks(room_).find("no cuthresh"), std::string::npos) << name;
  }
  for (const auto& [name, c] : cases("/bin/true")) EXPECT_EQ(c.lacks(room_), "") << name;
}

TEST_F(CommandCases, LookAtWhatIsPrintedAndAtTheStatus) {
  const std::string version = std::string("echo cuthresh ") + cth_version();
  EXPECT_NO_THROW(cases(script(version)).at("command/startup/version").make(room_, 1)->check());
  expect_refused("command/startup/version", "echo cuthresh 9.9.9", "9.9.9");
  expect_refused("command/startup/version", version + "; exit 5", "exit status 5");
  expect_refused("command/startup/version", "kill -9 $$", "exit status 137");
  expect_refused("command/startup/inspect", "echo 25,408 weights", "25,729");
  expect_refused("command/startup/fit_one_step", "echo no memory >&2; exit 1", "no memory");
}

// A fit is one that was made here, copied to where --out says.
TEST_F(CommandCases, HoldAFitToItsLossInFloat64AndToItsCount) {
  const std::string name = "command/startup/fit_one_step";
  FitConfig config = bench::single_search();
  config.search.method = "fixed";
  config.search.lambda = {1e-4};
  config.train.steps = 1;
  config.run.out = (folder_ / "made").string();
  fit(config);
  const std::string copy = "cp -r " + config.run.out + " \"$5\"\n";
  const auto changed = [&](const std::string& what) {
    return copy + "sed -i 's/" + what + "/' \"$5\"/result.json; exit 3";
  };
  EXPECT_NO_THROW(cases(script(copy + "exit 3")).at(name).make(room_, 1)->check());
  expect_refused(name, changed("\"test_loss\": 0[.]4/\"test_loss\": 0.41"), "test loss 0.41");
  expect_refused(name, changed("\"nnz\": 25/\"nnz\": 24"), "24");
  expect_refused(name, changed("\"steps_total\": 1/\"steps_total\": 2"), "2 steps");
  expect_refused(name, copy, "exit status 0");
}

TEST_F(CommandCases, RefuseACommandThatCannotBeStarted) {
  const std::string nowhere = (folder_ / "nowhere").string();
  EXPECT_THROW(bench::run_child({nowhere}, (folder_ / "output").string()), InternalError);
}

// Whatever this process holds, a child's peak is the child's own.
TEST_F(CommandCases, AChildsPeakIsItsOwn) {
  const std::string output = (folder_ / "output").string();
  const std::vector<char> ours(64 << 20, 'x');
  const auto peak = [&](const std::string& lines) {
    const bench::ChildRun run = bench::run_child({script(lines)}, output, bench::Watch::kMemory);
    EXPECT_EQ(run.status, 0) << lines << ours[1];
    return run.peak_bytes;
  };
  EXPECT_GT(peak("sleep 0.1"), 100'000);
  EXPECT_LT(peak("sleep 0.1"), 32 << 20);
  // A line of 40 million characters is held by the shell, at least once.
  EXPECT_GT(peak("x=$(head -c 40000000 /dev/zero | tr '\\0' a); sleep 0.1"), 40'000'000);
}

}  // namespace
}  // namespace cuthresh::testing
