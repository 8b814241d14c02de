// Element-wise, dropout and transposing kernels against room A (0 ulp) for sizes, alignments, grids
// and orders of threads; tests/unit holds both rooms to the definitions.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cpu/cpu_backend.hpp"
#include "guarded.hpp"
#include "kernels/block/dropout.cuh"
#include "kernels/block/pointwise.cuh"
#include "kernels/block/transpose.cuh"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::uint32_t kThreads = 256;
constexpr float kSlope = 0.07f;

Backend& room_a() {
  static const auto room = cpu::make_cpu_backend("reference", 1, "baseline");
  return *room;
}

// Ordinary values with some of every special kind among them.
std::vector<float> special_values(Random& random, std::size_t n) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const float special[] = {0.0f, -0.0f, kInf, -kInf, std::nanf(""), 1e-40f, -1e-40f, 90.0f};
  std::vector<float> v = random.vector(n, -3.0f, 3.0f);
  for (float& x : v) {
    if (random.integer(0, 15) == 0) x = special[random.integer(0, 7)];
  }
  return v;
}

template <class A>
void check_pointwise_kernels(A act, Activation activation, std::int64_t n, bool two,
                             std::size_t offset_a, std::size_t offset_rest, std::uint32_t grid,
                             Random& random) {
  const auto size = static_cast<std::size_t>(n);
  const std::vector<float> a = special_values(random, size), b = special_values(random, size);
  const std::vector<float> dy = special_values(random, size);
  std::vector<float> want_z(A::kNeedsInput ? size : 0), want_y(size), want_dz = dy;
  room_a().pointwise_forward(
      {n, activation, kSlope, a.data(), two ? b.data() : nullptr, want_z.data(), want_y.data()});
  room_a().pointwise_backward(
      {n, activation, kSlope, want_y.data(), want_z.data(), want_dz.data()});

  Guarded<float> left(std::span<const float>(a), offset_a);
  Guarded<float> right(std::span<const float>(b), offset_rest);
  Guarded<float> z(want_z.size(), 7.0f, offset_rest), y(size, 7.0f, offset_rest);
  Guarded<float> gradient(std::span<const float>(dy), offset_a);
  simt::launch(grid, kThreads, pointwise_kernel<A, kThreads>, act, left.data(),
               two ? right.data() : nullptr, A::kNeedsInput ? z.data() : nullptr, y.data(), n);
  ASSERT_EQ(first_difference(y.values(), want_y), "");
  ASSERT_EQ(first_difference(z.values(), want_z), "");
  simt::launch(grid, kThreads, pointwise_backward_kernel<A, kThreads>, act,
               A::kNeedsInput ? z.data() : y.data(), gradient.data(), n);
  ASSERT_EQ(first_difference(gradient.values(), want_dz), "");
  // In place of the first operand.
  simt::launch(grid, kThreads, pointwise_kernel<A, kThreads>, act, left.data(),
               two ? right.data() : nullptr, A::kNeedsInput ? z.data() : nullptr, left.data(), n);
  ASSERT_EQ(first_difference(left.values(), want_y), "");
  ASSERT_TRUE(left.guards_hold() && right.guards_hold() && z.guards_hold() && y.guards_hold() &&
              gradient.guards_hold());
}

TEST(PointwiseKernels, EqualRoomA) {
  Random random(561);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto check = [&](auto act, Activation activation) {
    for (const std::int64_t n : {0L, 1L, 3L, 4L, 5L, 7L, 1023L, 1024L, 2053L, 9001L}) {
      SCOPED_TRACE(::testing::Message() << n << " entries");
      for_each_launch([&](std::uint32_t grid) {
        check_pointwise_kernels(act, activation, n, grid != 7, 0, 0, grid, random);
      });
      for (std::size_t offset = 1; offset < 5; ++offset) {
        check_pointwise_kernels(act, activation, n, true, offset, offset, 2, random);
        check_pointwise_kernels(act, activation, n, true, offset, 0, 2, random);
        check_pointwise_kernels(act, activation, n, false, 0, offset, 3, random);
      }
      if (HasFatalFailure()) return;
    }
  };
  check(IdentityActivation{}, Activation::kIdentity);
  check(LeakyReluActivation{kSlope}, Activation::kLeakyRelu);
  check(SiluActivation{}, Activation::kSilu);
}

