// Order statistics by radix: against a sort of float64 magnitudes and against room A, for every
// grid and order of threads.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/cpu_backend.hpp"
#include "select_list.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kTiny = std::numeric_limits<float>::denorm_min();
void expect_median(const SelectResult& got, const std::vector<double>& inside) {
  ASSERT_EQ(got.inside, inside.size());
  ASSERT_EQ(got.found, inside.empty() ? 0U : 1U);
  if (inside.empty()) {
    ASSERT_EQ(got.key, 0U);
  } else {
    ASSERT_EQ(static_cast<double>(magnitude_from_key(got.key)), inside[(inside.size() - 1) / 2]);
  }
}

// Many scales, ties, zeros of both signs, denormals, and what is not finite.
std::vector<float> hard_values(Random& random, std::size_t n) {
  std::vector<float> v(n);
  for (float& x : v) {
    switch (random.integer(0, 9)) {
      case 0:
        x = random.integer(0, 1) == 0 ? 0.0f : -0.0f;
        break;
      case 1:
        x = 1e-3f;
        break;
      case 2:
        x = static_cast<float>(random.integer(-5, 5)) * kTiny;
        break;
      case 3:
        x = random.integer(0, 20) > 0 ? -1e-3f : (random.integer(0, 1) == 0 ? kNan : -kInf);
        break;
      default:
        x = random.uniform(-1.0f, 1.0f) * std::exp2(static_cast<float>(-random.integer(0, 40)));
    }
  }
  return v;
}

SelectList hard_list(Random& random, std::int32_t tile_size) {
  std::vector<SelectTensor> tensors;
  std::size_t at = 0;
  // Group 1 has two tensors with another group's between them; group 3 is empty; −1 takes no part.
  const std::int32_t group[] = {0, 1, -1, 2, 1, 3, 4, 5, -1, 6, 7};
  for (const std::size_t n :
       {1UL, 511UL, 4000UL, 512UL, 513UL, 0UL, 4099UL, 8191UL, 3UL, 8193UL, 9001UL}) {
    tensors.push_back({hard_values(random, n), group[at], at % 5});
    ++at;
  }
  return SelectList(std::move(tensors), tile_size);
}

TEST(SelectKernels, BracketMediansEqualASortAndRoomA) {
  Random random(101);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto room = cpu::make_cpu_backend("reference", 1, "baseline");
  for (const std::int32_t tile_size : {8192, 256}) {
    SelectList list = hard_list(random, tile_size);
    if (tile_size == 256) list.reverse_tiles();
    std::vector<Array<float>> keep;
    const auto plan = list.plan(*room, keep);
    for (int i = 0; i < (tile_size == 256 ? 2 : 1); ++i) {
      std::vector<std::pair<float, float>> brackets;
      std::vector<SelectState> states;
      std::vector<std::vector<double>> inside;
      for (std::int32_t g = 0; g < list.groups(); ++g) {
        const float a = std::exp2(random.uniform(-30.0f, 1.0f));
        const std::int32_t kind = (g + i) % 4;
        const float b = kind == 1 ? a * 1.001f : std::exp2(random.uniform(-30.0f, 1.0f));
        const float lo = kind == 2 ? 0.0f : std::min(a, b);
        const float hi = kind == 3 ? kInf : std::max(a, b);
        brackets.emplace_back(lo, hi);
        states.push_back(select_bracket_median(lo, hi));
        inside.push_back(list.sorted_inside(g, lo, hi));
      }
      const std::vector<double> inside_all =
          list.sorted_inside(-1, brackets[0].first, brackets[0].second);
      const std::vector<MedianResult> each = room->read_bracket_medians(*plan, brackets);
      const MedianResult all =
          room->read_bracket_medians(*plan, std::span(brackets).first(1)).front();
      for_each_launch([&](std::uint32_t grid) {
        const std::vector<SelectResult> got = list.run(states, false, grid);
        for (std::size_t g = 0; g < got.size(); ++g) {
          SCOPED_TRACE(::testing::Message() << "group " << g);
          expect_median(got[g], inside[g]);
          ASSERT_EQ(got[g].inside, each[g].inside);
          if (each[g].median) {
            ASSERT_EQ(magnitude_from_key(got[g].key), *each[g].median);
          }
        }
        const SelectResult over_all = list.run({states[0]}, true, grid).front();
        expect_median(over_all, inside_all);
        ASSERT_EQ(over_all.inside, all.inside);
      });
      if (HasFatalFailure()) return;
    }
  }
}

