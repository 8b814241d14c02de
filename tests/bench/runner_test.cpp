// The runner with workloads that keep or break their promises, and a clock that only takes notes.

#include "bench/core/runner.hpp"

#include <gmock/gmock.h>

#include "bench/core/progress.hpp"
#include "bench/planted.hpp"
#include "core/registry.hpp"

namespace cuthresh::bench {
namespace {

using testing::Breaks;
using ::testing::ElementsAre;
using testing::FakeClock;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Log;
using testing::planted_case;

class Watching final : public Observer {
 public:
  void begin(const std::string& what, std::int64_t number, std::int64_t all) override {
    begun.push_back(what);
    EXPECT_EQ(number, static_cast<std::int64_t>(begun.size()));
    items = all;
  }
  void failed(const std::string& name, const std::string& message) override {
    failures.push_back(name + ": " + message);
  }
  std::vector<std::string> begun, failures;
  std::int64_t items = 0;
};

class RunnerTest : public ::testing::Test {
 protected:
  RunnerTest() {
    room_.free_bytes = 1'000'000;
    room_.cache_bytes = 1000;
  }
  /// Two ways for every pattern, of which the second one is timed as the slower one.
  std::vector<CeilingWay> ways(Traffic) {
    const auto way = [this](const std::string& how) {
      return CeilingWay{how, [this, how](const Room&, std::int64_t footprint, std::int64_t sets) {
                          const std::string name = how + " of " + std::to_string(footprint);
                          return std::make_unique<testing::Planted>(name, sets, ceiling_breaks_,
                                                                    log_);
                        }};
    };
    return {way("first way"), way("second way")};
  }
  Findings run(
      const std::vector<Case>& cases, std::function<bool()> interrupted = [] { return false; }) {
    Runner runner(
        room_, clock_, [this](Traffic t) { return ways(t); }, watching_, std::move(interrupted));
    return runner.run(cases);
  }
  Case case_of(const std::string& name, Breaks breaks = Breaks::kNothing) {
    return planted_case(name, log_, breaks);
  }

