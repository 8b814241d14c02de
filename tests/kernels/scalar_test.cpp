// bfloat16 and binary16 against IEEE 754's definition in float64: all 2^16 patterns both ways,
// every midpoint between neighbours with the floats beside it, and random bits.

#include "kernels/scalar.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "guarded.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

template <class T>
struct Format;
template <>
struct Format<Bf16> {
  static constexpr int kExponent = 8, kMantissa = 7;
  static Bf16 from(float x) { return to_bf16(x); }
};
template <>
struct Format<Fp16> {
  static constexpr int kExponent = 5, kMantissa = 10;
  static Fp16 from(float x) { return to_fp16(x); }
};

template <class T>
constexpr int bias() {
  return (1 << (Format<T>::kExponent - 1)) - 1;
}

// What a pattern means.
template <class T>
double value_by_definition(std::uint16_t bits) {
  constexpr int m = Format<T>::kMantissa;
  const int exponent = (bits >> m) & ((1 << Format<T>::kExponent) - 1);
  const int mantissa = bits & ((1 << m) - 1);
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == (1 << Format<T>::kExponent) - 1) {
    return mantissa != 0 ? std::numeric_limits<double>::quiet_NaN()
                         : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias<T>() - m);
  return sign * std::ldexp((1 << m) + mantissa, exponent - bias<T>() - m);
}

// x rounded to the format, ties to even (nearbyint's default), in float64, which holds both
// exactly.
template <class T>
double rounded_by_definition(double x) {
  constexpr int m = Format<T>::kMantissa;
  if (std::isnan(x) || std::isinf(x) || x == 0.0) return x;
  const int last = std::max(std::ilogb(x), 1 - bias<T>()) - m;  // exponent of the last place
  const double y = std::ldexp(std::nearbyint(std::ldexp(x, -last)), last);
  const double largest = std::ldexp((2 << m) - 1, bias<T>() - m);
  return std::fabs(y) > largest ? std::copysign(std::numeric_limits<double>::infinity(), x) : y;
}

template <class T>
void expect_rounded(float x) {
  const T got = Format<T>::from(x);
  const double want = rounded_by_definition<T>(static_cast<double>(x));
  const double have = value_by_definition<T>(got.bits);
  if (std::isnan(want)) {
    ASSERT_TRUE(std::isnan(have)) << std::hexfloat << x;
  } else {
    ASSERT_EQ(have, want) << std::hexfloat << x;
  }
  ASSERT_EQ((got.bits & 0x8000) != 0, std::signbit(x)) << std::hexfloat << x;
}

template <class T>
class SixteenBits : public ::testing::Test {};
using Types = ::testing::Types<Bf16, Fp16>;
TYPED_TEST_SUITE(SixteenBits, Types);

TYPED_TEST(SixteenBits, EveryPatternWidensToItsValueAndComesBack) {
  for (std::uint32_t i = 0; i < 0x10000; ++i) {
    const TypeParam x = {static_cast<std::uint16_t>(i)};
    const double want = value_by_definition<TypeParam>(x.bits);
    const float wide = widen(x);
    ASSERT_EQ(std::signbit(wide), i >= 0x8000);
    ASSERT_EQ(is_nonzero(x), want != 0.0) << i;
    ASSERT_EQ(is_finite(x), std::isfinite(want)) << i;
    if (std::isnan(want)) {
      ASSERT_TRUE(std::isnan(wide)) << i;
      const TypeParam back = Format<TypeParam>::from(wide);
      ASSERT_TRUE(std::isnan(value_by_definition<TypeParam>(back.bits))) << i;
    } else {
      ASSERT_EQ(static_cast<double>(wide), want) << i;
      ASSERT_EQ(Format<TypeParam>::from(wide).bits, x.bits) << i;
    }
  }
}

TYPED_TEST(SixteenBits, MidpointsRoundToEvenAndTheirNeighboursAway) {
  constexpr float kBig = std::numeric_limits<float>::max();
  for (std::uint32_t i = 0; i + 1 < 0x8000; ++i) {
    const double a = value_by_definition<TypeParam>(static_cast<std::uint16_t>(i));
    double b = value_by_definition<TypeParam>(static_cast<std::uint16_t>(i + 1));
    if (std::isnan(a) || std::isnan(b) || std::isinf(a)) continue;
    if (std::isinf(b))
      b = a + (a - value_by_definition<TypeParam>(static_cast<std::uint16_t>(i - 1)));
    const double middle = (a + b) / 2;
    const auto x = static_cast<float>(middle);
    ASSERT_EQ(static_cast<double>(x), middle) << "the case is no midpoint";
    for (const float y : {std::nextafter(x, 0.0f), x, std::nextafter(x, kBig)}) {
      ASSERT_NO_FATAL_FAILURE(expect_rounded<TypeParam>(y));
      ASSERT_NO_FATAL_FAILURE(expect_rounded<TypeParam>(-y));
    }
  }
}

TYPED_TEST(SixteenBits, RandomBitsRound) {
  Random random(41);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (int i = 0; i < 1000000; ++i) {
    ASSERT_NO_FATAL_FAILURE(expect_rounded<TypeParam>(__builtin_bit_cast(float, random.bits())));
    ASSERT_NO_FATAL_FAILURE(expect_rounded<TypeParam>(random.uniform(-7e4f, 7e4f)));
    ASSERT_NO_FATAL_FAILURE(expect_rounded<TypeParam>(random.uniform(-1e-4f, 1e-4f)));
  }
}

TYPED_TEST(SixteenBits, NanIsQuietAndInfinityStays) {
  for (const std::uint32_t bits : {0x7f800001U, 0x7fffffffU, 0xff800001U, 0x7fc00000U}) {
    const float nan = __builtin_bit_cast(float, bits);
    const TypeParam x = Format<TypeParam>::from(nan);
    EXPECT_TRUE(std::isnan(widen(x)));
    EXPECT_NE(x.bits & (1 << (Format<TypeParam>::kMantissa - 1)), 0) << "signalling";
  }
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(widen(Format<TypeParam>::from(inf)), inf);
  EXPECT_EQ(widen(Format<TypeParam>::from(-inf)), -inf);
}

#if defined(__FLT16_MAX__)
__extension__ typedef _Float16 Half;

TEST(Fp16AgainstTheCompiler, RandomBits) {
  Random random(42);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (int i = 0; i < 1000000; ++i) {
    const float x = __builtin_bit_cast(float, random.bits());
    const Half half = static_cast<Half>(x);
    if (std::isnan(x)) continue;
    ASSERT_EQ(to_fp16(x).bits, __builtin_bit_cast(std::uint16_t, half)) << std::hexfloat << x;
  }
  for (std::uint32_t i = 0; i < 0x10000; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    const auto want = static_cast<float>(__builtin_bit_cast(Half, bits));
    ASSERT_TRUE(same_value(widen(Fp16{bits}), want)) << i;
  }
}
#endif

}  // namespace
}  // namespace cuthresh::testing
