#pragma once

// What the kernels are held to on a GPU: the same quantities by Thrust and CUB, with nothing of
// ours. All arrays are device memory that no stream is working on any more; results are final.

#include <cstdint>

namespace cuthresh::testing::oracle {

std::uint64_t count_nonzero(const float* x, std::int64_t size);

/// Of |x| strictly inside (lo, hi): how many, and their lower median by a full sort.
struct Inside {
  std::uint64_t count;
  float median;
};
Inside median_inside(const float* x, std::int64_t size, float lo, float hi);
std::uint64_t count_inside(const float* x, std::int64_t size, float lo, float hi);
/// Entries with |x| == value.
std::uint64_t count_equal(const float* x, std::int64_t size, float value);

/// The k-th largest |x|, by a full sort.
float kth_largest(const float* x, std::int64_t size, std::int64_t k);

/// Σ (a − b)² in float64.
double squared_errors(const float* a, const float* b, std::int64_t size);

/// The largest residual of the stationarity conditions, by the definition in float64, on the
/// nonzeros of w and on its zeros.
struct Residuals {
  double on_nonzero;
  double on_zero;
};
Residuals residuals(const float* w, const float* g, std::int64_t size, float lambda);

}  // namespace cuthresh::testing::oracle
