// Order statistics of lists so large that the CPU room samples them first, against a full sort.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "core/array.hpp"
#include "kernels/math/bracket.hpp"
#include "support/engines.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::size_t kSize = 300'007;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// The rooms of the CPU, one engine each: selection has no part in matrix products.
std::vector<Room> selecting_rooms() {
  std::vector<Room> rooms = all_rooms();
  std::erase_if(rooms, [](const Room& room) { return room.engine != "reference"; });
  return rooms;
}

struct LargeList {
  std::vector<float> g;
  Array<float> array;
  std::unique_ptr<ProxPlan> plan;

  LargeList(Backend& backend, std::vector<float> values)
      : g(std::move(values)), array(backend, std::span<const float>(g)) {
    const auto size = static_cast<std::int64_t>(g.size());
    // Three tensors of one group, the middle one small.
    const std::int64_t third = size / 3;
    plan = backend.make_plan(
        std::vector<ProxTensor>{
            {array.data(), array.data(), third, 0},
            {array.data() + third, array.data() + third, 7, 0},
            {array.data() + third + 7, array.data() + third + 7, size - third - 7, 0}},
        1);
  }
};

class SelectLarge : public ::testing::TestWithParam<Room> {
 protected:
  /// Medians of several brackets and keys of several ranks.
  void expect_a_sort(const std::vector<float>& values) {
    SCOPED_TRACE(::testing::Message() << "seed " << random_.seed());
    LargeList list(*backend_, values);
    std::vector<float> sorted = list.g;
    for (float& x : sorted) x = std::fabs(x);
    std::sort(sorted.begin(), sorted.end());
    const auto n = static_cast<std::int64_t>(sorted.size());
    for (const std::int64_t k : {std::int64_t{1}, std::int64_t{2}, n / 10, n / 2, n - 1, n}) {
      EXPECT_EQ(backend_->read_kth_gradient(*list.plan, k), sorted[static_cast<std::size_t>(n - k)])
          << k;
    }
    const float middle = sorted[sorted.size() / 2];
    for (const auto& [lo, hi] : {std::pair{0.0f, kInfinity}, std::pair{middle / 2, middle * 1.5f},
                                 std::pair{0.0f, middle}, std::pair{middle, kInfinity}}) {
      const std::pair<float, float> bracket{lo, hi};
      const MedianResult got = backend_->read_bracket_medians(*list.plan, {&bracket, 1}).front();
      const auto begin = std::upper_bound(sorted.begin(), sorted.end(), lo);
      const auto end = std::lower_bound(begin, sorted.end(), hi);
      ASSERT_EQ(got.inside, static_cast<std::uint64_t>(end - begin)) << lo << " " << hi;
      ASSERT_EQ(got.median.has_value(), begin != end);
      if (begin != end) {
        EXPECT_EQ(*got.median, *(begin + (end - begin - 1) / 2)) << lo << " " << hi;
      }
    }
  }

  Random random_{41};
  std::unique_ptr<Backend> backend_ = GetParam().make();
};

TEST_P(SelectLarge, ManyScales) {
  std::vector<float> values(kSize);
  for (float& x : values) {
    x = random_.uniform(-1.0f, 1.0f) * std::exp2(static_cast<float>(-random_.integer(0, 40)));
  }
  expect_a_sort(values);
}

TEST_P(SelectLarge, Sorted) {
  std::vector<float> values = random_.vector(kSize, -1.0f, 1.0f);
  std::sort(values.begin(), values.end());
  expect_a_sort(values);
}

TEST_P(SelectLarge, AllEqual) {
  expect_a_sort(std::vector<float>(kSize, -0.25f));
}

TEST_P(SelectLarge, MostlyZeros) {
  std::vector<float> values(kSize, 0.0f);
  for (std::size_t i = 0; i < 50; ++i) {
    values[static_cast<std::size_t>(random_.integer(0, kSize - 1))] = random_.uniform(1.0f, 2.0f);
  }
  expect_a_sort(values);
}

// More keys than there is room for lie next to the one that is asked for.
TEST_P(SelectLarge, TwoNeighbours) {
  std::vector<float> values(kSize);
  for (float& x : values) x = random_.integer(0, 1) == 0 ? 1.0f : std::nextafter(1.0f, 2.0f);
  expect_a_sort(values);
}

