// Pooling kernels against room A (0 ulp, winners included) for windows, channels, alignments, grids
// and orders of threads; tests/unit/pool_test.cpp holds both rooms to the definition.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cpu/loops.hpp"
#include "guarded.hpp"
#include "kernels/block/pool.cuh"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::uint32_t kThreads = 256;

struct Pool {
  std::int64_t rows;
  PoolGeometry g;
  std::size_t in() const {
    return static_cast<std::size_t>(rows * g.down.in * g.across.in * g.channels);
  }
  std::size_t out() const {
    return static_cast<std::size_t>(rows * g.down.out * g.across.out * g.channels);
  }
  AveragePool mean() const { return {static_cast<float>(g.down.window * g.across.window)}; }
};

PoolAxis axis(std::int64_t in, std::int64_t window, std::int64_t stride, std::int64_t pad) {
  return {in, (in + 2 * pad - window) / stride + 1, window, stride, pad};
}

// Few different values, so that many are equal, and some of every special kind.
std::vector<float> tied_values(Random& random, std::size_t n) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const float special[] = {-0.0f, 0.0f, kInf, -kInf, std::nanf(""), 1e-40f};
  std::vector<float> v(n);
  for (float& x : v) {
    x = random.integer(0, 9) == 0 ? special[random.integer(0, 5)]
                                  : static_cast<float>(random.integer(-3, 3));
  }
  return v;
}

// Element offsets of the arrays from a 64-byte boundary.
struct Offsets {
  std::size_t x = 0;
  std::size_t y = 0;
  std::size_t winner = 0;
};

void check_max(const Pool& p, const Offsets& at, std::uint32_t grid, Random& random) {
  const cpu::LayerLoops& room_a = cpu::find_loops("baseline")->layers;
  const std::vector<float> x = tied_values(random, p.in());
  std::vector<float> want(p.out());
  std::vector<std::uint8_t> want_winner(p.out());
  room_a.max_pool(p.g, x.data(), want.data(), want_winner.data(), 0, p.rows * p.g.down.out);
  Guarded<float> from(std::span<const float>(x), at.x);
  Guarded<float> y(p.out(), 9.0f, at.y);
  Guarded<std::uint8_t> winner(p.out(), std::uint8_t{77}, at.winner);
  simt::launch(grid, kThreads, max_pool_kernel<kThreads>, p.g, from.data(), y.data(), winner.data(),
               p.rows);
  ASSERT_EQ(first_difference(y.values(), want), "");
  ASSERT_EQ(winner.values(), want_winner);
  ASSERT_TRUE(y.guards_hold() && winner.guards_hold() && from.guards_hold());
  Guarded<float> alone(p.out(), 9.0f, at.y);
  simt::launch(grid, kThreads, max_pool_kernel<kThreads>, p.g, from.data(), alone.data(), nullptr,
               p.rows);
  ASSERT_EQ(first_difference(alone.values(), want), "");

  const std::vector<float> dy = random.vector(p.out(), -1.0f, 1.0f);
  std::vector<float> want_dx(p.in());
  room_a.max_pool_backward(p.g, dy.data(), want_winner.data(), want_dx.data(), 0,
                           p.rows * p.g.down.in);
  Guarded<float> gradient(std::span<const float>(dy), at.y);
  Guarded<float> dx(p.in(), 9.0f, at.x);
  simt::launch(grid, kThreads, max_pool_backward_kernel<kThreads>, p.g, gradient.data(),
               winner.data(), dx.data(), p.rows);
  ASSERT_EQ(first_difference(dx.values(), want_dx), "");
  ASSERT_TRUE(dx.guards_hold() && gradient.guards_hold());
}

void check_average(const Pool& p, const Offsets& at, std::uint32_t grid, Random& random) {
  const cpu::LayerLoops& room_a = cpu::find_loops("baseline")->layers;
  const std::vector<float> x = random.vector(p.in(), -1.0f, 1.0f);
  std::vector<float> want(p.out());
  room_a.average_pool(p.g, x.data(), want.data(), 0, p.rows * p.g.down.out);
  Guarded<float> from(std::span<const float>(x), at.x);
  Guarded<float> y(p.out(), 9.0f, at.y);
  simt::launch(grid, kThreads, average_pool_kernel<kThreads>, p.g, p.mean(), from.data(), y.data(),
               p.rows);
  ASSERT_EQ(first_difference(y.values(), want), "");

  const std::vector<float> dy = random.vector(p.out(), -1.0f, 1.0f);
  std::vector<float> want_dx(p.in());
  room_a.average_pool_backward(p.g, dy.data(), want_dx.data(), 0, p.rows * p.g.down.in);
  Guarded<float> gradient(std::span<const float>(dy), at.y);
  Guarded<float> dx(p.in(), 9.0f, at.x);
  simt::launch(grid, kThreads, average_pool_backward_kernel<kThreads>, p.g, p.mean(),
               gradient.data(), dx.data(), p.rows);
  ASSERT_EQ(first_difference(dx.values(), want_dx), "");
  ASSERT_TRUE(y.guards_hold() && dx.guards_hold() && from.guards_hold() && gradient.guards_hold());
}

