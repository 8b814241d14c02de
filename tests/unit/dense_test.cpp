// Dense layers whose weights and gradients have whole rows and columns of zeros, which the CPU room
// leaves out of its products: against plain float64 loops that leave out nothing.

#include <gtest/gtest.h>

#include <cmath>
#include <span>

#include "core/array.hpp"
#include "support/engines.hpp"
#include "support/reference_net.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

class Dense : public ::testing::TestWithParam<Room> {};

struct Case {
  std::int64_t rows, in, out;
  float dead_outputs;    // share of rows of W that are zero
  float dead_inputs;     // share of columns of W that are zero
  float dead_gradients;  // share of columns of dy that are zero
};

// Sums of up to 500 products of numbers up to 1, in float32.
constexpr double kTolerance = 2e-5;

void check(Backend& backend, const Case& c, bool accumulate, Random& random) {
  const auto size = [](std::int64_t a, std::int64_t b) { return static_cast<std::size_t>(a * b); };
  std::vector<float> x = random.vector(size(c.rows, c.in), -1.0f, 1.0f);
  std::vector<float> w = random.vector(size(c.out, c.in), -1.0f, 1.0f);
  const std::vector<float> b = random.vector(size(c.out, 1), -0.5f, 0.5f);
  std::vector<float> dy = random.vector(size(c.rows, c.out), -0.1f, 0.1f);
  for (std::int64_t o = 0; o < c.out; ++o) {
    const bool dead = random.uniform(0.0f, 1.0f) < c.dead_outputs;
    const bool quiet = random.uniform(0.0f, 1.0f) < c.dead_gradients;
    for (std::int64_t i = 0; i < c.in && dead; ++i) w[size(o, c.in) + size(i, 1)] = -0.0f;
    for (std::int64_t r = 0; r < c.rows && quiet; ++r) dy[size(r, c.out) + size(o, 1)] = 0.0f;
  }
  for (std::int64_t i = 0; i < c.in; ++i) {
    if (random.uniform(0.0f, 1.0f) >= c.dead_inputs) continue;
    for (std::int64_t o = 0; o < c.out; ++o) w[size(o, c.in) + size(i, 1)] = 0.0f;
  }

  const DenseShape shape{c.rows, c.in, c.out, Activation::kSilu, 0.01f};
  const Array<float> dx_in(backend, std::span<const float>(x));
  const Array<float> dw_in(backend, std::span<const float>(w));
  const Array<float> db_in(backend, std::span<const float>(b));
  Array<float> y(backend, c.rows * c.out), z(backend, c.rows * c.out);
  backend.dense_forward({shape, dx_in.data(), dw_in.data(), db_in.data(), z.data(), y.data()});
  const std::vector<float> y_got = y.to_host();
  const std::vector<float> z_got = z.to_host();

  Array<float> dy_device(backend, std::span<const float>(dy));
  const std::vector<float> before(size(c.out, c.in), 0.25f);
  const std::vector<float> bias_before(size(c.out, 1), 0.25f);
  Array<float> dw(backend, std::span<const float>(before));
  Array<float> db(backend, std::span<const float>(bias_before));
  Array<float> dx(backend, c.rows * c.in);
  backend.dense_backward({shape, dx_in.data(), dw_in.data(), y.data(), z.data(), dy_device.data(),
                          dw.data(), db.data(), dx.data(), accumulate});
  const std::vector<float> dw_got = dw.to_host();
  const std::vector<float> db_got = db.to_host();
  const std::vector<float> dx_got = dx.to_host();

  std::vector<double> dz(size(c.rows, c.out));
  for (std::int64_t r = 0; r < c.rows; ++r) {
    for (std::int64_t o = 0; o < c.out; ++o) {
      double sum = static_cast<double>(b[size(o, 1)]);
      for (std::int64_t i = 0; i < c.in; ++i) {
        sum += static_cast<double>(x[size(r, c.in) + size(i, 1)]) *
               static_cast<double>(w[size(o, c.in) + size(i, 1)]);
      }
      const std::size_t at = size(r, c.out) + size(o, 1);
      ASSERT_NEAR(static_cast<double>(z_got[at]), sum, kTolerance);
      ASSERT_NEAR(static_cast<double>(y_got[at]), reference_activation("silu", sum), kTolerance);
      const double s = 1.0 / (1.0 + std::exp(-sum));
      dz[at] = static_cast<double>(dy[at]) * s * (1.0 + sum * (1.0 - s));
    }
  }
  const double start = accumulate ? 0.25 : 0.0;
  for (std::int64_t o = 0; o < c.out; ++o) {
    double bias = start;
    for (std::int64_t r = 0; r < c.rows; ++r) bias += dz[size(r, c.out) + size(o, 1)];
    ASSERT_NEAR(static_cast<double>(db_got[size(o, 1)]), bias, kTolerance);
    for (std::int64_t i = 0; i < c.in; ++i) {
      double sum = start;
      for (std::int64_t r = 0; r < c.rows; ++r) {
        sum += dz[size(r, c.out) + size(o, 1)] * static_cast<double>(x[size(r, c.in) + size(i, 1)]);
      }
      ASSERT_NEAR(static_cast<double>(dw_got[size(o, c.in) + size(i, 1)]), sum, kTolerance)
          << o << " " << i;
    }
  }
  for (std::int64_t r = 0; r < c.rows; ++r) {
    for (std::int64_t i = 0; i < c.in; ++i) {
      double sum = 0.0;
      for (std::int64_t o = 0; o < c.out; ++o) {
        sum += dz[size(r, c.out) + size(o, 1)] * static_cast<double>(w[size(o, c.in) + size(i, 1)]);
      }
      ASSERT_NEAR(static_cast<double>(dx_got[size(r, c.in) + size(i, 1)]), sum, kTolerance)
          << r << " " << i;
    }
  }
}

