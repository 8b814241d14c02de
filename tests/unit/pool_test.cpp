// Pooling in every room: against float64 loops over the definition, hand-made ties and NaN, central
// differences, and the same bits whatever the room, the instruction set and the threads.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/engines.hpp"
#include "support/layers.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

using ::testing::HasSubstr;

class Pool : public ::testing::TestWithParam<Room> {};

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

PoolShape pool_of(PoolKind kind, std::int64_t rows, ImageShape in, Window window) {
  return {rows, in, window, kind};
}

struct Pooled {
  std::vector<float> y;
  std::vector<std::uint8_t> winner;
};

Pooled forward(Backend& backend, const PoolShape& shape, const std::vector<float>& x) {
  const std::int64_t size = shape.rows * shape.out().elements();
  const Array<float> input = on_device(backend, x);
  Array<float> y(backend, size);
  Array<std::uint8_t> winner(backend, size);
  const bool max = shape.kind == PoolKind::kMax;
  backend.pool_forward({shape, input.data(), y.data(), max ? winner.data() : nullptr});
  return {y.to_host(), max ? winner.to_host() : std::vector<std::uint8_t>()};
}

std::vector<float> backward(Backend& backend, const PoolShape& shape,
                            const std::vector<std::uint8_t>& winner, const std::vector<float>& dy) {
  const Array<float> gradient = on_device(backend, dy);
  const Array<std::uint8_t> won(backend, std::span<const std::uint8_t>(winner));
  // What was there before must not matter.
  Array<float> dx = on_device(
      backend,
      std::vector<float>(static_cast<std::size_t>(shape.rows * shape.in.elements()), kNan));
  backend.pool_backward({shape, gradient.data(), won.data(), dx.data()});
  return dx.to_host();
}

// The definition: every window entry by its coordinates in the padded image.
struct Reference {
  std::vector<double> y;
  std::vector<std::size_t> source;  // of a max: which entry of x
  std::vector<std::size_t> winner;  // of a max: which entry of the window
};

std::size_t at(const ImageShape& s, std::int64_t n, std::int64_t h, std::int64_t w,
               std::int64_t c) {
  return static_cast<std::size_t>(((n * s.height + h) * s.width + w) * s.channels + c);
}

// f(output, x entry, window entry) for everything that a window holds of the image, in order.
template <class F>
void for_entries(const PoolShape& s, F f) {
  const ImageShape out = s.out();
  for (std::int64_t n = 0; n < s.rows; ++n) {
    for (std::int64_t h = 0; h < out.height; ++h) {
      for (std::int64_t w = 0; w < out.width; ++w) {
        for (std::int64_t c = 0; c < out.channels; ++c) {
          for (std::int64_t i = 0; i < s.window.height; ++i) {
            for (std::int64_t j = 0; j < s.window.width; ++j) {
              const std::int64_t y = h * s.window.stride_height + i - s.window.pad_height;
              const std::int64_t x = w * s.window.stride_width + j - s.window.pad_width;
              if (y < 0 || y >= s.in.height || x < 0 || x >= s.in.width) continue;
              f(at(out, n, h, w, c), at(s.in, n, y, x, c),
                static_cast<std::size_t>(i * s.window.width + j));
            }
          }
        }
      }
    }
  }
}

Reference reference(const PoolShape& s, const std::vector<double>& x) {
  const auto size = static_cast<std::size_t>(s.rows * s.out().elements());
  Reference r{std::vector<double>(size, 0.0), std::vector<std::size_t>(size, x.size()),
              std::vector<std::size_t>(size, 999)};
  const bool max = s.kind == PoolKind::kMax;
  for_entries(s, [&](std::size_t o, std::size_t i, std::size_t place) {
    if (!max) {
      r.y[o] += x[i] / static_cast<double>(s.window.elements());
      return;
    }
    const bool first = r.source[o] == x.size();
    if (first || (!std::isnan(r.y[o]) && (std::isnan(x[i]) || x[i] > r.y[o]))) {
      r.y[o] = x[i];
      r.source[o] = i;
      r.winner[o] = place;
    }
  });
  return r;
}