const Pool kPools[] = {
    {2, {axis(6, 2, 2, 0), axis(8, 2, 2, 0), 5}},
    {2, {axis(7, 2, 2, 0), axis(5, 2, 2, 0), 8}},
    {1, {axis(7, 3, 2, 1), axis(8, 3, 2, 1), 12}},
    {2, {axis(5, 3, 1, 1), axis(4, 3, 1, 1), 3}},
    {1, {axis(3, 5, 1, 2), axis(3, 5, 1, 2), 4}},
    {3, {axis(9, 2, 3, 0), axis(9, 3, 4, 1), 4}},
    {1, {axis(4, 4, 1, 0), axis(4, 4, 1, 0), 132}},
    {0, {axis(4, 2, 2, 0), axis(4, 2, 2, 0), 4}},
    {40, {axis(2, 1, 1, 0), axis(1, 1, 1, 0), 1}},
    {1, {axis(15, 15, 1, 0), axis(17, 17, 1, 0), 1}},
};

TEST(PoolKernels, EqualRoomA) {
  Random random(541);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (const Pool& p : kPools) {
    SCOPED_TRACE(::testing::Message() << p.rows << " rows, " << p.g.down.in << "x" << p.g.across.in
                                      << "x" << p.g.channels << ", window " << p.g.down.window);
    for_each_launch([&](std::uint32_t grid) {
      check_max(p, {}, grid, random);
      check_average(p, {}, grid, random);
    });
    for (const Offsets& at : {Offsets{1, 0, 0}, Offsets{0, 2, 0}, Offsets{4, 8, 1},
                              Offsets{4, 4, 4}, Offsets{3, 3, 3}}) {
      check_max(p, at, 2, random);
      check_average(p, at, 2, random);
    }
    if (HasFatalFailure()) return;
  }
}

TEST(PoolKernels, TilesAreBlocksThatHaveWork) {
  const PoolGeometry g{axis(6, 2, 2, 0), axis(8, 2, 2, 0), 32};
  EXPECT_EQ(pool_tiles(g, 0), 0);
  EXPECT_EQ(pool_tiles(g, 4), 4);            // 12 lines of 128 units: one down, four across
  EXPECT_EQ(pool_backward_tiles(g, 4), 16);  // 24 lines of 256 units: two down, eight across
  // 64-bit: 2^31 samples.
  EXPECT_EQ(pool_tiles(g, std::int64_t{1} << 31), std::int64_t{3} << 29);
}

TEST(PoolKernels, EntriesBeyondTwoToThe31AreAddressed) {
  // The last sample of 2^31 + 3 of one pixel each, without the memory: the arrays lie that far
  // before theirs, and the others' lines are left out.
  const std::int64_t far = (std::int64_t{1} << 31) + 3;
  const PoolAxis one = axis(1, 1, 1, 0);
  const std::vector<float> x = {3.0f};
  Guarded<float> y(1, 0.0f);
  const auto* from = reinterpret_cast<const float*>(reinterpret_cast<std::uintptr_t>(x.data()) -
                                                    static_cast<std::uintptr_t>(4 * far));
  std::vector<std::int64_t> seen;
  device::for_window({one, one, 1}, far, 0, 0, [&](std::int64_t offset, std::int32_t) {
    seen.push_back(offset);
    y.data()[0] = device::load_global(from + offset);
  });
  EXPECT_EQ(seen, std::vector<std::int64_t>{far});
  EXPECT_EQ(y.data()[0], 3.0f);
  seen.clear();
  device::for_covering({one, one, 1}, far, 0, 0,
                       [&](std::int64_t offset, std::int32_t) { seen.push_back(offset); });
  EXPECT_EQ(seen, std::vector<std::int64_t>{far});
}

TEST(PoolKernels, SmallForThreadSanitizer) {
  Random random(542);
  const SetOrder shuffled(simt::Order::kShuffled, 3);
  check_max(kPools[2], {}, 2, random);
  check_average(kPools[3], {1, 0, 0}, 2, random);
}

}  // namespace
}  // namespace cuthresh::testing
