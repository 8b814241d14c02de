#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

#include "cpu/parallel.hpp"

namespace cuthresh::cpu {
namespace {

TEST(Threads, EveryPartRunsOnce) {
  const Threads threads(3);
  for (int repeat = 0; repeat < 200; ++repeat) {
    std::vector<int> seen(8, 0);  // plain ints: ThreadSanitizer must see the hand-over
    threads.run(8, [&](int part, int parts) { seen[static_cast<std::size_t>(part)] += parts; });
    EXPECT_EQ(seen, std::vector<int>(8, 8));
  }
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
  EXPECT_THROW(threads.run(4, [](int part, int) { if (part == 3) throw std::runtime_error("part"); }),
               std::runtime_error);
}

TEST(Threads, NestedRunsStillRunEveryPart) {
  const Threads threads(2);
  std::atomic<int> runs{0};
  threads.run(2, [&](int, int) { threads.run(3, [&](int, int) { ++runs; }); });
  EXPECT_EQ(runs.load(), 6);
}

}  // namespace
}  // namespace cuthresh::cpu