TEST_P(Dense, ZeroRowsAndColumnsChangeNothing) {
  Random random(83);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  const Case cases[] = {
      {1, 5, 3, 0.0f, 0.0f, 0.0f},     {31, 40, 40, 0.7f, 0.7f, 0.7f},
      {32, 40, 17, 0.5f, 0.5f, 0.5f},  {129, 33, 65, 0.9f, 0.1f, 0.0f},
      {130, 65, 33, 0.1f, 0.9f, 0.9f}, {200, 64, 50, 0.0f, 0.0f, 0.95f},
      {64, 30, 30, 1.0f, 0.0f, 1.0f},  {300, 20, 1, 0.0f, 0.5f, 0.0f},
      {77, 1, 90, 0.5f, 0.0f, 0.5f},   {500, 12, 12, 0.2f, 0.2f, 0.2f},
      {2, 200, 300, 0.0f, 0.0f, 0.0f},
  };
  for (const Case& c : cases) {
    for (const bool accumulate : {false, true}) {
      SCOPED_TRACE(::testing::Message()
                   << c.rows << "x" << c.in << "x" << c.out << " " << accumulate);
      check(*backend, c, accumulate, random);
    }
  }
}

TEST_P(Dense, ANanOnADeadColumnStillShows) {
  // Dead is "all zeros": a NaN is not a zero.
  const auto backend = GetParam().make();
  const std::int64_t rows = 64;
  std::vector<float> x(static_cast<std::size_t>(rows * 4), 1.0f);
  std::vector<float> w(4 * 4, 0.0f);
  w[5] = std::nanf("");
  const std::vector<float> b(4, 0.0f);
  const Array<float> dx(*backend, std::span<const float>(x)),
      dw(*backend, std::span<const float>(w)), db(*backend, std::span<const float>(b));
  Array<float> y(*backend, rows * 4);
  backend->dense_forward(
      {{rows, 4, 4, Activation::kRelu, 0.0f}, dx.data(), dw.data(), db.data(), nullptr, y.data()});
  const std::vector<float> got = y.to_host();
  for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r) {
    EXPECT_TRUE(std::isnan(got[r * 4 + 1]));
    EXPECT_EQ(got[r * 4], 0.0f);
  }
}

INSTANTIATE_TEST_SUITE_P(Rooms, Dense, ::testing::ValuesIn(all_rooms()),
                         [](const auto& test) { return test.param.name(); });

}  // namespace
}  // namespace cuthresh::testing
