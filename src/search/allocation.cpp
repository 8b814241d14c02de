#include "search/allocation.hpp"

#include <algorithm>
#include <numeric>
#include <string>

#include "cuthresh/error.hpp"

namespace cuthresh::search {
namespace {

__extension__ typedef unsigned __int128 Wide;  // products of two 63-bit numbers

/// shares·scale reaches a layer's least or most number here.
struct Scale {
  std::uint64_t numerator;
  std::uint64_t denominator;

  friend bool operator<(const Scale& a, const Scale& b) {
    return Wide{a.numerator} * b.denominator < Wide{b.numerator} * a.denominator;
  }
};

enum class Place : std::uint8_t { kAtLeast, kBetween, kFull };

Place place(std::int64_t size, std::int64_t share, const Scale& at) {
  if (at < Scale{1, static_cast<std::uint64_t>(share)}) return Place::kAtLeast;
  const Scale full{static_cast<std::uint64_t>(size), static_cast<std::uint64_t>(share)};
  return at < full ? Place::kBetween : Place::kFull;
}

/// Layers whose number is in proportion to their share, and what is left for them of the total.
struct Between {
  std::vector<std::size_t> layers;
  std::uint64_t shares = 0;
  std::uint64_t total = 0;
};

Between between(std::span<const std::int64_t> sizes, std::span<const std::int64_t> shares,
                std::uint64_t total, const Scale& at) {
  Between result;
  result.total = total;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    switch (place(sizes[i], shares[i], at)) {
      case Place::kAtLeast:
        result.total -= 1;
        break;
      case Place::kBetween:
        result.layers.push_back(i);
        result.shares += static_cast<std::uint64_t>(shares[i]);
        break;
      case Place::kFull:
        result.total -= static_cast<std::uint64_t>(sizes[i]);
    }
  }
  return result;
}

/// Whether all numbers together stay within the total at this scale. Where those that are not
/// between exceed it alone, what is left has wrapped around.
bool fits(const Between& at, const Scale& scale) {
  constexpr std::uint64_t kWrapped = std::uint64_t{1} << 63;
  return at.total < kWrapped &&
         Wide{at.shares} * scale.numerator <= Wide{at.total} * scale.denominator;
}

std::uint64_t checked_sum(std::span<const std::int64_t> values, const std::string& name) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 62;
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::string where = name + "[" + std::to_string(i) + "]";
    if (values[i] < 1) {
      throw InputError({where, "must be at least 1", std::to_string(values[i]),
                        "leave out layers without weights"});
    }
    sum += static_cast<std::uint64_t>(values[i]);
    if (sum > kMost) {
      throw InputError({where, "makes the sum more than 2^62", std::to_string(values[i]),
                        "give extents of tensors that fit into memory"});
    }
  }
  return sum;
}

void check_allocation(std::span<const std::int64_t> sizes, std::span<const std::int64_t> shares,
                      std::uint64_t total) {
  if (sizes.empty() || shares.size() != sizes.size()) {
    throw InputError({"allocation", "needs a size and a share for each layer",
                      std::to_string(sizes.size()) + " and " + std::to_string(shares.size()),
                      "give as many of one as of the other, at least 1"});
  }
  const std::uint64_t most = checked_sum(sizes, "sizes");
  checked_sum(shares, "dims");
  if (total < sizes.size() || total > most) {
    throw InputError({"total",
                      "must be from the number of layers, " + std::to_string(sizes.size()) +
                          ", to the number of weights, " + std::to_string(most),
                      std::to_string(total), "every layer gets at least 1 nonzero weight"});
  }
}

}  // namespace

std::vector<std::uint64_t> allocate(std::span<const std::int64_t> sizes,
                                    std::span<const std::int64_t> shares, std::uint64_t total) {
  check_allocation(sizes, shares, total);
  // The total grows with the scale, in straight lines between these points.
  std::vector<Scale> scales;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    scales.push_back({1, static_cast<std::uint64_t>(shares[i])});
    scales.push_back({static_cast<std::uint64_t>(sizes[i]), static_cast<std::uint64_t>(shares[i])});
  }
  std::sort(scales.begin(), scales.end());
  const auto beyond = std::partition_point(scales.begin(), scales.end(), [&](const Scale& scale) {
    return fits(between(sizes, shares, total, scale), scale);
  });
  const Scale at = *(beyond - 1);  // there is one: at the first point each layer has 1
  std::vector<std::uint64_t> numbers(sizes.size(), 1);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (place(sizes[i], shares[i], at) == Place::kFull)
      numbers[i] = static_cast<std::uint64_t>(sizes[i]);
  }
  const Between free = between(sizes, shares, total, at);
  std::vector<std::uint64_t> remainder(sizes.size(), 0);
  std::uint64_t left = free.total;
  for (const std::size_t i : free.layers) {
    const Wide product = Wide{free.total} * static_cast<std::uint64_t>(shares[i]);
    numbers[i] = static_cast<std::uint64_t>(product / free.shares);
    remainder[i] = static_cast<std::uint64_t>(product % free.shares);
    left -= numbers[i];
  }
  std::vector<std::size_t> order = free.layers;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return remainder[a] > remainder[b]; });
  for (std::size_t i = 0; i < left; ++i) ++numbers[order[i]];
  return numbers;
}

}  // namespace cuthresh::search
