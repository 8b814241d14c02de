// Losses, their sums and gradients against room A (0 ulp, sums included) and against float64
// definitions, for every shape, alignment, grid and order of threads.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "cpu/cpu_backend.hpp"
#include "guarded.hpp"
#include "kernels/block/loss.cuh"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Backend& room_a() {
  static const auto room = cpu::make_cpu_backend("reference", 1, "baseline");
  return *room;
}

std::size_t size_of(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

// What a launch leaves: gradient, and the sum where it was asked for.
struct Outcome {
  std::vector<float> gradient;
  LossSum sum;
};

constexpr LossSum kStart{0.1, 77};

void expect_equal(const Outcome& got, const Outcome& want) {
  ASSERT_EQ(first_difference(got.gradient, want.gradient), "");
  ASSERT_TRUE(same_value(got.sum.loss, want.sum.loss)) << got.sum.loss << " " << want.sum.loss;
  ASSERT_EQ(got.sum.correct, want.sum.correct);
}

// Scratch of exactly the size that the header asks for, checked afterwards.
struct Scratch {
  Guarded<double> partials, row_losses;
  Guarded<std::uint32_t> row_hits;
  Guarded<std::uint32_t> ticket{1, 0U};
  Guarded<double> loss{1, kStart.loss};
  Guarded<std::uint64_t> correct{1, kStart.correct};

  Scratch(std::int64_t partial_count, std::int64_t rows)
      : partials(size_of(partial_count), 99.0),
        row_losses(size_of(rows), 99.0),
        row_hits(size_of(rows), 99U) {}
  LossScratch kernel() {
    return {partials.data(), row_losses.data(), row_hits.data(), ticket.data()};
  }
  LossTarget target(bool accumulate) { return {loss.data(), correct.data(), accumulate}; }
  LossSum sum() {
    EXPECT_EQ(ticket.data()[0], 0U) << "the next launch would not find its last block";
    EXPECT_TRUE(partials.guards_hold() && row_losses.guards_hold() && row_hits.guards_hold());
    return {loss.data()[0], correct.data()[0]};
  }
};

constexpr std::uint32_t kThreads = 256;

template <std::uint32_t kBlock = kThreads>
LossSum error_sum(const std::vector<float>& prediction, const std::vector<float>& target,
                  bool accumulate, std::uint32_t grid, std::size_t offset) {
  Guarded<float> p(std::span<const float>(prediction), offset);
  Guarded<float> t(std::span<const float>(target), 1);
  const auto size = static_cast<std::int64_t>(prediction.size());
  Scratch scratch(squared_error_partials(size), 0);
  simt::launch(grid, kBlock, squared_error_sum_kernel<kBlock>, SquaredError{0.0f}, p.data(),
               t.data(), size, scratch.kernel(), scratch.target(accumulate));
  return scratch.sum();
}

TEST(LossKernels, SquaredErrorsEqualRoomAAndTheDefinition) {
  Random random(301);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (const std::size_t n : {0UL, 1UL, 3UL, 4UL, 5UL, 255UL, 256UL, 257UL, 1023UL, 1024UL, 1025UL,
                              8191UL, 8192UL, 8193UL, 9217UL, 30011UL}) {
    SCOPED_TRACE(::testing::Message() << n << " errors");
    const std::vector<float> prediction = random.vector(n, -2.0f, 2.0f);
    const std::vector<float> target = random.vector(n, -2.0f, 2.0f);
    const float scale = 2.0f / static_cast<float>(n + 1);
    double definition = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
      const double d = static_cast<double>(prediction[i]) - static_cast<double>(target[i]);
      definition += d * d;
    }
    for (const bool accumulate : {false, true}) {
      Outcome want{std::vector<float>(n), kStart};
      LossArgs args;
      args.rows = static_cast<std::int64_t>(n);
      args.columns = 1;
      args.prediction = prediction.data();
      args.target = target.data();
      args.gradient = want.gradient.data();
      args.gradient_scale = scale;
      args.sum = &want.sum;
      args.accumulate = accumulate;
      room_a().mse(args);
      // Fewer than 2^15 positive terms, each addition off by 2^-53 of the sum at most.
      const double start = accumulate ? kStart.loss : 0.0;
      ASSERT_NEAR(want.sum.loss, start + definition, definition * 0x1p-37);
      for_each_launch([&](std::uint32_t grid) {
        Outcome got;
        got.sum = error_sum(prediction, target, accumulate, grid, grid % 4);
        Guarded<float> p{std::span<const float>(prediction)};
        Guarded<float> t{std::span<const float>(target)};
        Guarded<float> g(n, 0.0f);
        simt::launch(grid, kThreads, squared_error_gradient_kernel<kThreads>, SquaredError{scale},
                     p.data(), t.data(), g.data(), static_cast<std::int64_t>(n));
        got.gradient = g.values();
        ASSERT_TRUE(g.guards_hold());
        expect_equal(got, want);
      });
      if (HasFatalFailure()) return;
    }
  }
}

