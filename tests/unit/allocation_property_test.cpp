// Allocation of a total to layers, against the definition solved by bisection in long double, and
// against RigL's loop where no layer is at its least.

#include <rapidcheck.h>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "cuthresh/error.hpp"
#include "search/allocation.hpp"

namespace cuthresh::search {
namespace {

struct Layers {
  std::vector<std::int64_t> sizes, shares;
  std::uint64_t total = 0;
};

Layers draw_layers() {
  Layers drawn;
  const auto count = *rc::gen::inRange<std::size_t>(1, 9);
  std::uint64_t most = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto out = *rc::gen::element<std::int64_t>(1, 2, 3, 10, 64, 1000);
    const auto in = *rc::gen::inRange<std::int64_t>(1, 300);
    drawn.sizes.push_back(out * in);
    drawn.shares.push_back(out + in);
    most += static_cast<std::uint64_t>(out * in);
  }
  drawn.total = *rc::gen::inRange<std::uint64_t>(count, most + 1);
  return drawn;
}

long double number_at(const Layers& l, std::size_t i, long double scale) {
  return std::clamp(scale * static_cast<long double>(l.shares[i]), 1.0L,
                    static_cast<long double>(l.sizes[i]));
}

long double scale_of(const Layers& l) {
  long double low = 0.0L;
  long double high = 1e9L;
  for (int i = 0; i < 200; ++i) {
    const long double middle = 0.5L * (low + high);
    long double sum = 0.0L;
    for (std::size_t j = 0; j < l.sizes.size(); ++j) sum += number_at(l, j, middle);
    (sum > static_cast<long double>(l.total) ? high : low) = middle;
  }
  return low;
}

RC_GTEST_PROP(Allocation, IsTheDefinitionRoundedToTheExactTotal, ()) {
  const Layers l = draw_layers();
  const std::vector<std::uint64_t> got = allocate(l.sizes, l.shares, l.total);
  RC_ASSERT(std::accumulate(got.begin(), got.end(), std::uint64_t{0}) == l.total);
  const long double scale = scale_of(l);
  for (std::size_t i = 0; i < got.size(); ++i) {
    RC_ASSERT(got[i] >= 1U);
    RC_ASSERT(got[i] <= static_cast<std::uint64_t>(l.sizes[i]));
    RC_ASSERT(std::fabs(static_cast<long double>(got[i]) - number_at(l, i, scale)) < 1.0L + 1e-9L);
  }
}

RC_GTEST_PROP(Allocation, RoundsUpWhereTheRemainderIsLargestAndTheIndexLowest, ()) {
  const Layers l = draw_layers();
  const std::vector<std::uint64_t> got = allocate(l.sizes, l.shares, l.total);
  const long double scale = scale_of(l);
  const auto remainder = [&](std::size_t i) {
    return number_at(l, i, scale) - std::floor(number_at(l, i, scale) + 1e-9L);
  };
  const auto up = [&](std::size_t i) {
    return static_cast<long double>(got[i]) > number_at(l, i, scale) + 1e-9L;
  };
  for (std::size_t i = 0; i < got.size(); ++i) {
    for (std::size_t j = 0; j < got.size(); ++j) {
      if (!up(j) || up(i) || remainder(i) < 1e-6L) continue;
      RC_ASSERT(remainder(j) >= remainder(i) - 1e-9L);
      if (l.sizes[i] == l.sizes[j] && l.shares[i] == l.shares[j]) RC_ASSERT(j < i);
    }
  }
}

/// RigL's loop: layers that would be denser than 1 are dense, and the rest begins anew.
std::vector<double> by_rigls_loop(const Layers& l) {
  std::vector<bool> dense(l.sizes.size(), false);
  while (true) {
    double left = static_cast<double>(l.total);
    double shares = 0.0;
    for (std::size_t i = 0; i < dense.size(); ++i) {
      if (dense[i]) left -= static_cast<double>(l.sizes[i]);
      if (!dense[i]) shares += static_cast<double>(l.shares[i]);
    }
    bool again = false;
    std::vector<double> numbers;
    for (std::size_t i = 0; i < dense.size(); ++i) {
      const double wanted = dense[i] ? static_cast<double>(l.sizes[i])
                                     : left / shares * static_cast<double>(l.shares[i]);
      numbers.push_back(wanted);
      if (dense[i] || wanted <= static_cast<double>(l.sizes[i])) continue;
      dense[i] = again = true;
    }
    if (!again) return numbers;
  }
}

RC_GTEST_PROP(Allocation, IsRiglsLoop, ()) {
  const Layers l = draw_layers();
  const std::vector<double> want = by_rigls_loop(l);
  RC_PRE(*std::min_element(want.begin(), want.end()) >= 1.0);
  const std::vector<std::uint64_t> got = allocate(l.sizes, l.shares, l.total);
  for (std::size_t i = 0; i < got.size(); ++i) {
    RC_ASSERT(std::fabs(static_cast<double>(got[i]) - want[i]) < 1.0 + 1e-6);
  }
}

TEST(Allocation, OfLenet300WithTenPercent) {
  // The third would be 1.8 times full; the others get 25620/1484 a unit of their extents.
  const std::vector<std::int64_t> sizes = {784 * 300, 300 * 100, 100 * 10};
  const std::vector<std::int64_t> dims = {1084, 400, 110};
  const std::vector<std::uint64_t> erdos_renyi = {18714, 6906, 1000};
  EXPECT_EQ(allocate(sizes, dims, 26620), erdos_renyi);
  const std::vector<std::uint64_t> uniform = {23520, 3000, 100};
  EXPECT_EQ(allocate(sizes, sizes, 26620), uniform);
}

TEST(Allocation, HasNoOverflowAtSizesOfAQuintillion) {
  const std::vector<std::int64_t> sizes = {std::int64_t{1} << 60, std::int64_t{1} << 61, 3};
  const std::vector<std::uint64_t> most = {std::uint64_t{1} << 60, std::uint64_t{1} << 61, 3};
  EXPECT_EQ(allocate(sizes, sizes, most[0] + most[1] + most[2]), most);
  const std::vector<std::uint64_t> third = {(std::uint64_t{1} << 60) / 2,
                                            (std::uint64_t{1} << 61) / 2, 2};
  EXPECT_EQ(allocate(sizes, sizes, third[0] + third[1] + third[2]), third);
}

TEST(Allocation, RefusesWhatCannotBe) {
  const std::vector<std::int64_t> two = {10, 20};
  const std::vector<std::int64_t> zero = {10, 0};
  const std::vector<std::int64_t> huge = {std::int64_t{1} << 62, std::int64_t{1} << 62};
  EXPECT_THROW(allocate({}, {}, 0), InputError);
  EXPECT_THROW(allocate(two, std::vector<std::int64_t>{1}, 5), InputError);
  EXPECT_THROW(allocate(two, two, 1), InputError);
  EXPECT_THROW(allocate(two, two, 31), InputError);
  EXPECT_THROW(allocate(zero, two, 5), InputError);
  EXPECT_THROW(allocate(two, zero, 5), InputError);
  EXPECT_THROW(allocate(huge, two, 5), InputError);
}

}  // namespace
}  // namespace cuthresh::search
