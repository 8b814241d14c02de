// Dropout in every room: how many are kept, which ones, what becomes of them, and that steps,
// layers and seeds draw apart.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/math/philox.hpp"
#include "support/engines.hpp"
#include "support/layers.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

using ::testing::HasSubstr;

class DropoutLayer : public ::testing::TestWithParam<Room> {};

std::vector<float> drop(Backend& backend, const std::vector<float>& x, Dropout args) {
  const Array<float> from = on_device(backend, x);
  Array<float> to(backend, from.size());
  args.size = from.size();
  args.from = from.data();
  args.to = to.data();
  backend.dropout(args);
  return to.to_host();
}

Dropout with(float rate, std::uint32_t step = 7, std::uint32_t stream = 2,
             std::uint64_t seed = 0x123456789abcdefULL) {
  Dropout args;
  args.rate = rate;
  args.step = step;
  args.stream = stream;
  args.seed = seed;
  return args;
}

TEST_P(DropoutLayer, KeepsItsShareAndScalesIt) {
  const auto backend = GetParam().make();
  constexpr double kDraws = 100000.0;
  const std::vector<float> ones(100000, 1.0f);
  for (const float rate : {0.1f, 0.5f, 0.9f}) {
    const std::vector<float> y = drop(*backend, ones, with(rate));
    const float scale = 1.0f / (1.0f - rate);
    double kept = 0.0;
    for (const float v : y) {
      ASSERT_TRUE(v == 0.0f || v == scale) << v;
      kept += v == 0.0f ? 0.0 : 1.0;
    }
    const double p = 1.0 - static_cast<double>(rate);
    EXPECT_NEAR(kept, kDraws * p, 5.0 * std::sqrt(kDraws * p * (1.0 - p))) << rate;
    // Neighbours are kept independently of each other.
    double both = 0.0;
    for (std::size_t i = 0; i + 1 < y.size(); ++i) {
      both += y[i] != 0.0f && y[i + 1] != 0.0f ? 1.0 : 0.0;
    }
    EXPECT_NEAR(both / kDraws, p * p, 5.0 * std::sqrt(3.0 * p * p * (1.0 - p * p) / kDraws))
        << rate;
  }
}

// Word i mod 4 of Philox block i/4, of a counter whose second word is the step.
TEST_P(DropoutLayer, TakesItsNumbersFromPhilox) {
  Random random(531);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  const std::uint64_t seed = 0xfedcba9876543210ULL;
  for (const std::int64_t n : {1, 3, 4, 5, 63, 64, 65, 1023, 1029}) {
    const std::vector<float> x = random.vector(static_cast<std::size_t>(n), -2.0f, 2.0f);
    const std::vector<float> y = drop(*backend, x, with(0.3f, 0x80000005U, 9, seed));
    for (std::int64_t i = 0; i < n; ++i) {
      const Philox block = Philox::rounds(0x76543210U, 0xfedcba98U,
                                          static_cast<std::uint32_t>(i / 4), 0x80000005U, 9, 3);
      const double unit = static_cast<double>(block.words[i % 4] >> 8) / 16777216.0;
      const auto at = static_cast<std::size_t>(i);
      const float want = unit >= static_cast<double>(0.3f) ? x[at] * (1.0f / (1.0f - 0.3f)) : 0.0f;
      ASSERT_EQ(y[at], want) << i;
    }
  }
}

TEST_P(DropoutLayer, TheSameCallDrawsTheSameMask) {
  Random random(532);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  const std::vector<float> x = random.vector(4099, 0.5f, 1.0f);
  const std::vector<float> dy = random.vector(4099, 0.5f, 1.0f);
  const std::vector<float> y = drop(*backend, x, with(0.5f));
  EXPECT_EQ(bit_difference(drop(*backend, x, with(0.5f)), y), "");
  // The way back: the gradient of what was dropped is dropped.
  const std::vector<float> dx = drop(*backend, dy, with(0.5f));
  for (std::size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(dx[i], y[i] == 0.0f ? 0.0f : dy[i] * 2.0f);
  }
  // Others are kept at another step, in another layer and with another seed: half of them.
  for (const Dropout& other : {with(0.5f, 8), with(0.5f, 7, 3), with(0.5f, 7, 2, 1)}) {
    const std::vector<float> different = drop(*backend, x, other);
    double equal = 0.0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      equal += (different[i] == 0.0f) == (y[i] == 0.0f) ? 1.0 : 0.0;
    }
    EXPECT_NEAR(equal, 4099.0 / 2.0, 5.0 * std::sqrt(4099.0 / 4.0));
  }
}

TEST_P(DropoutLayer, InPlaceAndAtRateZero) {
  Random random(533);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  std::vector<float> x = random.vector(1030, -2.0f, 2.0f);
  x[3] = -0.0f;
  x[4] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(bit_difference(drop(*backend, x, with(0.0f)), x), "");
  for (const float rate : {0.0f, 0.4f}) {
    Array<float> memory = on_device(*backend, x);
    Dropout args = with(rate);
    args.size = memory.size();
    args.from = memory.data();
    args.to = memory.data();
    backend->dropout(args);
    EXPECT_EQ(bit_difference(memory.to_host(), drop(*backend, x, with(rate))), "") << rate;
  }
}

TEST_P(DropoutLayer, ANanIsNotDroppedUnseen) {
  const auto backend = GetParam().make();
  const std::vector<float> x(64, std::numeric_limits<float>::quiet_NaN());
  for (const float v : drop(*backend, x, with(0.5f))) EXPECT_TRUE(std::isnan(v));
}

TEST_P(DropoutLayer, RefusesWhatItCannotDraw) {
  const auto backend = GetParam().make();
  Array<float> memory(*backend, 4);
  const auto refused = [&](float rate, std::int64_t size) {
    Dropout args = with(rate);
    args.size = size;
    args.from = memory.data();
    args.to = memory.data();
    return refusal([&] { backend->dropout(args); });
  };
  EXPECT_THAT(refused(1.0f, 4), HasSubstr("rate"));
  EXPECT_THAT(refused(-0.1f, 4), HasSubstr("rate"));
  EXPECT_THAT(refused(std::nanf(""), 4), HasSubstr("rate"));
  EXPECT_THAT(refused(0.5f, -1), HasSubstr("size"));
  EXPECT_THAT(refused(0.5f, (std::int64_t{1} << 34) + 1), HasSubstr("2^34"));
  EXPECT_EQ(refused(0.5f, 4), "accepted");
  EXPECT_THAT(refusal([&] {
                backend->dropout({4, 0.5f, 1, 1, 1, nullptr, memory.data()});
              }),
              HasSubstr("from must not be null"));
}

INSTANTIATE_TEST_SUITE_P(Rooms, DropoutLayer, ::testing::ValuesIn(all_rooms()),
                         [](const auto& test) { return test.param.name(); });

// Large enough for three threads to share the work.
TEST(DropoutRooms, GiveTheSameBits) {
  Random random(534);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const std::vector<float> x = random.vector(60007, -1.0f, 1.0f);
  std::vector<float> want;
  for (const Room& room : all_rooms()) {
    const std::vector<float> got = drop(*room.make(), x, with(0.37f));
    if (want.empty()) want = got;
    EXPECT_EQ(bit_difference(got, want), "") << room.name();
  }
}

}  // namespace
}  // namespace cuthresh::testing