TEST(LossKernels, SquaredErrorGradientsAtEveryAlignment) {
  Random random(302);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const std::size_t n = 1031;
  std::vector<float> prediction = random.vector(n, -2.0f, 2.0f);
  prediction[0] = kNan;
  prediction[500] = kInf;
  prediction[n - 1] = 1e-40f;
  const std::vector<float> target = random.vector(n, -2.0f, 2.0f);
  for (std::size_t offsets = 0; offsets < 64; ++offsets) {
    Guarded<float> p(std::span<const float>(prediction), offsets % 4);
    Guarded<float> t(std::span<const float>(target), offsets / 4 % 4);
    Guarded<float> g(n, 0.0f, offsets / 16);
    simt::launch(2, kThreads, squared_error_gradient_kernel<kThreads>, SquaredError{0.25f},
                 p.data(), t.data(), g.data(), static_cast<std::int64_t>(n));
    for (std::size_t i = 0; i < n; ++i) {
      ASSERT_TRUE(same_value(g.data()[i], 0.25f * (prediction[i] - target[i]))) << offsets;
    }
    ASSERT_TRUE(g.guards_hold());
  }
  // In place of the prediction.
  Guarded<float> p{std::span<const float>(prediction)};
  Guarded<float> t{std::span<const float>(target)};
  simt::launch(3, kThreads, squared_error_gradient_kernel<kThreads>, SquaredError{0.25f}, p.data(),
               t.data(), p.data(), static_cast<std::int64_t>(n));
  for (std::size_t i = 0; i < n; ++i) {
    ASSERT_TRUE(same_value(p.data()[i], 0.25f * (prediction[i] - target[i])));
  }
}

struct Batch {
  std::int64_t rows, columns;
  std::vector<float> logits;
  std::vector<std::int32_t> label;
};

Batch random_batch(Random& random, std::int64_t rows, std::int64_t columns) {
  Batch batch{rows, columns, random.vector(size_of(rows * columns), -6.0f, 6.0f), {}};
  for (std::int64_t r = 0; r < rows; ++r) {
    batch.label.push_back(static_cast<std::int32_t>(random.integer(0, columns - 1)));
    // Every third row: values from a small set, so that the largest comes several times.
    for (std::int64_t c = 0; c < columns && r % 3 == 0; ++c) {
      batch.logits[size_of(r * columns + c)] = static_cast<float>(random.integer(-2, 2));
    }
  }
  return batch;
}

struct Wanted {
  bool gradient = true;
  bool sum = true;
  bool accumulate = false;
  bool in_place = false;
};

Outcome softmax_of_room_a(const Batch& batch, const Wanted& wanted, float scale) {
  Outcome out{std::vector<float>(wanted.gradient ? batch.logits.size() : 0), kStart};
  LossArgs args;
  args.rows = batch.rows;
  args.columns = batch.columns;
  args.prediction = batch.logits.data();
  args.label = batch.label.data();
  args.gradient = wanted.gradient ? out.gradient.data() : nullptr;
  args.gradient_scale = scale;
  args.sum = wanted.sum ? &out.sum : nullptr;
  args.accumulate = wanted.accumulate;
  room_a().softmax_cross_entropy(args);
  return out;
}

Outcome softmax_of_kernel(const Batch& batch, const Wanted& wanted, float scale, bool wide,
                          std::uint32_t grid) {
  Guarded<float> logits(std::span<const float>(batch.logits), grid % 4);
  Guarded<std::int32_t> label{std::span<const std::int32_t>(batch.label)};
  Guarded<float> gradient(wanted.gradient && !wanted.in_place ? batch.logits.size() : 0, 0.0f, 1);
  Guarded<float>& result = wanted.in_place ? logits : gradient;
  Scratch scratch(softmax_partials(batch.rows), batch.rows);
  simt::launch(grid, wide ? 256U : 128U,
               wide ? softmax_wide_kernel<256> : softmax_narrow_kernel<128>,
               SoftmaxCrossEntropy{scale}, logits.data(), label.data(),
               wanted.gradient ? result.data() : nullptr, batch.rows, batch.columns,
               wanted.sum ? scratch.kernel() : LossScratch{},
               wanted.sum ? scratch.target(wanted.accumulate) : LossTarget{});
  EXPECT_TRUE(logits.guards_hold() && gradient.guards_hold());
  return {wanted.gradient ? result.values() : std::vector<float>{}, scratch.sum()};
}