const PoolShape kShapes[] = {
    pool_of(PoolKind::kMax, 2, {6, 8, 5}, {2, 2, 2, 2, 0, 0}),
    pool_of(PoolKind::kMax, 3, {4, 4, 36}, {2, 2, 2, 2, 0, 0}),
    // The last row and column belong to no window.
    pool_of(PoolKind::kMax, 1, {7, 5, 4}, {2, 2, 2, 2, 0, 0}),
    // Overlapping and padded.
    pool_of(PoolKind::kMax, 2, {7, 8, 6}, {3, 3, 2, 2, 1, 1}),
    pool_of(PoolKind::kMax, 2, {4, 4, 8}, {2, 2, 2, 2, 1, 1}),
    pool_of(PoolKind::kMax, 1, {5, 6, 33}, {3, 3, 1, 1, 1, 1}),
    pool_of(PoolKind::kMax, 2, {6, 9, 3}, {2, 3, 1, 2, 1, 0}),
    // More window than image.
    pool_of(PoolKind::kMax, 2, {3, 3, 4}, {5, 5, 1, 1, 2, 2}),
    // Gaps between the windows, and a window of one.
    pool_of(PoolKind::kMax, 2, {9, 9, 4}, {2, 2, 3, 4, 0, 0}),
    pool_of(PoolKind::kMax, 1, {4, 3, 70}, {1, 1, 2, 1, 0, 0}),
    pool_of(PoolKind::kMax, 1, {15, 17, 2}, {15, 17, 1, 1, 0, 0}),
    pool_of(PoolKind::kAverage, 2, {6, 8, 5}, {2, 2, 2, 2, 0, 0}),
    pool_of(PoolKind::kAverage, 3, {4, 4, 8}, {4, 4, 1, 1, 0, 0}),
    pool_of(PoolKind::kAverage, 2, {7, 8, 6}, {3, 3, 2, 2, 1, 1}),
    pool_of(PoolKind::kAverage, 2, {3, 3, 4}, {5, 5, 1, 1, 2, 2}),
    pool_of(PoolKind::kAverage, 1, {6, 9, 3}, {2, 3, 1, 2, 1, 0}),
    pool_of(PoolKind::kAverage, 1, {16, 20, 2}, {16, 20, 1, 1, 0, 0}),
};

std::string text(const PoolShape& s) {
  return std::to_string(s.rows) + "x" + std::to_string(s.in.height) + "x" +
         std::to_string(s.in.width) + "x" + std::to_string(s.in.channels) + " window " +
         std::to_string(s.window.height) + "x" + std::to_string(s.window.width);
}

TEST_P(Pool, IsTheDefinition) {
  Random random(501);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  for (const PoolShape& s : kShapes) {
    SCOPED_TRACE(text(s));
    const std::vector<float> x =
        random.vector(static_cast<std::size_t>(s.rows * s.in.elements()), -1.0f, 1.0f);
    const Reference want = reference(s, std::vector<double>(x.begin(), x.end()));
    const Pooled got = forward(*backend, s, x);
    ASSERT_EQ(got.y.size(), want.y.size());
    for (std::size_t i = 0; i < want.y.size(); ++i) {
      if (s.kind == PoolKind::kMax) {
        ASSERT_EQ(static_cast<double>(got.y[i]), want.y[i]) << i;
        ASSERT_EQ(got.winner[i], want.winner[i]) << i;
      } else {
        // Up to 320 additions of numbers up to 1, over 320.
        ASSERT_NEAR(static_cast<double>(got.y[i]), want.y[i], 4e-6) << i;
      }
    }

    const std::vector<float> dy = random.vector(want.y.size(), -1.0f, 1.0f);
    std::vector<double> dx(x.size(), 0.0);
    if (s.kind == PoolKind::kMax) {
      for (std::size_t o = 0; o < dy.size(); ++o) dx[want.source[o]] += static_cast<double>(dy[o]);
    } else {
      for_entries(s, [&](std::size_t o, std::size_t i, std::size_t) {
        dx[i] += static_cast<double>(dy[o]) / static_cast<double>(s.window.elements());
      });
    }
    const std::vector<float> dx_got = backward(*backend, s, got.winner, dy);
    for (std::size_t i = 0; i < dx.size(); ++i) {
      ASSERT_NEAR(static_cast<double>(dx_got[i]), dx[i], 2e-6) << i;
    }
  }
}

