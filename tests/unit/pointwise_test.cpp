// Sums of arrays, activations by themselves and transposed samples, in every room: against float64
// definitions and central differences, in place, and the same bits everywhere.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/engines.hpp"
#include "support/layers.hpp"
#include "support/reference_net.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

using ::testing::HasSubstr;

class Pointwise : public ::testing::TestWithParam<Room> {};

constexpr float kSlope = 0.07f;
const std::int64_t kSizes[] = {1, 3, 4, 5, 63, 64, 257, 1030, 2051};

std::size_t count(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

TEST_P(Pointwise, IsTheDefinitionAndItsDerivative) {
  Random random(521);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  constexpr double kStep = 1e-6;
  for (const auto& [activation, name] : kAllActivations) {
    for (const std::int64_t n : kSizes) {
      for (const bool two : {false, true}) {
        SCOPED_TRACE(::testing::Message() << name << " " << n << " " << two);
        const std::vector<float> a = random.vector(count(n), -3.0f, 3.0f);
        const std::vector<float> b = random.vector(count(n), -1.0f, 1.0f);
        const std::vector<float> dy = random.vector(count(n), -1.0f, 1.0f);
        const Array<float> left = on_device(*backend, a), right = on_device(*backend, b);
        Array<float> z = on_device(*backend, std::vector<float>(count(n), 7.0f));
        Array<float> y(*backend, n);
        Array<float> gradient = on_device(*backend, dy);
        backend->pointwise_forward(
            {n, activation, kSlope, left.data(), two ? right.data() : nullptr, z.data(), y.data()});
        backend->pointwise_backward({n, activation, kSlope, y.data(), z.data(), gradient.data()});
        const std::vector<float> got = y.to_host(), kept = z.to_host(), dz = gradient.to_host();
        for (std::size_t i = 0; i < a.size(); ++i) {
          const float sum = two ? a[i] + b[i] : a[i];
          const auto at = static_cast<double>(sum);
          const auto f = [&](double t) {
            return reference_activation(name, t, static_cast<double>(kSlope));
          };
          ASSERT_EQ(kept[i], needs_preactivation(activation) ? sum : 7.0f) << i;
          ASSERT_NEAR(static_cast<double>(got[i]), f(at), 2e-6) << i;
          const double slope = (f(at + kStep) - f(at - kStep)) / (2.0 * kStep);
          ASSERT_NEAR(static_cast<double>(dz[i]), static_cast<double>(dy[i]) * slope, 2e-6) << i;
        }
      }
    }
  }
}

TEST_P(Pointwise, TheResultMayTakeAnOperandsPlace) {
  Random random(522);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  for (const std::int64_t n : kSizes) {
    const std::vector<float> a = random.vector(count(n), -3.0f, 3.0f);
    const std::vector<float> b = random.vector(count(n), -3.0f, 3.0f);
    const auto run = [&](int place) {
      Array<float> left = on_device(*backend, a), right = on_device(*backend, b);
      Array<float> y(*backend, n);
      float* to = place == 0 ? y.data() : (place == 1 ? left.data() : right.data());
      backend->pointwise_forward(
          {n, Activation::kRelu, 0.0f, left.data(), right.data(), nullptr, to});
      return place == 0 ? y.to_host() : (place == 1 ? left.to_host() : right.to_host());
    };
    const std::vector<float> want = run(0);
    EXPECT_EQ(bit_difference(run(1), want), "") << n;
    EXPECT_EQ(bit_difference(run(2), want), "") << n;
    for (std::size_t i = 0; i < want.size(); ++i) {
      ASSERT_EQ(want[i], a[i] + b[i] > 0.0f ? a[i] + b[i] : 0.0f);
    }
  }
}

TEST_P(Pointwise, AddAdds) {
  Random random(523);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  for (const std::int64_t n : kSizes) {
    std::vector<float> want = random.vector(count(n), -3.0f, 3.0f);
    const std::vector<float> b = random.vector(count(n), -3.0f, 3.0f);
    Array<float> to = on_device(*backend, want);
    const Array<float> from = on_device(*backend, b);
    backend->add(to.data(), from.data(), n);
    for (std::size_t i = 0; i < want.size(); ++i) want[i] += b[i];
    EXPECT_EQ(bit_difference(to.to_host(), want), "") << n;
    EXPECT_EQ(bit_difference(from.to_host(), b), "");
  }
  backend->add(nullptr, nullptr, 0);
}

TEST_P(Pointwise, TransposeMovesEveryEntry) {
  Random random(524);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  struct Shape {
    std::int64_t rows, lines, columns;
  };
  for (const Shape& s : {Shape{1, 1, 1}, Shape{3, 16, 64}, Shape{2, 49, 5}, Shape{2, 33, 65},
                         Shape{5, 1, 7}, Shape{1, 130, 31}, Shape{70, 4, 3}, Shape{0, 4, 3}}) {
    SCOPED_TRACE(::testing::Message() << s.rows << "x" << s.lines << "x" << s.columns);
    const std::int64_t n = s.rows * s.lines * s.columns;
    const std::vector<float> values = random.vector(count(n), -1.0f, 1.0f);
    const Array<float> from = on_device(*backend, values);
    Array<float> to(*backend, n), back(*backend, n);
    backend->transpose_samples(to.data(), from.data(), s.rows, s.lines, s.columns);
    std::vector<float> want(values.size());
    for (std::int64_t r = 0; r < s.rows; ++r) {
      for (std::int64_t l = 0; l < s.lines; ++l) {
        for (std::int64_t c = 0; c < s.columns; ++c) {
          want[count((r * s.columns + c) * s.lines + l)] =
              values[count((r * s.lines + l) * s.columns + c)];
        }
      }
    }
    EXPECT_EQ(bit_difference(to.to_host(), want), "");
    backend->transpose_samples(back.data(), to.data(), s.rows, s.columns, s.lines);
    EXPECT_EQ(bit_difference(back.to_host(), values), "");
  }
}

TEST_P(Pointwise, RefusesWhatItCannotDo) {
  const auto backend = GetParam().make();
  Array<float> memory(*backend, 16);
  float* m = memory.data();
  const auto forward = [&](const PointwiseForward& args) {
    return refusal([&] { backend->pointwise_forward(args); });
  };
  EXPECT_THAT(forward({-1, Activation::kRelu, 0.0f, m, nullptr, nullptr, m}), HasSubstr("size"));
  EXPECT_THAT(forward({4, Activation::kRelu, 0.0f, nullptr, nullptr, nullptr, m}),
              HasSubstr("a must not be null"));
  EXPECT_THAT(forward({4, Activation::kGelu, 0.0f, m, nullptr, nullptr, m}),
              HasSubstr("z must not be null"));
  EXPECT_EQ(forward({0, Activation::kGelu, 0.0f, nullptr, nullptr, nullptr, nullptr}), "accepted");
  EXPECT_THAT(refusal([&] {
                backend->pointwise_backward({4, Activation::kRelu, 0.0f, nullptr, m, m});
              }),
              HasSubstr("y must not be null"));
  EXPECT_THAT(refusal([&] { backend->add(m, nullptr, 4); }), HasSubstr("from must not be null"));
  EXPECT_THAT(refusal([&] { backend->transpose_samples(m, m, 1, 2, 2); }),
              HasSubstr("different memory"));
  EXPECT_THAT(refusal([&] { backend->transpose_samples(m, m + 4, 1, 0, 2); }), HasSubstr("lines"));
}

INSTANTIATE_TEST_SUITE_P(Rooms, Pointwise, ::testing::ValuesIn(all_rooms()),
                         [](const auto& test) { return test.param.name(); });

// Large enough for three threads to share the work; special values among the ordinary ones.
TEST(PointwiseRooms, GiveTheSameBits) {
  Random random(525);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  constexpr std::int64_t kSize = 60007;
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const float special[] = {0.0f, -0.0f, kInf, -kInf, std::nanf(""), 1e-40f, -1e-40f, 90.0f};
  std::vector<float> a = random.vector(kSize, -3.0f, 3.0f);
  const std::vector<float> b = random.vector(kSize, -1.0f, 1.0f);
  const std::vector<float> dy = random.vector(kSize, -1.0f, 1.0f);
  for (float& v : a) {
    if (random.integer(0, 15) == 0) v = special[random.integer(0, 7)];
  }
  for (const auto& [activation, name] : kAllActivations) {
    std::vector<std::vector<float>> want;
    for (const Room& room : all_rooms()) {
      SCOPED_TRACE(::testing::Message() << name << " " << room.name());
      const auto backend = room.make();
      const Array<float> left = on_device(*backend, a), right = on_device(*backend, b);
      Array<float> z = on_device(*backend, a), y(*backend, kSize), t(*backend, kSize);
      Array<float> gradient = on_device(*backend, dy);
      backend->pointwise_forward(
          {kSize, activation, kSlope, left.data(), right.data(), z.data(), y.data()});
      backend->pointwise_backward({kSize, activation, kSlope, y.data(), z.data(), gradient.data()});
      backend->transpose_samples(t.data(), y.data(), 1, 173, 346);  // 59858 of them
      std::vector<float> transposed = t.to_host();
      transposed.resize(173 * 346);
      const std::vector<std::vector<float>> got = {y.to_host(), z.to_host(), gradient.to_host(),
                                                   transposed};
      if (want.empty()) want = got;
      for (std::size_t i = 0; i < got.size(); ++i) {
        ASSERT_EQ(bit_difference(got[i], want[i]), "") << "array " << i;
      }
    }
  }
}

}  // namespace
}  // namespace cuthresh::testing