TEST(LossKernels, CrossEntropyEqualsRoomA) {
  Random random(303);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  struct Shape {
    std::int64_t rows, columns;
  };
  const Shape shapes[] = {{0, 3},    {1, 1},    {1, 2},    {3, 10},   {4, 10},   {255, 2}, {256, 3},
                          {257, 10}, {600, 7},  {33, 32},  {5, 33},   {7, 63},   {8, 64},  {9, 65},
                          {4, 1000}, {3, 1023}, {5, 1024}, {2, 1025}, {1, 2500}, {300, 40}};
  for (const Shape& shape : shapes) {
    const Batch batch = random_batch(random, shape.rows, shape.columns);
    for (const bool wide : {false, true}) {
      if (wide && shape.rows > 300) continue;
      SCOPED_TRACE(::testing::Message()
                   << shape.rows << "x" << shape.columns << (wide ? " wide" : " narrow"));
      const float scale = 1.0f / static_cast<float>(shape.rows + 1);
      const Outcome want = softmax_of_room_a(batch, {}, scale);
      const bool small = shape.rows * shape.columns <= 1100;
      if (small) {
        for_each_launch([&](std::uint32_t grid) {
          expect_equal(softmax_of_kernel(batch, {}, scale, wide, grid), want);
        });
      } else {
        simt::for_each_order([&] {
          for (const std::uint32_t grid : {1U, 9U}) {
            expect_equal(softmax_of_kernel(batch, {}, scale, wide, grid), want);
          }
        });
      }
      Wanted in_place;
      in_place.in_place = true;
      simt::for_each_order(
          [&] { expect_equal(softmax_of_kernel(batch, in_place, scale, wide, 2), want); });
      for (const Wanted wanted :
           {Wanted{false, true, false, false}, Wanted{true, false, false, false},
            Wanted{true, true, true, false}}) {
        expect_equal(softmax_of_kernel(batch, wanted, scale, wide, 3),
                     softmax_of_room_a(batch, wanted, scale));
      }
      if (HasFatalFailure()) return;
    }
  }
}

TEST(LossKernels, CrossEntropyIsTheDefinition) {
  Random random(304);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (const std::int64_t columns : {10L, 300L}) {
    const Batch batch = random_batch(random, 50, columns);
    const float scale = 1.0f / 50.0f;
    const Outcome got = softmax_of_kernel(batch, {}, scale, columns > kNarrowColumns, 3);
    double loss = 0.0;
    std::uint64_t correct = 0;
    for (std::int64_t r = 0; r < 50; ++r) {
      const float* z = batch.logits.data() + r * columns;
      const float* top = std::max_element(z, z + columns);  // the first of the largest
      double sum = 0.0;
      for (std::int64_t c = 0; c < columns; ++c) {
        sum += std::exp(static_cast<double>(z[c]) - static_cast<double>(*top));
      }
      const std::int32_t wanted = batch.label[size_of(r)];
      loss += static_cast<double>(*top) + std::log(sum) - static_cast<double>(z[wanted]);
      correct += top - z == wanted ? 1U : 0U;
      for (std::int64_t c = 0; c < columns; ++c) {
        const double p = std::exp(static_cast<double>(z[c]) - static_cast<double>(*top)) / sum;
        // Σ exp: `columns` additions of up to 2^-24 each, exp and division a few more.
        const double bound = (static_cast<double>(columns) + 8.0) * 0x1p-24;
        ASSERT_NEAR(static_cast<double>(got.gradient[size_of(r * columns + c)]) * 50.0,
                    p - (c == wanted ? 1.0 : 0.0), bound);
      }
    }
    EXPECT_NEAR(got.sum.loss, loss, 50.0 * (static_cast<double>(columns) + 8.0) * 0x1p-24);
    EXPECT_EQ(got.sum.correct, correct);
  }
}