TEST(PointwiseKernels, DropoutEqualsRoomA) {
  Random random(562);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const DropoutMask mask = DropoutMask::of(0x123456789abcdefULL, 5, 0xfffffffeU, 0.3f);
  const StepNumber step{nullptr, mask.step};
  for (const std::int64_t n : {0L, 1L, 3L, 4L, 5L, 1023L, 1024L, 1025L, 5003L}) {
    const std::vector<float> x = special_values(random, static_cast<std::size_t>(n));
    std::vector<float> want(x.size());
    room_a().dropout({n, mask.rate, mask.seed, mask.stream, mask.step, x.data(), want.data()});
    const auto check = [&](std::size_t offset_from, std::size_t offset_to, std::uint32_t grid) {
      Guarded<float> from(std::span<const float>(x), offset_from);
      Guarded<float> to(x.size(), 9.0f, offset_to);
      simt::launch(grid, kThreads, dropout_kernel<kThreads>, mask, step, from.data(), to.data(), n);
      ASSERT_EQ(first_difference(to.values(), want), "");
      simt::launch(grid, kThreads, dropout_kernel<kThreads>, mask, step, from.data(), from.data(),
                   n);
      ASSERT_EQ(first_difference(from.values(), want), "");
      ASSERT_TRUE(to.guards_hold() && from.guards_hold());
    };
    for_each_launch([&](std::uint32_t grid) { check(0, 0, grid); });
    for (std::size_t offset = 1; offset < 5; ++offset) {
      check(offset, 0, 2);
      check(0, offset, 2);
      check(offset, offset, 3);
    }
    if (HasFatalFailure()) return;
  }
}

void check_transpose_kernel(std::int64_t rows, std::int64_t lines, std::int64_t columns,
                            std::size_t offset, std::uint32_t grid, Random& random) {
  const auto size = static_cast<std::size_t>(rows * lines * columns);
  const std::vector<float> values = random.vector(size, -1.0f, 1.0f);
  std::vector<float> want(size);
  for (std::size_t i = 0; i < size; ++i) {
    const auto at = static_cast<std::int64_t>(i);
    const std::int64_t sample = at / (lines * columns);
    const std::int64_t line = at / columns % lines;
    want[static_cast<std::size_t>((sample * columns + at % columns) * lines + line)] = values[i];
  }
  Guarded<float> from(std::span<const float>(values), offset);
  Guarded<float> to(size, 9.0f, offset);
  simt::launch(grid, kThreads, transpose_kernel<kThreads>, to.data(), from.data(), rows, lines,
               columns);
  ASSERT_EQ(first_difference(to.values(), want), "");
  ASSERT_TRUE(to.guards_hold() && from.guards_hold());
}

TEST(PointwiseKernels, TransposeMovesEveryEntry) {
  Random random(563);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  struct Shape {
    std::int64_t rows, lines, columns;
  };
  for (const Shape& s : {Shape{1, 1, 1}, Shape{2, 32, 32}, Shape{2, 33, 65}, Shape{1, 31, 64},
                         Shape{5, 7, 1}, Shape{3, 16, 40}, Shape{0, 4, 4}}) {
    SCOPED_TRACE(::testing::Message() << s.rows << "x" << s.lines << "x" << s.columns);
    for_each_launch([&](std::uint32_t grid) {
      check_transpose_kernel(s.rows, s.lines, s.columns, 0, grid, random);
    });
    check_transpose_kernel(s.rows, s.lines, s.columns, 1, 2, random);
  }
}

TEST(PointwiseKernels, TilesAreBlocksThatHaveWork) {
  EXPECT_EQ(pointwise_tiles(0, kThreads), 0);
  EXPECT_EQ(pointwise_tiles(2048, kThreads), 1);
  EXPECT_EQ(pointwise_tiles(2049, kThreads), 2);
  EXPECT_EQ(transpose_tiles(3, 33, 32), 6);
  EXPECT_EQ(transpose_tiles(std::int64_t{1} << 31, 32, 64), std::int64_t{1} << 32);
}

TEST(PointwiseKernels, SmallForThreadSanitizer) {
  Random random(564);
  const SetOrder shuffled(simt::Order::kShuffled, 3);
  check_pointwise_kernels(GeluActivation{}, Activation::kGelu, 2053, true, 0, 0, 2, random);
  check_transpose_kernel(2, 33, 40, 0, 2, random);
}

}  // namespace
}  // namespace cuthresh::testing
