#pragma once

#include <cstdint>

#include "kernels/platform.hpp"

namespace cuthresh {

/// The bits of |x|: as unsigned integers they have the order of the values, so that selection by
/// radix is exact. NaN lies above +∞ (0x7f800000) and so outside every bracket.
CTH_HD std::uint32_t magnitude_key(float x) {
  return __builtin_bit_cast(std::uint32_t, x) & 0x7fffffffU;
}
CTH_HD std::uint64_t magnitude_key(double x) {
  return __builtin_bit_cast(std::uint64_t, x) & 0x7fffffffffffffffULL;
}
inline constexpr std::uint32_t kInfinityKey = 0x7f800000U;
CTH_HD float magnitude_from_key(std::uint32_t key) {
  return __builtin_bit_cast(float, key);
}
CTH_HD double magnitude_from_key(std::uint64_t key) {
  return __builtin_bit_cast(double, key);
}
/// The largest key there is, of a NaN.
template <class Key>
inline constexpr Key kLargestKey = static_cast<Key>(~Key{0}) >> 1;

/// The keys of magnitudes strictly inside (lo, hi), 0 ≤ lo < hi, as [first, last]; first > last
/// where there are none. The ends may lie between two floats.
template <class Key>
struct OpenKeys {
  Key first;
  Key last;
};
CTH_HD OpenKeys<std::uint64_t> keys_between(double lo, double hi, std::uint64_t) {
  return {magnitude_key(lo) + 1U, magnitude_key(hi) - 1U};
}
CTH_HD OpenKeys<std::uint32_t> keys_between(double lo, double hi, std::uint32_t) {
  // Rounded to the nearest float, which lies below the end, at it, or above it.
  const auto low = static_cast<float>(lo);
  const auto high = static_cast<float>(hi);
  const std::uint32_t first = magnitude_key(low) + (static_cast<double>(low) > lo ? 0U : 1U);
  const std::uint32_t last = magnitude_key(high) - (static_cast<double>(high) < hi ? 0U : 1U);
  return {first, last};
}

/// Strictly inside (lo, hi): neither end belongs to it, nor does NaN.
struct OpenBracket {
  float lo;
  float hi;
  CTH_HD bool contains(float magnitude) const { return magnitude > lo && magnitude < hi; }
};

}  // namespace cuthresh