TEST_P(Pool, BackwardIsTheDerivative) {
  Random random(502);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  constexpr double kStep = 1e-7;
  for (const PoolKind kind : {PoolKind::kMax, PoolKind::kAverage}) {
    const PoolShape s = pool_of(kind, 2, {5, 5, 3}, {3, 3, 2, 2, 1, 1});
    const std::vector<float> x =
        random.vector(static_cast<std::size_t>(s.rows * s.in.elements()), -1.0f, 1.0f);
    const std::vector<float> dy =
        random.vector(static_cast<std::size_t>(s.rows * s.out().elements()), -1.0f, 1.0f);
    const auto loss = [&](const std::vector<double>& input) {
      const std::vector<double> y = reference(s, input).y;
      double sum = 0.0;
      for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * static_cast<double>(dy[i]);
      return sum;
    };
    const std::vector<float> dx = backward(*backend, s, forward(*backend, s, x).winner, dy);
    std::vector<double> moved(x.begin(), x.end());
    for (std::size_t i = 0; i < x.size(); ++i) {
      moved[i] = static_cast<double>(x[i]) + kStep;
      const double above = loss(moved);
      moved[i] = static_cast<double>(x[i]) - kStep;
      const double below = loss(moved);
      moved[i] = static_cast<double>(x[i]);
      ASSERT_NEAR(static_cast<double>(dx[i]), (above - below) / (2.0 * kStep), 2e-6) << i;
    }
  }
}

TEST_P(Pool, TheFirstOfEqualEntriesWins) {
  const auto backend = GetParam().make();
  for (const std::int64_t channels : {std::int64_t{1}, std::int64_t{4}}) {
    const auto n = static_cast<std::size_t>(channels);
    // All equal, padded: the first entry that is in the image.
    const PoolShape padded = pool_of(PoolKind::kMax, 1, {2, 2, channels}, {3, 3, 1, 1, 1, 1});
    const Pooled got = forward(*backend, padded, std::vector<float>(4 * n, -7.0f));
    const std::uint8_t want[] = {4, 3, 1, 0};
    for (std::size_t i = 0; i < 4 * n; ++i) {
      EXPECT_EQ(got.winner[i], want[i / n]) << i;
      EXPECT_EQ(got.y[i], -7.0f);
    }
    // All four windows pass their gradient to that entry, in every channel.
    const std::vector<float> dx =
        backward(*backend, padded, got.winner, std::vector<float>(4 * n, 1.5f));
    for (std::size_t i = 0; i < 4 * n; ++i) EXPECT_EQ(dx[i], i < n ? 6.0f : 0.0f) << i;

    const PoolShape plain = pool_of(PoolKind::kMax, 1, {2, 2, channels}, {2, 2, 2, 2, 0, 0});
    constexpr float kInf = std::numeric_limits<float>::infinity();
    struct Case {
      float x[4];
      std::uint8_t winner;
    };
    const Case cases[] = {{{-0.0f, 0.0f, 0.0f, -0.0f}, 0},   {{1.0f, 3.0f, 3.0f, 2.0f}, 1},
                          {{-kInf, -kInf, -kInf, -kInf}, 0}, {{-kInf, -1.0f, kInf, kInf}, 2},
                          {{kNan, kInf, kNan, 1.0f}, 0},     {{kInf, 1.0f, kNan, kNan}, 2},
                          {{1.0f, kNan, 9.0f, kNan}, 1},     {{1e-40f, 0.0f, 2e-40f, 1e-40f}, 2}};
    for (const Case& c : cases) {
      std::vector<float> x(4 * n);
      for (std::size_t i = 0; i < 4 * n; ++i) x[i] = c.x[i / n];
      const Pooled one = forward(*backend, plain, x);
      const std::vector<float> y(n, c.x[c.winner]);
      EXPECT_EQ(bit_difference(one.y, y), "");
      EXPECT_EQ(one.winner, std::vector<std::uint8_t>(n, c.winner));
    }
  }
}