TEST(SelectKernels, KthLargestEqualsASortAndRoomA) {
  Random random(102);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto room = cpu::make_cpu_backend("reference", 1, "baseline");
  SelectList list = hard_list(random, 8192);
  std::vector<Array<float>> keep;
  const auto plan = list.plan(*room, keep);
  const std::vector<double> sorted = list.sorted(-1);
  const std::uint64_t n = sorted.size();
  ASSERT_TRUE(std::isnan(sorted.back()) && sorted.front() == 0.0);
  for (const std::uint64_t k :
       {std::uint64_t{1}, std::uint64_t{700}, n / 2, n - n / 20, n - 1, n}) {
    const double want = sorted[n - k];
    const float of_room = room->read_kth_gradient(*plan, static_cast<std::int64_t>(k));
    for_each_launch([&](std::uint32_t grid) {
      const SelectResult got = list.run({select_kth_largest(k)}, true, grid).front();
      ASSERT_EQ(got.inside, n);
      ASSERT_EQ(got.found, 1U);
      const float value = magnitude_from_key(got.key);
      ASSERT_TRUE(same_value(static_cast<double>(value), want)) << k << " " << value;
      ASSERT_TRUE(same_value(value, of_room)) << k << " " << value << " " << of_room;
    });
    if (HasFatalFailure()) return;
  }
  for (const std::uint64_t k : {std::uint64_t{0}, n + 1, ~std::uint64_t{0}}) {
    const SelectResult got = list.run({select_kth_largest(k)}, true, 7).front();
    EXPECT_EQ(got.found, 0U) << k;
    EXPECT_EQ(got.key, 0U);
  }
}

TEST(SelectKernels, KthLargestOfEachGroupAtOnce) {
  Random random(103);
  SelectList list = hard_list(random, 2048);
  std::vector<SelectState> states;
  for (std::int32_t g = 0; g < list.groups(); ++g) states.push_back(select_kth_largest(2));
  const std::vector<SelectResult> got = list.run(states, false, 5);
  for (std::int32_t g = 0; g < list.groups(); ++g) {
    const std::vector<double> sorted = list.sorted(g);
    const auto at = static_cast<std::size_t>(g);
    ASSERT_EQ(got[at].inside, sorted.size());
    ASSERT_EQ(got[at].found, sorted.size() < 2 ? 0U : 1U);
    if (sorted.size() >= 2) {
      ASSERT_TRUE(same_value(static_cast<double>(magnitude_from_key(got[at].key)),
                             sorted[sorted.size() - 2]));
    }
  }
}

TEST(SelectKernels, EndsAreOutsideAndNanIsNowhere) {
  SelectList list({{{1.0f, -2.0f, 2.0f, kNan, -kNan, 3.0f, kInf, 0.0f, -0.0f, kTiny}, 0, 1}});
  const auto ask = [&](float lo, float hi) {
    return list.run({select_bracket_median(lo, hi)}, false, 1).front();
  };
  expect_median(ask(1.0f, 3.0f), {2.0, 2.0});
  expect_median(ask(0.0f, kInf), {static_cast<double>(kTiny), 1.0, 2.0, 2.0, 3.0});
  expect_median(ask(-0.0f, 1.0f), {static_cast<double>(kTiny)});
  expect_median(ask(kTiny, 1.0f), {});
  expect_median(ask(2.0f, 3.0f), {});
  expect_median(ask(2.0f, std::nextafter(2.0f, 3.0f)), {});  // no float between
  expect_median(ask(3.0f, 2.0f), {});
  expect_median(ask(2.0f, 2.0f), {});
  expect_median(ask(kNan, 2.0f), {});
  expect_median(ask(0.0f, kNan), {});
  expect_median(ask(-1.0f, 2.0f), {});  // as room A: λ is not negative
  expect_median(ask(2.5f, std::numeric_limits<float>::max()), {3.0});
}

