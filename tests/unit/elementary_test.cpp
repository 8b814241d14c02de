// exp, log, tanh, sigmoid and erf against std:: in float64, in units of the last place.

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "kernels/math/activation.hpp"
#include "kernels/math/elementary.hpp"

namespace cuthresh {
namespace {

double ulp_error(float got, double want) {
  const float nearest = static_cast<float>(want);
  const double spacing = static_cast<double>(
      std::nextafter(std::abs(nearest), std::numeric_limits<float>::infinity()) -
      std::abs(nearest));
  return std::abs(static_cast<double>(got) - want) / spacing;
}

/// The largest error over every 97th float of [lo, hi] (0 < lo), with both signs when asked.
double worst(float (*f)(float), double (*reference)(double), float lo, float hi, bool both_signs) {
  double error = 0.0;
  const auto first = __builtin_bit_cast(std::uint32_t, lo);
  const auto last = __builtin_bit_cast(std::uint32_t, hi);
  for (std::uint32_t bits = first; bits <= last; bits += 97) {
    const float x = __builtin_bit_cast(float, bits);
    error = std::max(error, ulp_error(f(x), reference(static_cast<double>(x))));
    if (both_signs) error = std::max(error, ulp_error(f(-x), reference(static_cast<double>(-x))));
  }
  return error;
}

constexpr float kSmallest = 1e-30f;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(Elementary, ExpWithinOneUlpWhereNormal) {
  EXPECT_LE(worst(
                exp_float, [](double x) { return std::exp(x); }, kSmallest, 87.0f, true),
            1.0);
  EXPECT_LE(worst(
                exp_float, [](double x) { return std::exp(x); }, 87.0f, 88.72f, false),
            1.0);
}

TEST(Elementary, ExpAtTheEnds) {
  EXPECT_EQ(exp_float(0.0f), 1.0f);
  EXPECT_EQ(exp_float(-0.0f), 1.0f);
  EXPECT_EQ(exp_float(89.0f), kInf);
  EXPECT_EQ(exp_float(kInf), kInf);
  EXPECT_EQ(exp_float(-kInf), 0.0f);
  EXPECT_EQ(exp_float(-104.0f), 0.0f);
  EXPECT_GT(exp_float(-100.0f), 0.0f);  // a denormal
  EXPECT_TRUE(std::isnan(exp_float(kNan)));
}

TEST(Elementary, LogWithinTwoUlp) {
  EXPECT_LE(worst(
                log_float, [](double x) { return std::log(x); }, 0x1p-126f, 3e38f, false),
            2.0);
  EXPECT_EQ(log_float(1.0f), 0.0f);
  EXPECT_TRUE(std::isnan(log_float(kNan)));
}

TEST(Elementary, TanhWithinTwoUlp) {
  EXPECT_LE(worst(
                tanh_float, [](double x) { return std::tanh(x); }, kSmallest, 100.0f, true),
            2.0);
  EXPECT_EQ(tanh_float(kInf), 1.0f);
  EXPECT_EQ(tanh_float(-kInf), -1.0f);
  EXPECT_TRUE(std::signbit(tanh_float(-0.0f)));
  EXPECT_TRUE(std::isnan(tanh_float(kNan)));
}

TEST(Elementary, SigmoidWithinThreeUlp) {
  EXPECT_LE(worst(
                sigmoid_float, [](double x) { return 1.0 / (1.0 + std::exp(-x)); }, kSmallest,
                80.0f, true),
            3.0);
  EXPECT_EQ(sigmoid_float(kInf), 1.0f);
  EXPECT_EQ(sigmoid_float(-kInf), 0.0f);
  EXPECT_TRUE(std::isnan(sigmoid_float(kNan)));
}

TEST(Elementary, ErfWithinTwoUlp) {
  EXPECT_LE(worst(
                erf_float, [](double x) { return std::erf(x); }, kSmallest, 10.0f, true),
            2.0);
  EXPECT_EQ(erf_float(kInf), 1.0f);
  EXPECT_EQ(erf_float(-kInf), -1.0f);
  EXPECT_TRUE(std::signbit(erf_float(-0.0f)));
  EXPECT_TRUE(std::isnan(erf_float(kNan)));
}

TEST(Activations, KeepNan) {
  EXPECT_TRUE(std::isnan(ReluActivation{}(kNan)));
  EXPECT_TRUE(std::isnan(LeakyReluActivation{0.1f}(kNan)));
  EXPECT_TRUE(std::isnan(TanhActivation{}(kNan)));
  EXPECT_TRUE(std::isnan(SigmoidActivation{}(kNan)));
  EXPECT_TRUE(std::isnan(GeluActivation{}(kNan)));
  EXPECT_TRUE(std::isnan(SiluActivation{}(kNan)));
}

}  // namespace
}  // namespace cuthresh
