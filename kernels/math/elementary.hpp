#pragma once

// exp, log, tanh and erf from additions, fused multiply-adds and bit operations only: the same bits
// on every host and device (libm and CUDA differ in the last place), and loops over them vectorise.
// Coefficients are minimax fits (Lawson-weighted least squares in float64). Errors stated are
// against float64 where the result is a normal number; tests/unit/elementary_test.cpp measures them
// on every 97th float.

#include <cstdint>

#include "kernels/platform.hpp"

namespace cuthresh {

/// 2^n for n in [−126, 127].
CTH_HD float power_of_two(std::int32_t n) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(n + 127) << 23);
}

CTH_HD float magnitude(float x) {
  return __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, x) & 0x7fffffffU);
}
/// `y` ≥ 0 or NaN, with the sign bit of x.
CTH_HD float with_sign_of(float y, float x) {
  return __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, y) |
                                       (__builtin_bit_cast(std::uint32_t, x) & 0x80000000U));
}

/// e^x, error ≤ 1 ulp where the result is normal. exp(−∞) = 0, exp(x) = ∞ for x > 88.73, NaN stays
/// NaN.
CTH_HD float exp_float(float x) {
  // Clamped so that n below fits; the ends still over- and underflow. NaN passes through (both
  // tests false).
  const float c = x > 89.0f ? 89.0f : (x < -104.0f ? -104.0f : x);
  // n = round(c / ln 2) by the magic constant 1.5·2^23, whose low mantissa bits then are the
  // integer.
  const float shifted = __builtin_fmaf(c, 1.44269504f, 12582912.0f);
  const float n = shifted - 12582912.0f;
  float r = __builtin_fmaf(n, -0.693145752f, c);  // ln 2 in two parts, the first exact in 16 bits
  r = __builtin_fmaf(n, -1.42860677e-6f, r);
  float q = 0.00138146023f;
  q = __builtin_fmaf(q, r, 0.00836871564f);
  q = __builtin_fmaf(q, r, 0.041668389f);
  q = __builtin_fmaf(q, r, 0.166665211f);
  q = __builtin_fmaf(q, r, 0.49999994f);
  const float p = __builtin_fmaf(r * r, q, r) + 1.0f;
  // Two factors, so that results below 2^-126 and n = 128 come out right.
  const std::int32_t k = static_cast<std::int32_t>(__builtin_bit_cast(std::uint32_t, shifted) -
                                                   __builtin_bit_cast(std::uint32_t, 12582912.0f));
  const std::int32_t half = k >> 1;
  const float y = p * power_of_two(half) * power_of_two(k - half);
  return x == x ? y : x;
}

/// ln x, error ≤ 2 ulp, NaN stays NaN; for x ≥ 2^-126 (all that a normalised sum of exponentials
/// can be).
CTH_HD float log_float(float x) {
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, x);
  // Exponent chosen so that the mantissa lies in [√½, √2).
  const std::int32_t k = static_cast<std::int32_t>(bits - 0x3f3504f3U) >> 23;
  const float m = __builtin_bit_cast(float, bits - (static_cast<std::uint32_t>(k) << 23));
  const float f = m - 1.0f;
  float q = -0.0763449743f;
  q = __builtin_fmaf(q, f, 0.12761578f);
  q = __builtin_fmaf(q, f, -0.131601825f);
  q = __builtin_fmaf(q, f, 0.142017573f);
  q = __builtin_fmaf(q, f, -0.166233569f);
  q = __builtin_fmaf(q, f, 0.200012267f);
  q = __builtin_fmaf(q, f, -0.250008196f);
  q = __builtin_fmaf(q, f, 0.333333313f);
  const float f2 = f * f;
  const float n = static_cast<float>(k);
  float y = __builtin_fmaf(f2 * f, q, -0.5f * f2);
  y = __builtin_fmaf(n, 1.42860677e-6f, y) + f;
  const float result = __builtin_fmaf(n, 0.693145752f, y);
  return x == x ? result : x;
}

/// tanh x, error ≤ 2 ulp. tanh(±∞) = ±1, NaN stays NaN, tanh(±0) = ±0.
CTH_HD float tanh_float(float x) {
  const float a = magnitude(x);
  const float s = a * a;
  float q = -0.00570498733f;
  q = __builtin_fmaf(q, s, 0.020639088f);
  q = __builtin_fmaf(q, s, -0.0537397154f);
  q = __builtin_fmaf(q, s, 0.133314416f);
  q = __builtin_fmaf(q, s, -0.333332807f);
  const float small = __builtin_fmaf(s * a, q, a);
  const float large = 1.0f - 2.0f / (exp_float(2.0f * a) + 1.0f);
  return with_sign_of(a > 0.625f ? large : small, x);
}

/// The logistic function 1/(1 + e^-x), error ≤ 3 ulp. NaN stays NaN.
CTH_HD float sigmoid_float(float x) {
  return 1.0f / (1.0f + exp_float(-x));
}

/// erf x, error ≤ 2 ulp. erf(±∞) = ±1, NaN stays NaN, erf(±0) = ±0.
CTH_HD float erf_float(float x) {
  const float a = magnitude(x);
  const float s = a * a;
  float p = 7.85387529e-05f;
  p = __builtin_fmaf(p, s, -0.000801019836f);
  p = __builtin_fmaf(p, s, 0.00518832821f);
  p = __builtin_fmaf(p, s, -0.0268538129f);
  p = __builtin_fmaf(p, s, 0.112835854f);
  p = __builtin_fmaf(p, s, -0.37612626f);
  p = __builtin_fmaf(p, s, 0.128379166f);
  const float small = __builtin_fmaf(p, a, a);
  // 1 − erfc, erfc = exp(−p(a)) with p fitted round 2; from 4 on erf is 1 in float.
  const float b = (a < 4.0f ? a : 4.0f) - 2.0f;
  float l = 2.16976077e-05f;
  l = __builtin_fmaf(l, b, -0.000137706054f);
  l = __builtin_fmaf(l, b, 0.000730212545f);
  l = __builtin_fmaf(l, b, -0.00357051939f);
  l = __builtin_fmaf(l, b, 0.0164658111f);
  l = __builtin_fmaf(l, b, 0.923750997f);
  l = __builtin_fmaf(l, b, 4.41816092f);
  l = __builtin_fmaf(l, b, 5.36494112f);
  const float large = 1.0f - exp_float(-l);
  return with_sign_of(a > 1.0f ? large : small, x);
}

}  // namespace cuthresh