  std::unique_ptr<Backend> backend_ =
      make_backend({.device = "cpu", .engine = "reference", .threads = 1}).backend;
  Room room_{*backend_};
  Log log_;
  FakeClock clock_{log_};
  Watching watching_;
  Breaks ceiling_breaks_ = Breaks::kNothing;
};

TEST_F(RunnerTest, ChecksThenTimesTwiceAndLooksAfterEach) {
  Case c = case_of("group/one");
  c.max_calls = 9;
  c.max_samples = 4;
  c.waits = true;
  c.work = {600.0, 2.0};
  const Findings found = run({c});
  EXPECT_THAT(log_.lines, ElementsAre("make group/one 1", "check group/one", "time 1 9 4 waits",
                                      "after group/one 5", "time 1 9 4 waits", "after group/one 5",
                                      "drop group/one"));
  ASSERT_EQ(found.rows.size(), 1U);
  const Row& row = found.rows.front();
  EXPECT_EQ(row.name, "group/one");
  EXPECT_EQ(row.group, "group");
  EXPECT_FALSE(row.cold);
  EXPECT_EQ(row.timing.median_us, 10.0);
  EXPECT_EQ(row.again.median_us, 11.0);
  EXPECT_EQ(row.checked, "3 entries");
  EXPECT_EQ(row.work.flops, 2.0);
  EXPECT_EQ(row.more.at("nnz"), 7.0);
  EXPECT_FALSE(row.ceiling_gb_per_s);
  EXPECT_THAT(found.left_out, IsEmpty());
  EXPECT_EQ(found.failures, 0);
}

TEST_F(RunnerTest, WhatFailsHasNoRowAndAllOthersRun) {
  const Findings found =
      run({case_of("a", Breaks::kCheck), case_of("b"), case_of("c", Breaks::kAfter), case_of("d"),
           case_of("e", Breaks::kMaking), case_of("f", Breaks::kCall), case_of("g")});
  std::vector<std::string> names;
  for (const Row& row : found.rows) names.push_back(row.name);
  EXPECT_THAT(names, ElementsAre("b", "d", "g"));
  EXPECT_EQ(found.failures, 4);
  EXPECT_THAT(watching_.failures, ElementsAre("a: check failed: entry 3 is 1, not 2",
                                              "c: check failed: steps were not taken",
                                              "e: out of memory", "f: launch failed"));
  ASSERT_EQ(found.left_out.size(), 4U);
  EXPECT_EQ(found.left_out[0].name, "a");
  EXPECT_THAT(found.left_out[0].reason, HasSubstr("entry 3"));
}

TEST_F(RunnerTest, WhatFailsItsCheckIsNotTimed) {
  run({case_of("a", Breaks::kCheck)});
  EXPECT_THAT(log_.lines, ElementsAre("make a 1", "check a", "drop a"));
}

TEST_F(RunnerTest, WhatDoesNotFitIsSaidAndNotMade) {
  Case large = case_of("large");
  large.set_bytes = 900'000;
  large.more_bytes = 200'000;
  Case just = case_of("just");
  just.set_bytes = 900'000;
  just.more_bytes = 100'000;
  const Findings found = run({large, just});
  ASSERT_EQ(found.left_out.size(), 1U);
  EXPECT_EQ(found.left_out[0].name, "large");
  EXPECT_EQ(found.left_out[0].reason, "needs 1.10 MB, 1.00 MB are free");
  EXPECT_EQ(found.rows.size(), 1U);
  EXPECT_EQ(found.failures, 0);
}

TEST_F(RunnerTest, WhatTheRoomLacksIsSaid) {
  Case c = case_of("conv");
  c.lacks = [this](const Room& room) {
    EXPECT_EQ(&room.backend, backend_.get());
    return "no cuDNN";
  };
  const Findings found = run({c});
  ASSERT_EQ(found.left_out.size(), 1U);
  EXPECT_EQ(found.left_out[0].reason, "no cuDNN");
  EXPECT_THAT(log_.lines, IsEmpty());
}

TEST_F(RunnerTest, RotatesOverFourTimesTheCache) {
  Case c = case_of("small");  // 1,000 bytes, as the cache
  c.rotates = true;
  Case odd = case_of("odd");
  odd.set_bytes = 999;
  odd.rotates = true;
  Case large = case_of("large");
  large.set_bytes = 4000;
  large.rotates = true;
  const Findings found = run({c, odd, large});
  std::vector<std::string> made;
  for (const std::string& line : log_.lines) {
    if (line.rfind("make", 0) == 0) made.push_back(line);
  }
  EXPECT_THAT(made, ElementsAre("make small 1", "make small 4", "make odd 1", "make odd 5",
                                "make large 1"));
  std::vector<bool> cold;
  for (const Row& row : found.rows) cold.push_back(row.cold);
  EXPECT_THAT(cold, ElementsAre(false, true, false, true, true));
}

TEST_F(RunnerTest, AColdRowThatDoesNotFitLeavesTheWarmOne) {
  room_.free_bytes = 3999;
  Case c = case_of("small");
  c.rotates = true;
  const Findings found = run({c});
  EXPECT_EQ(found.rows.size(), 1U);
  ASSERT_EQ(found.left_out.size(), 1U);
  EXPECT_EQ(found.left_out[0].name, "small, cold");
}

TEST_F(RunnerTest, CeilingsComeFirstAndAgainAtTheEnd) {
  Case c = case_of("step");
  c.traffic = Traffic::kStream;
  c.work.bytes = 1200.0;  // y = y + x over 400 bytes each
  Case same = case_of("same");
  same.traffic = Traffic::kStream;
  same.work.bytes = 1212.0;
  const Findings found = run({c, same});
  EXPECT_THAT(watching_.begun,
              ElementsAre(HasSubstr("stream 2:1"), "step", "same", HasSubstr("again")));
  EXPECT_EQ(watching_.items, 4);
  ASSERT_EQ(found.ceilings.size(), 1U);
  const Ceiling& ceiling = found.ceilings[0];
  EXPECT_EQ(ceiling.footprint, 800);
  EXPECT_EQ(ceiling.how, "first way");
  EXPECT_EQ(ceiling.first.median_us, 10.0);
  EXPECT_EQ(ceiling.last.median_us, 16.0);  // after two ways and two cases, twice each
  EXPECT_THAT(log_.lines[0], "make first way of 800 1");
  EXPECT_THAT(log_.lines[1], "check first way of 800");
  for (const Row& row : found.rows) {
    ASSERT_TRUE(row.ceiling_gb_per_s);
    EXPECT_DOUBLE_EQ(*row.ceiling_gb_per_s, 1200.0 / 10.0 * 1e-3);
  }
}

TEST_F(RunnerTest, ACeilingForEveryPatternSizeAndTemperature) {
  Case read = case_of("read");
  read.traffic = Traffic::kRead;
  read.work.bytes = 1000.0;
  read.rotates = true;
  Case copy = case_of("copy");
  copy.traffic = Traffic::kCopy;
  copy.work.bytes = 1000.0;
  Case twice = case_of("twice");
  twice.traffic = Traffic::kCopy;
  twice.work.bytes = 2000.0;
  const Findings found = run({read, copy, twice});
  ASSERT_EQ(found.ceilings.size(), 4U);
  EXPECT_TRUE(found.ceilings[1].cold);
  EXPECT_EQ(found.ceilings[3].footprint, 2000);
  EXPECT_THAT(log_.lines, ::testing::Contains("make first way of 1000 4"));
}

TEST_F(RunnerTest, ACeilingThatFailsItsCheckIsAFailure) {
  ceiling_breaks_ = Breaks::kCheck;
  Case c = case_of("step");
  c.traffic = Traffic::kCopy;
  c.work.bytes = 1000.0;
  const Findings found = run({c});
  EXPECT_EQ(found.failures, 1);
  EXPECT_THAT(found.ceilings, IsEmpty());
  ASSERT_EQ(found.rows.size(), 1U);
  EXPECT_FALSE(found.rows[0].ceiling_gb_per_s);
}

TEST_F(RunnerTest, AnInterruptEndsAfterThePresentCase) {
  const Findings found =
      run({case_of("a"), case_of("b"), case_of("c")}, [&] { return watching_.begun.size() >= 2; });
  EXPECT_TRUE(found.interrupted);
  EXPECT_EQ(found.rows.size(), 2U);
  ASSERT_EQ(found.left_out.size(), 1U);
  EXPECT_EQ(found.left_out[0].name, "c");
  EXPECT_EQ(found.left_out[0].reason, "interrupted before it ran");
  EXPECT_EQ(found.failures, 0);
}

TEST_F(RunnerTest, AnInterruptKeepsTheCeilingsThatThereAre) {
  Case c = case_of("step");
  c.traffic = Traffic::kCopy;
  c.work.bytes = 1000.0;
  const Findings found = run({c}, [&] { return watching_.begun.size() >= 2; });
  ASSERT_EQ(found.ceilings.size(), 1U);
  EXPECT_EQ(found.ceilings[0].last.samples, 0);
  EXPECT_TRUE(found.rows.at(0).ceiling_gb_per_s);
  const Findings none = run({c}, [] { return true; });
  EXPECT_THAT(none.ceilings, IsEmpty());
  EXPECT_THAT(none.rows, IsEmpty());
}

/// What a progress line writes into a file.
std::string written(bool terminal) {
  std::FILE* file = std::tmpfile();
  ProgressLine line(file, terminal);
  line.begin("group/one", 3, 12);
  line.failed("group/one", "check failed: x");
  line.end();
  std::rewind(file);
  char text[256] = {};
  const std::size_t size = std::fread(text, 1, sizeof text, file);
  std::fclose(file);
  return {text, size};
}

TEST(Progress, GoesToTerminalsOnly) {
  EXPECT_EQ(written(false), "cuthresh-bench: group/one: check failed: x\n");
  EXPECT_THAT(written(true), HasSubstr("[3/12] group/one"));
}

}  // namespace
}  // namespace cuthresh::bench