TEST_P(Pool, WithoutRowsOrWinnersThereIsNothingToKeep) {
  Random random(503);
  const auto backend = GetParam().make();
  PoolShape s = pool_of(PoolKind::kMax, 2, {4, 4, 4}, {2, 2, 2, 2, 0, 0});
  const std::vector<float> x = random.vector(128, -1.0f, 1.0f);
  const Array<float> input = on_device(*backend, x);
  Array<float> y(*backend, 32);
  backend->pool_forward({s, input.data(), y.data(), nullptr});
  EXPECT_EQ(bit_difference(y.to_host(), forward(*backend, s, x).y), "");
  s.rows = 0;
  backend->pool_forward({s, nullptr, nullptr, nullptr});
  backend->pool_backward({s, nullptr, nullptr, nullptr});
}

TEST_P(Pool, RefusesWhatItCannotPool) {
  const auto backend = GetParam().make();
  Array<float> memory(*backend, 64);
  const auto refused = [&](const PoolShape& s) {
    return refusal([&] { backend->pool_forward({s, memory.data(), memory.data(), nullptr}); });
  };
  const ImageShape image{4, 4, 1};
  EXPECT_THAT(refused(pool_of(PoolKind::kMax, 1, image, {5, 5, 1, 1, 0, 0})),
              HasSubstr("does not fit"));
  EXPECT_THAT(refused(pool_of(PoolKind::kMax, 1, image, {2, 2, 1, 1, 2, 0})),
              HasSubstr("at most half the window"));
  EXPECT_THAT(refused(pool_of(PoolKind::kMax, 1, {20, 20, 1}, {16, 16, 1, 1, 0, 0})),
              HasSubstr("at most 255"));
  EXPECT_THAT(refused(pool_of(PoolKind::kMax, 1, image, {2, 2, 0, 1, 0, 0})), HasSubstr("stride"));
  EXPECT_THAT(refused(pool_of(PoolKind::kMax, -1, image, {2, 2, 2, 2, 0, 0})), HasSubstr("rows"));
  const PoolShape good = pool_of(PoolKind::kMax, 1, image, {2, 2, 2, 2, 0, 0});
  EXPECT_EQ(refused(good), "accepted");
  EXPECT_THAT(refusal([&] {
                backend->pool_forward({good, nullptr, memory.data(), nullptr});
              }),
              HasSubstr("x must not be null"));
  EXPECT_THAT(refusal([&] {
                backend->pool_backward({good, memory.data(), nullptr, memory.data()});
              }),
              HasSubstr("winner must not be null"));
}

INSTANTIATE_TEST_SUITE_P(Rooms, Pool, ::testing::ValuesIn(all_rooms()),
                         [](const auto& test) { return test.param.name(); });

// Large enough for three threads to share the work.
TEST(PoolRooms, GiveTheSameBits) {
  Random random(504);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const PoolShape shapes[] = {
      pool_of(PoolKind::kMax, 9, {16, 16, 20}, {2, 2, 2, 2, 0, 0}),
      pool_of(PoolKind::kMax, 7, {15, 15, 18}, {3, 3, 2, 2, 1, 1}),
      pool_of(PoolKind::kAverage, 7, {15, 15, 20}, {3, 3, 2, 2, 1, 1}),
      pool_of(PoolKind::kAverage, 60, {8, 8, 17}, {8, 8, 1, 1, 0, 0}),
  };
  for (const PoolShape& s : shapes) {
    SCOPED_TRACE(text(s));
    std::vector<float> x =
        random.vector(static_cast<std::size_t>(s.rows * s.in.elements()), -1.0f, 1.0f);
    // Few values: many ties; and some NaN.
    for (float& v : x) v = random.integer(0, 99) == 0 ? kNan : std::round(v * 8.0f) / 3.0f;
    const std::vector<float> dy =
        random.vector(static_cast<std::size_t>(s.rows * s.out().elements()), -1.0f, 1.0f);
    Pooled want;
    std::vector<float> want_dx;
    for (const Room& room : all_rooms()) {
      SCOPED_TRACE(room.name());
      const auto backend = room.make();
      const Pooled got = forward(*backend, s, x);
      const std::vector<float> dx = backward(*backend, s, got.winner, dy);
      if (want.y.empty()) {
        want = got;
        want_dx = dx;
      }
      ASSERT_EQ(bit_difference(got.y, want.y), "");
      ASSERT_EQ(got.winner, want.winner);
      ASSERT_EQ(bit_difference(dx, want_dx), "");
    }
  }
}

}  // namespace
}  // namespace cuthresh::testing
