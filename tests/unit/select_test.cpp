// Order statistics against a full sort.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "core/array.hpp"
#include "cuthresh/error.hpp"
#include "support/engines.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

class Select : public ::testing::TestWithParam<Room> {};

struct Lists {
  std::vector<std::vector<float>> g;
  std::vector<Array<float>> arrays;
  std::unique_ptr<ProxPlan> plan;

  Lists(Backend& backend, std::vector<std::vector<float>> values) : g(std::move(values)) {
    std::vector<ProxTensor> list;
    for (std::size_t i = 0; i < g.size(); ++i) {
      arrays.emplace_back(backend, std::span<const float>(g[i]));
      list.push_back({arrays.back().data(), arrays.back().data(),
                      static_cast<std::int64_t>(g[i].size()), static_cast<std::int32_t>(i)});
    }
    plan = backend.make_plan(list, static_cast<std::int32_t>(g.size()));
  }

  std::vector<float> sorted_inside(std::size_t first, std::size_t end, float lo, float hi) const {
    std::vector<float> in;
    for (std::size_t i = first; i < end; ++i) {
      for (const float x : g[i]) {
        if (std::fabs(x) > lo && std::fabs(x) < hi) in.push_back(std::fabs(x));
      }
    }
    std::sort(in.begin(), in.end());
    return in;
  }
};

void expect_median(const MedianResult& got, const std::vector<float>& sorted) {
  EXPECT_EQ(got.inside, sorted.size());
  ASSERT_EQ(got.median.has_value(), !sorted.empty());
  if (sorted.empty()) return;
  EXPECT_EQ(*got.median, sorted[(sorted.size() - 1) / 2]);
}

std::vector<std::vector<float>> random_lists(Random& random) {
  std::vector<std::vector<float>> lists;
  for (const std::size_t n : {1UL, 64UL, 8192UL, 50021UL}) {
    std::vector<float> v(n);
    for (float& x : v) {
      // Many scales, ties and zeros.
      const auto kind = random.integer(0, 5);
      x = kind == 0 ? 0.0f
          : kind == 1
              ? 1e-3f
              : random.uniform(-1.0f, 1.0f) * std::exp2(static_cast<float>(-random.integer(0, 40)));
    }
    lists.push_back(std::move(v));
  }
  return lists;
}

TEST_P(Select, BracketMediansEqualASort) {
  Random random(31);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  Lists lists(*backend, random_lists(random));
  for (int i = 0; i < 30; ++i) {
    std::vector<std::pair<float, float>> brackets;
    for (std::size_t group = 0; group < 4; ++group) {
      float a = std::exp2(random.uniform(-30.0f, 1.0f));
      float b = i % 3 == 0 ? a * 1.0001f : std::exp2(random.uniform(-30.0f, 1.0f));
      if (i % 7 == 0) a = 0.0f;
      brackets.emplace_back(std::min(a, b), std::max(a, b));
    }
    const auto each = backend->read_bracket_medians(*lists.plan, brackets);
    for (std::size_t group = 0; group < 4; ++group) {
      expect_median(each[group], lists.sorted_inside(group, group + 1, brackets[group].first,
                                                     brackets[group].second));
    }
    const auto all = backend->read_bracket_medians(*lists.plan, std::span(brackets).first(1));
    expect_median(all.front(), lists.sorted_inside(0, 4, brackets[0].first, brackets[0].second));
  }
}

TEST_P(Select, EndsAreOutsideAndNanIsNowhere) {
  const auto backend = GetParam().make();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  Lists lists(*backend, {{1.0f, -2.0f, 2.0f, nan, -nan, 3.0f, inf, 0.0f, -0.0f}});
  const auto ask = [&](float lo, float hi) {
    const std::pair<float, float> bracket{lo, hi};
    return backend->read_bracket_medians(*lists.plan, {&bracket, 1}).front();
  };
  expect_median(ask(1.0f, 3.0f), {2.0f, 2.0f});
  expect_median(ask(0.0f, inf), {1.0f, 2.0f, 2.0f, 3.0f});
  expect_median(ask(2.0f, 3.0f), {});
  expect_median(ask(3.0f, 2.0f), {});
  expect_median(ask(2.5f, std::numeric_limits<float>::max()), {3.0f});
}

TEST_P(Select, KthLargestEqualsASort) {
  Random random(37);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  Lists lists(*backend, random_lists(random));
  std::vector<float> all;
  for (const auto& g : lists.g) {
    for (const float x : g) all.push_back(std::fabs(x));
  }
  std::sort(all.begin(), all.end(), std::greater<>());
  const auto n = static_cast<std::int64_t>(all.size());
  for (const std::int64_t k :
       {std::int64_t{1}, std::int64_t{2}, std::int64_t{2000}, n / 2, n - 1, n}) {
    EXPECT_EQ(backend->read_kth_gradient(*lists.plan, k), all[static_cast<std::size_t>(k - 1)])
        << k;
  }
  EXPECT_THROW(backend->read_kth_gradient(*lists.plan, 0), InternalError);
  EXPECT_THROW(backend->read_kth_gradient(*lists.plan, n + 1), InternalError);
}

INSTANTIATE_TEST_SUITE_P(Rooms, Select, ::testing::ValuesIn(all_rooms()),
                         [](const auto& test) { return test.param.name(); });

}  // namespace
}  // namespace cuthresh::testing
