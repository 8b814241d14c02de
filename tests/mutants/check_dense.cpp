// The backward end of a dense layer, twice: gradients and column sums against float64, for shapes
// with and without packs, with one and several blocks of rows.

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/block/dense_bias.cuh"
#include "mutants/harness.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::uint32_t kThreads = 128;

void check_shape(std::uint32_t grid, std::int64_t rows, std::int64_t columns) {
  Random random(5);
  const auto n = static_cast<std::size_t>(rows * columns);
  const auto width = static_cast<std::size_t>(columns);
  const std::vector<float> y = random.vector(n, -0.9f, 0.9f);
  std::vector<float> db = random.vector(width, -1.0f, 1.0f);
  std::vector<float> partials(static_cast<std::size_t>(activation_backward_partials(rows, columns)),
                              1e30f);
  std::vector<std::uint32_t> tickets(static_cast<std::size_t>(activation_backward_tickets(columns)),
                                     0);
  for (int time = 0; time < 2; ++time) {
    const std::vector<float> before = random.vector(n, -1.0f, 1.0f);
    std::vector<float> dy = before;
    std::vector<double> sum(db.begin(), db.end());
    simt::launch(grid, kThreads, activation_backward_kernel<TanhActivation, kThreads>,
                 TanhActivation{}, y.data(), dy.data(), db.data(), partials.data(), tickets.data(),
                 rows, columns, true);
    for (std::size_t i = 0; i < n; ++i) {
      const double d = static_cast<double>(y[i]);
      const double dz = static_cast<double>(before[i]) * (1.0 - d * d);
      // Two roundings to float32 of values below 1.
      require(std::fabs(static_cast<double>(dy[i]) - dz) <= 0x1p-22,
              "gradient " + std::to_string(i));
      sum[i % width] += static_cast<double>(dy[i]);
    }
    for (std::size_t c = 0; c < width; ++c) {
      // rows + 1 additions of terms of at most 1, each sum at most rows + 2.
      const double bound = static_cast<double>((rows + 2) * (rows + 2)) * 0x1p-24;
      require(std::fabs(static_cast<double>(db[c]) - sum[c]) <= bound,
              "bias gradient " + std::to_string(c));
    }
  }
}

void check(std::uint32_t grid) {
  check_shape(grid, 300, 40);
#if !defined(__SANITIZE_THREAD__)
  check_shape(grid, 300, 37);
  check_shape(grid, 60, 132);
  check_shape(grid, 1, 5);
#endif
}

}  // namespace
}  // namespace cuthresh::testing

int main() {
  using namespace cuthresh::testing;
  return report([] { for_each_launch({1, 4, 3}, check); });
}
