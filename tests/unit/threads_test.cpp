#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "cpu/parallel.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::cpu {
namespace {

TEST(Threads, EveryPartRunsOnce) {
  const Threads threads(4);
  for (int repeat = 0; repeat < 5000; ++repeat) {
    const int parts = 1 + repeat % 4;
    std::vector<int> seen(4, 0);  // plain ints: ThreadSanitizer must see the hand-over
    threads.run(parts, [&](int part, int all) { seen[static_cast<std::size_t>(part)] += all; });
    std::vector<int> want(4, 0);
    for (int part = 0; part < parts; ++part) want[static_cast<std::size_t>(part)] = parts;
    ASSERT_EQ(seen, want);
  }
}

TEST(Threads, SleepersWakeUp) {
  const Threads threads(3);
  for (int repeat = 0; repeat < 5; ++repeat) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // far beyond the spinning
    std::vector<int> seen(3, 0);
    threads.run(3, [&](int part, int) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      ++seen[static_cast<std::size_t>(part)];
    });
    EXPECT_EQ(seen, std::vector<int>(3, 1));
  }
}

TEST(Threads, MorePartsThanThreadsAreCut) {
  const Threads threads(2);
  std::vector<int> seen(2, 0);
  threads.run(9, [&](int part, int all) { seen[static_cast<std::size_t>(part)] += all; });
  EXPECT_EQ(seen, std::vector<int>(2, 2));
}

TEST(Threads, RangesCoverWithoutOverlapAtUnitBoundaries) {
  const Threads threads(3);
  for (const std::int64_t size : {0L, 1L, 3L, 4L, 5L, 1000L, 1003L}) {
    for (const std::int64_t grain : {1L, 10L, 5000L}) {
      std::vector<int> seen(static_cast<std::size_t>(size), 0);
      threads.ranges(size, grain, 4, [&](std::int64_t begin, std::int64_t end) {
        EXPECT_EQ(begin % 4, 0);
        for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
      });
      EXPECT_EQ(seen, std::vector<int>(static_cast<std::size_t>(size), 1));
    }
  }
}

TEST(Threads, AnExceptionOfAPartComesBack) {
  const Threads threads(2);
  EXPECT_THROW(threads.run(2,
                           [](int part, int) {
                             if (part == 1) throw std::runtime_error("part");
                           }),
               std::runtime_error);
}

TEST(Threads, NestedRunsStillRunEveryPart) {
  const Threads threads(2);
  std::atomic<int> runs{0};
  threads.run(2, [&](int, int) { threads.run(3, [&](int, int) { ++runs; }); });
  EXPECT_EQ(runs.load(), 4);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// Leaves this process 128 MiB of address space: room for a few stacks (2 MiB or more each), not for
// 255. Exit status 0: the failure came back as an error.
[[noreturn]] void start_more_threads_than_fit() {
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const rlim_t in_use = pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE));
  const rlimit limit{in_use + (rlim_t{128} << 20), in_use + (rlim_t{128} << 20)};
  if (pages == 0 || ::setrlimit(RLIMIT_AS, &limit) != 0) std::_Exit(3);
  try {
    const Threads threads(256);
  } catch (const InternalError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::_Exit(error.info().remedy.find("run.threads") != std::string::npos ? 0 : 4);
  }
  std::_Exit(5);
}

TEST(ThreadsDeathTest, AThreadThatCannotBeStartedIsAnErrorAndEndsTheOthers) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(start_more_threads_than_fit(), ::testing::ExitedWithCode(0),
              "could not start thread [0-9]+ of 256");
}
#endif  // the sanitizers' own memory does not fit into such a limit

}  // namespace
}  // namespace cuthresh::cpu