TEST(LossKernels, CrossEntropyOfHardLogits) {
  const std::vector<std::vector<float>> rows = {
      {kNan, 1.0f, 2.0f},   {1.0f, kNan, 2.0f},       {2.0f, 1.0f, kNan},
      {kNan, kNan, kNan},   {kInf, 1.0f, kInf},       {-kInf, -kInf, -kInf},
      {-kInf, 1.0f, -kInf}, {3e38f, -3e38f, 3e38f},   {0.0f, -0.0f, 0.0f},
      {-0.0f, 0.0f, 0.0f},  {1e-40f, 2e-40f, 2e-40f}, {-200.0f, -200.0f, 0.0f}};
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (const std::int64_t columns : {3L, 100L}) {
      for (const std::int64_t at : {0L, 1L, 61L, 97L}) {
        if (at + 3 > columns) continue;
        Batch batch{1, columns, std::vector<float>(size_of(columns), -kInf), {0}};
        std::copy(rows[r].begin(), rows[r].end(), batch.logits.begin() + at);
        for (const std::int64_t label : {at, at + 2}) {
          batch.label[0] = static_cast<std::int32_t>(label);
          SCOPED_TRACE(::testing::Message() << "row " << r << " at " << at << " of " << columns);
          const Outcome want = softmax_of_room_a(batch, {}, 1.0f);
          expect_equal(softmax_of_kernel(batch, {}, 1.0f, false, 1), want);
          simt::for_each_order(
              [&] { expect_equal(softmax_of_kernel(batch, {}, 1.0f, true, 2), want); });
        }
      }
    }
  }
}

TEST(LossKernels, SizesOfScratchAndGrids) {
  EXPECT_EQ(squared_error_partials(0), 0);
  EXPECT_EQ(squared_error_partials(8193), 2);
  EXPECT_EQ(softmax_partials(257), 2);
  EXPECT_EQ(softmax_wide_tiles(9), 3);
  EXPECT_EQ(softmax_narrow_tiles(129, 128), 2);
  EXPECT_EQ(squared_error_gradient_tiles(1025, 256), 2);
  EXPECT_EQ(squared_error_partials(std::int64_t{1} << 45), std::int64_t{1} << 32);
}

// More partial sums than threads: they are added up in several goes.
TEST(LossKernels, MorePartialSumsThanThreads) {
  Random random(306);
  const std::int64_t n = 40 * kLossBlockErrors + 5;
  const std::vector<float> errors = random.vector(size_of(n), -1.0f, 1.0f);
  const std::vector<float> zero(size_of(n), 0.0f);
  LossSum want;
  LossArgs args;
  args.rows = n;
  args.columns = 1;
  args.prediction = errors.data();
  args.target = zero.data();
  args.sum = &want;
  room_a().mse(args);
  const Batch batch = random_batch(random, 40 * kLossBlockRows + 3, 2);
  const LossSum want_rows = softmax_of_room_a(batch, {}, 1.0f).sum;
  simt::for_each_order([&] {
    SCOPED_TRACE(simt::order_name());
    ASSERT_TRUE(same_value(error_sum<32>(errors, zero, false, 3, 1).loss, want.loss));
    Guarded<float> logits{std::span<const float>(batch.logits)};
    Guarded<std::int32_t> label{std::span<const std::int32_t>(batch.label)};
    Scratch scratch(softmax_partials(batch.rows), batch.rows);
    simt::launch(3, 32, softmax_narrow_kernel<32>, SoftmaxCrossEntropy{1.0f}, logits.data(),
                 label.data(), nullptr, batch.rows, batch.columns, scratch.kernel(),
                 scratch.target(false));
    const LossSum got = scratch.sum();
    ASSERT_TRUE(same_value(got.loss, want_rows.loss));
    ASSERT_EQ(got.correct, want_rows.correct);
  });
}

// Every barrier and atomic once, in launches small enough for a run under ThreadSanitizer.
TEST(LossKernels, SmallForThreadSanitizer) {
  Random random(305);
  const SetOrder shuffled(simt::Order::kShuffled, 3);
  const std::vector<float> errors(9000, 0.5f);
  EXPECT_EQ(error_sum(errors, std::vector<float>(9000, 0.0f), false, 2, 1).loss, 2250.0);
  const std::vector<float> many(40 * 8192, 0.5f);  // 40 partial sums for 32 threads
  EXPECT_EQ(error_sum<32>(many, std::vector<float>(40 * 8192, 0.0f), false, 1, 0).loss, 81920.0);
  for (const bool wide : {false, true}) {
    const Batch batch = random_batch(random, wide ? 9 : 300, wide ? 40 : 3);
    Wanted wanted;
    wanted.in_place = wide;
    expect_equal(softmax_of_kernel(batch, wanted, 0.5f, wide, 2),
                 softmax_of_room_a(batch, {}, 0.5f));
  }
}

}  // namespace
}  // namespace cuthresh::testing
