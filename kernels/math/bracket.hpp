#pragma once

#include <cstdint>

#include "kernels/platform.hpp"

namespace cuthresh {

/// The bits of |x|: as unsigned integers they have the order of the values, so that selection by
/// radix is exact. NaN lies above +∞ (0x7f800000) and so outside every bracket.
CTH_HD std::uint32_t magnitude_key(float x) {
  return __builtin_bit_cast(std::uint32_t, x) & 0x7fffffffU;
}
inline constexpr std::uint32_t kInfinityKey = 0x7f800000U;
CTH_HD float magnitude_from_key(std::uint32_t key) {
  return __builtin_bit_cast(float, key);
}

/// Strictly inside (lo, hi): neither end belongs to it, nor does NaN.
struct OpenBracket {
  float lo;
  float hi;
  CTH_HD bool contains(float magnitude) const { return magnitude > lo && magnitude < hi; }
};

}  // namespace cuthresh
