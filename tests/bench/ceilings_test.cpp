// The loops that are called ceilings: right results by every way, and a check that finds wrong
// ones.

#include <gmock/gmock.h>

#include <cstring>
#include <limits>

#include "bench/ceilings/cpu_loops.hpp"
#include "bench/ceilings/mover.hpp"
#include "bench/core/instruments.hpp"
#include "core/registry.hpp"

namespace cuthresh::bench {
namespace {

constexpr Traffic kTraffics[] = {Traffic::kRead, Traffic::kCopy, Traffic::kStream};

class Ceilings : public ::testing::TestWithParam<std::int64_t> {
 protected:
  std::unique_ptr<Backend> backend_ =
      make_backend({.device = "cpu", .engine = "reference", .threads = GetParam()}).backend;
  std::unique_ptr<Instruments> instruments_ = make_cpu_instruments(*backend_, GetParam(), {});
  Room room_{*backend_};
};

TEST_P(Ceilings, EveryWayMovesWhatItSays) {
  EXPECT_EQ(instruments_->threads(), GetParam());
  for (const Traffic traffic : kTraffics) {
    const std::vector<CeilingWay> ways = instruments_->ways(traffic);
    EXPECT_FALSE(ways.empty());
    for (const CeilingWay& way : ways) {
      // One unit, a few, more than a thread's share, an odd number of them, more than a page's.
      for (const std::int64_t footprint : {1, 512, 5 * 512, 40 * 1024, 1'000'000, 9'000'000}) {
        SCOPED_TRACE(way.how + ", " + std::to_string(footprint));
        const auto workload = way.make(room_, footprint, 3);
        EXPECT_NO_THROW(workload->check());
        workload->call(2);
        backend_->synchronize();
        EXPECT_NO_THROW(workload->check_after(1));
      }
    }
  }
}

TEST_P(Ceilings, MachineIsKnown) {
  EXPECT_GT(instruments_->cache_bytes(), 0);
  EXPECT_GT(instruments_->free_bytes(), 0);
}

INSTANTIATE_TEST_SUITE_P(Threads, Ceilings, ::testing::Values(1, 2, 3));

/// Also those that this processor's best ones keep from being taken.
TEST(MoveLoops, OfEveryInstructionSetMoveWhatTheySay) {
  const auto backend = make_backend({.device = "cpu", .engine = "reference", .threads = 1}).backend;
  const Room room{*backend};
  std::vector<const MoveLoops*> tables = {&kMoveBaseline};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) tables.push_back(&kMoveAvx2);
  if (__builtin_cpu_supports("avx512f")) tables.push_back(&kMoveAvx512);
#endif
  for (const MoveLoops* loops : tables) {
    const auto check = [&](Traffic traffic, const Mover& mover) {
      EXPECT_NO_THROW(make_mover_workload(room, traffic, 50 * 512, 1, mover)->check());
    };
    check(Traffic::kRead, [&](const float* x, float* y, std::int64_t n) {
      *reinterpret_cast<std::uint32_t*>(y) += loops->sum_bits(x, n);
    });
    check(Traffic::kCopy, loops->copy);
    check(Traffic::kCopy, loops->copy_streaming);
    check(Traffic::kStream, loops->add);
    check(Traffic::kStream, loops->add_streaming);
  }
}

TEST(MoverCheck, FindsLoopsThatDoNotDoTheirWork) {
  const auto backend = make_backend({.device = "cpu", .engine = "reference", .threads = 1}).backend;
  const Room room{*backend};
  const auto check = [&](Traffic traffic, const Mover& mover) {
    make_mover_workload(room, traffic, 64'000, 1, mover)->check();
  };
  const Mover nothing = [](const float*, float*, std::int64_t) {};
  const Mover all_but_one = [](const float* x, float* y, std::int64_t n) {
    std::memcpy(y, x, static_cast<std::size_t>(n - 1) * sizeof(float));
  };
  for (const Traffic traffic : kTraffics) EXPECT_THROW(check(traffic, nothing), CheckFailed);
  EXPECT_THROW(check(Traffic::kCopy, all_but_one), CheckFailed);
  EXPECT_THROW(check(Traffic::kStream, all_but_one), CheckFailed);
}

TEST(MoverCheck, FindsValuesThatAreNotFiniteAfterwards) {
  const auto backend = make_backend({.device = "cpu", .engine = "reference", .threads = 1}).backend;
  const Room room{*backend};
  const auto workload = make_mover_workload(room, Traffic::kStream, 64'000, 1,
                                            [](const float*, float* y, std::int64_t n) {
                                              y[n / 2] = std::numeric_limits<float>::infinity();
                                            });
  workload->call(0);
  EXPECT_THROW(workload->check_after(1), CheckFailed);
}

}  // namespace
}  // namespace cuthresh::bench