TEST(SelectKernels, TiesAndAllEqual) {
  for (const std::size_t n : {1UL, 600UL, 9001UL}) {
    SelectList list({{std::vector<float>(n, -0.625f), 0, 3}});
    for_each_launch([&](std::uint32_t grid) {
      const SelectResult median = list.run({select_bracket_median(0.5f, 0.75f)}, true, grid)[0];
      ASSERT_EQ(median.inside, n);
      ASSERT_EQ(magnitude_from_key(median.key), 0.625f);
      const std::uint64_t k = grid == 1 ? 1 : n;
      ASSERT_EQ(magnitude_from_key(list.run({select_kth_largest(k)}, true, grid)[0].key), 0.625f);
    });
  }
  // Half and half: the lower median is the lower one.
  std::vector<float> two(1000, 0.25f);
  std::fill(two.begin() + 500, two.end(), -0.5f);
  SelectList list({{two, 0, 0}});
  EXPECT_EQ(magnitude_from_key(list.run({select_bracket_median(0.1f, 1.0f)}, true, 2)[0].key),
            0.25f);
}

TEST(SelectKernels, AnEmptyListHasNoMedian) {
  SelectList list({{{}, 0, 0}, {{1.0f, 2.0f}, -1, 0}});
  for (const bool over_all : {false, true}) {
    expect_median(list.run({select_bracket_median(0.0f, kInf)}, over_all, 3)[0], {});
    EXPECT_EQ(list.run({select_kth_largest(1)}, over_all, 3)[0].found, 0U);
  }
}

TEST(SelectKernels, WeightsCanBeLookedAtInstead) {
  Random random(104);
  SelectList list({{hard_values(random, 3001), 0, 2}}, 8192, true);
  const std::vector<double> sorted = list.sorted(0);
  const SelectResult got = list.run({select_kth_largest(1500)}, true, 2,
                                    select_count_kernel<WeightSource, kSelectThreads>)[0];
  EXPECT_EQ(static_cast<double>(magnitude_from_key(got.key)), sorted[sorted.size() - 1500]);
}

TEST(SelectKernels, SharedBinsAreEmptiedBeforeTheyOverflow) {
  // With a limit of 2000 elements instead of 2^31, every tile is followed by an emptying.
  Random random(105);
  SelectList list = hard_list(random, 1024);
  const std::vector<SelectState> states{select_bracket_median(1e-6f, 0.5f)};
  const SelectResult want = list.run(states, true, 3)[0];
  const SelectResult got =
      list.run(states, true, 3, select_count_kernel<GradientSource, kSelectThreads, 2000>)[0];
  EXPECT_EQ(got.inside, want.inside);
  EXPECT_EQ(got.key, want.key);
  expect_median(got, list.sorted_inside(-1, 1e-6f, 0.5f));
  static_assert(kSelectFlush + kTileElements <= (std::int64_t{1} << 32) - 1);
}

TEST(SelectKernels, PassesDependOnTheRangeOnly) {
  EXPECT_EQ(select_passes(select_bracket_median(2.0f, 1.0f)), 0);
  EXPECT_EQ(select_passes(select_bracket_median(1.0f, 1.0005f)), 1);
  EXPECT_EQ(select_passes(select_bracket_median(0.001f, 0.25f)), 2);
  EXPECT_EQ(select_passes(select_bracket_median(0.0f, kInf)), 3);
  EXPECT_EQ(select_passes(select_kth_largest(1)), 3);
  // SelectList::run asserts that this many are enough; the worst widths at hostile places:
  Random random(106);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (const std::uint32_t width :
       {1U, 2U, 8191U, 8192U, 8193U, 1U << 25, (1U << 26) - 1, 1U << 26, (1U << 26) + 1}) {
    const auto start = static_cast<std::uint32_t>(random.integer(1, 1 << 29)) | 1U;
    std::vector<float> x;
    for (int i = 0; i < 700; ++i) {
      x.push_back(magnitude_from_key(start + random.bits() % width));
    }
    x.push_back(magnitude_from_key(start));
    x.push_back(magnitude_from_key(start + width - 1));
    x.push_back(magnitude_from_key(start - 1));      // both ends of the open bracket:
    x.push_back(magnitude_from_key(start + width));  // outside
    const float lo = x[x.size() - 2];
    const float hi = x.back();
    SelectList list({{x, 0, 0}});
    const SelectState state = select_bracket_median(lo, hi);
    EXPECT_EQ(select_passes(state), width <= 8192 ? 1 : (width <= (1U << 26) ? 2 : 3));
    expect_median(list.run({state}, true, 2)[0], list.sorted_inside(0, lo, hi));
  }
}

