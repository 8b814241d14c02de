#pragma once

// The number types that weights are stored in. bfloat16 and binary16 are converted by integer
// operations and one exact or correctly rounded float operation, the same text on host and device:
// round to nearest, ties to even; beyond the largest finite value ±∞; subnormals kept; NaN stays
// NaN (quiet, sign kept). tests/kernels/scalar_test.cpp covers all 2^16 patterns both ways.

#include <cstdint>

#include "kernels/math/step.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

struct Bf16 {
  std::uint16_t bits;
};
struct Fp16 {
  std::uint16_t bits;
};

CTH_HD float widen(float x) {
  return x;
}
CTH_HD double widen(double x) {
  return x;
}
CTH_HD float widen(Bf16 x) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(x.bits) << 16);
}
CTH_HD float widen(Fp16 x) {
  const std::uint32_t sign = (x.bits & 0x8000U) << 16;
  const std::uint32_t magnitude = x.bits & 0x7fffU;
  // Subnormals are multiples of 2^-24; else the exponent's bias goes from 15 to 127, or from all
  // ones to all ones.
  const float small = static_cast<float>(magnitude) * 0x1p-24f;
  const std::uint32_t bias = magnitude >= 0x7c00U ? 224U << 23 : 112U << 23;
  const std::uint32_t wide = (magnitude << 13) + bias;
  return __builtin_bit_cast(
      float, sign | (magnitude < 0x0400U ? __builtin_bit_cast(std::uint32_t, small) : wide));
}

CTH_HD Bf16 to_bf16(float x) {
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, x);
  const std::uint32_t rounded = bits + 0x7fffU + ((bits >> 16) & 1U);
  const std::uint32_t quiet = bits | 0x00400000U;
  return {static_cast<std::uint16_t>((x == x ? rounded : quiet) >> 16)};
}

CTH_HD Fp16 to_fp16(float x) {
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, x);
  const std::uint32_t sign = (bits >> 16) & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  // Below 2^-14: the last place of numbers in [½, 1) is 2^-24, so the sum rounds to a subnormal.
  const float shifted = __builtin_bit_cast(float, magnitude) + 0.5f;
  const std::uint32_t small = __builtin_bit_cast(std::uint32_t, shifted) - 0x3f000000U;
  const std::uint32_t normal = (magnitude + 0xfffU + ((magnitude >> 13) & 1U) - (112U << 23)) >> 13;
  const std::uint32_t large = magnitude > 0x7f800000U ? 0x7e00U : 0x7c00U;
  // 0x477ff000 is 65520, half-way between the largest finite value and the next power of two.
  const std::uint32_t half =
      magnitude < 0x38800000U ? small : (magnitude < 0x477ff000U ? normal : large);
  return {static_cast<std::uint16_t>(sign | half)};
}

CTH_HD bool is_nonzero(Bf16 x) {
  return (x.bits & 0x7fffU) != 0;
}
CTH_HD bool is_nonzero(Fp16 x) {
  return (x.bits & 0x7fffU) != 0;
}
CTH_HD bool is_finite(Bf16 x) {
  return (x.bits & 0x7f80U) != 0x7f80U;
}
CTH_HD bool is_finite(Fp16 x) {
  return (x.bits & 0x7c00U) != 0x7c00U;
}

/// What arithmetic on stored values is done in, and whether a copy in that type is kept beside them
/// (steps smaller than half a last place of 16 bits would be lost otherwise).
template <class Storage>
struct StorageTraits;
template <>
struct StorageTraits<float> {
  using Compute = float;
  static constexpr bool kMaster = false;
  CTH_HD static float narrow(float x) { return x; }
};
template <>
struct StorageTraits<double> {
  using Compute = double;
  static constexpr bool kMaster = false;
  CTH_HD static double narrow(double x) { return x; }
};
template <>
struct StorageTraits<Bf16> {
  using Compute = float;
  static constexpr bool kMaster = true;
  CTH_HD static Bf16 narrow(float x) { return to_bf16(x); }
};
template <>
struct StorageTraits<Fp16> {
  using Compute = float;
  static constexpr bool kMaster = true;
  CTH_HD static Fp16 narrow(float x) { return to_fp16(x); }
};

}  // namespace cuthresh