// What the sample sees has nothing to do with the rest: all of it is below or above.
TEST_P(SelectLarge, AMisleadingSample) {
  constexpr std::int64_t kChunk = 16384;
  const auto size = static_cast<std::int64_t>(kSize);
  const auto stride = static_cast<std::uint64_t>(std::cbrt(static_cast<double>(size)));
  const std::int64_t third = size / 3;
  const std::vector<std::pair<std::int64_t, std::int64_t>> tensors = {
      {0, third}, {third, third + 7}, {third + 7, size}};
  for (const bool sample_is_large : {true, false}) {
    std::vector<float> values(kSize);
    for (float& x : values) x = random_.uniform(1.0f, 2.0f) * (sample_is_large ? 1.0f : 16.0f);
    for (std::size_t t = 0; t < tensors.size(); ++t) {
      for (std::int64_t begin = tensors[t].first; begin < tensors[t].second; begin += kChunk) {
        const std::int64_t n = std::min(kChunk, tensors[t].second - begin);
        // The places that src/cpu/select.cpp takes.
        auto state = static_cast<std::uint32_t>(t * 0x9e3779b1U) +
                     static_cast<std::uint32_t>(begin - tensors[t].first);
        const auto below = [&](std::uint64_t bound) {
          state = state * 1664525U + 1013904223U;
          return static_cast<std::int64_t>(state * bound >> 32);
        };
        for (std::int64_t i = below(stride); i < n; i += 1 + below(2 * stride - 1)) {
          values[static_cast<std::size_t>(begin + i)] = random_.uniform(4.0f, 8.0f);
        }
      }
    }
    expect_a_sort(values);
  }
}

INSTANTIATE_TEST_SUITE_P(Rooms, SelectLarge, ::testing::ValuesIn(selecting_rooms()),
                         [](const auto& test) { return test.param.name(); });

// The loop against its definition, at every alignment of its vectors.
TEST(SelectKeys, EveryInstructionSetCountsAndKeepsTheSame) {
  Random random(43);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  std::vector<float> x = random.vector(5000, -1.0f, 1.0f);
  x[3] = std::numeric_limits<float>::quiet_NaN();
  x[40] = -kInfinity;
  x[41] = -0.0f;
  const auto key = [](float v) { return magnitude_key(v); };
  struct Ranges {
    cpu::KeyRange range, wanted;
  };
  for (const Ranges& r : {Ranges{{0U, 0x7fffffffU}, {key(0.25f), key(0.5f)}},
                          Ranges{{1U, key(0.75f)}, {1U, key(0.75f)}},
                          Ranges{{key(0.1f), key(0.2f)}, {key(0.15f), key(0.15f)}},
                          Ranges{{0U, 0x7fffffffU}, {0U, 0U}},
                          Ranges{{0U, 0x7fffffffU}, {key(kInfinity), 0x7fffffffU}}}) {
    for (const std::int64_t n : {0, 1, 15, 16, 17, 4095, 4097, 5000}) {
      cpu::KeyCounts expected;
      std::vector<std::uint32_t> kept;
      for (std::int64_t i = 0; i < n; ++i) {
        const std::uint32_t k = key(x[static_cast<std::size_t>(i)]);
        if (k < r.range.first || k > r.range.last) continue;
        ++expected.inside;
        if (k < r.wanted.first) ++expected.below;
        if (k >= r.wanted.first && k <= r.wanted.last) kept.push_back(k);
      }
      for (const char* isa : {"baseline", "avx2", "avx512"}) {
        const cpu::Loops* loops = cpu::find_loops(isa);
        if (loops == nullptr) continue;
        std::vector<std::uint32_t> keys(static_cast<std::size_t>(n) + 1, 77U);
        const cpu::KeyCounts got =
            loops->float32.gradients.select_keys(x.data(), n, r.range, r.wanted, keys.data());
        EXPECT_EQ(keys.back(), 77U) << isa << " wrote past its room, n " << n;
        EXPECT_EQ(got.inside, expected.inside) << isa;
        EXPECT_EQ(got.below, expected.below) << isa;
        EXPECT_EQ(got.among, static_cast<std::int64_t>(kept.size())) << isa;
        keys.resize(kept.size());
        EXPECT_EQ(keys, kept) << isa << " n " << n;
        const cpu::KeyCounts counted =
            loops->float32.gradients.select_keys(x.data(), n, r.range, r.wanted, nullptr);
        EXPECT_EQ(counted.among, got.among) << isa;
      }
    }
  }
}

}  // namespace
}  // namespace cuthresh::testing