TEST(SelectKernels, NothingIsReadWhenAllAreDone) {
  const SelectHeader header{0};
  // Pointers into nowhere: reading one would crash.
  const TensorList list{nullptr, nullptr, std::int64_t{1} << 40, 3};
  simt::launch(4, kSelectThreads, select_count_kernel<GradientSource, kSelectThreads>, list, false,
               &header, nullptr, nullptr);
  // And further passes leave results as they are.
  SelectList values({{{1.0f, 2.0f, 4.0f, 8.0f, 16.0f}, 0, 0}});
  SelectState done = select_bracket_median(0.5f, 32.0f);
  done.running = 0;
  done.counted = 1;
  done.found = 1;
  done.inside = 5;
  done.first = magnitude_key(4.0f);
  const SelectResult got = values.run({done}, true, 2)[0];
  EXPECT_EQ(got.inside, 5U);
  EXPECT_EQ(got.key, magnitude_key(4.0f));
  EXPECT_EQ(got.found, 1U);
}

// Counts beyond 32 bits, fed to the pick as bins.
TEST(SelectKernels, RanksBeyondTwoToThe32) {
  constexpr std::uint64_t kBig = std::uint64_t{1} << 33;
  // Bins 5: 2^33, 100: 2^33 + 7, 4000: 1, 8191: 2^34.
  const std::uint64_t inside = 4 * kBig + 8;
  struct Case {
    std::uint64_t wanted;
    std::uint32_t bin;
    std::uint64_t rank;
  };
  const Case cases[] = {
      {0, 100, (inside - 1) / 2 - kBig},  // the lower median
      {inside, 5, 0},
      {inside - kBig + 1, 5, kBig - 1},
      {inside - kBig, 100, 0},
      {2 * kBig + 2, 100, kBig + 6},
      {2 * kBig + 1, 4000, 0},
      {2 * kBig, 8191, 0},
      {1, 8191, 2 * kBig - 1},
  };
  for (const Case& c : cases) {
    SelectState whole_range = select_kth_largest(1);
    whole_range.wanted = c.wanted;
    simt::for_each_order([&] {
      SCOPED_TRACE(::testing::Message() << simt::order_name() << " k " << c.wanted);
      Guarded<std::uint64_t> bins(kSelectBins, 0);
      bins.data()[5] = kBig;
      bins.data()[100] = kBig + 7;
      bins.data()[4000] = 1;
      bins.data()[8191] = 2 * kBig;
      Guarded<SelectHeader> header(1, SelectHeader{1});
      Guarded<SelectState> state(1, whole_range);
      Guarded<SelectResult> result(1, SelectResult{});
      simt::launch(1, kSelectThreads, select_pick_kernel<kSelectThreads>, header.data(),
                   state.data(), result.data(), bins.data(), 1);
      const SelectState next = state.values()[0];
      EXPECT_EQ(next.inside, inside);
      EXPECT_EQ(next.rank, c.rank);
      EXPECT_EQ(next.first, c.bin << 18);
      EXPECT_EQ(next.last, (c.bin << 18) + (1U << 18) - 1U);
      EXPECT_EQ(next.shift, 5U);
      EXPECT_EQ(next.running, 1U);
      EXPECT_EQ(header.data()->running, 1U);
      EXPECT_EQ(bins.values(), std::vector<std::uint64_t>(kSelectBins, 0));
    });
  }
}

// Every barrier and atomic once, in launches small enough for a run under ThreadSanitizer.
TEST(SelectKernels, SmallForThreadSanitizer) {
  Random random(107);
  SelectList list({{hard_values(random, 1500), 0, 1},
                   {hard_values(random, 100), 1, 0},
                   {hard_values(random, 600), 0, 0},
                   {hard_values(random, 5), 2, 0}},
                  1024);
  const SetOrder shuffled(simt::Order::kShuffled, 3);
  // Three selections for two blocks: one block does two of them.
  const std::vector<SelectState> states(3, select_bracket_median(0.01f, 1.0f));
  const std::vector<SelectResult> got = list.run(states, false, 2);
  for (std::size_t g = 0; g < 3; ++g) {
    expect_median(got[g], list.sorted_inside(static_cast<std::int64_t>(g), 0.01f, 1.0f));
  }
}

}  // namespace
}  // namespace cuthresh::testing
