#include "oracles.hpp"

#include <thrust/copy.h>
#include <thrust/device_ptr.h>
#include <thrust/device_vector.h>
#include <thrust/execution_policy.h>
#include <thrust/functional.h>
#include <thrust/iterator/transform_iterator.h>
#include <thrust/iterator/zip_iterator.h>
#include <thrust/reduce.h>
#include <thrust/sort.h>
#include <thrust/transform_reduce.h>
#include <thrust/tuple.h>

#include <cub/device/device_reduce.cuh>

namespace cuthresh::testing::oracle {
namespace {

using Pointer = thrust::device_ptr<const float>;

struct IsNonzero {
  __host__ __device__ bool operator()(float x) const { return !(x == 0.0f); }
};
struct Magnitude {
  __host__ __device__ float operator()(float x) const { return x < 0.0f ? -x : x; }
};
struct IsInside {
  float lo, hi;
  __host__ __device__ bool operator()(float x) const {
    const float m = Magnitude{}(x);
    return m > lo && m < hi;
  }
};
struct IsEqual {
  float value;
  __host__ __device__ bool operator()(float x) const { return Magnitude{}(x) == value; }
};
struct SquaredDifference {
  __host__ __device__ double operator()(const thrust::tuple<float, float>& pair) const {
    const double d =
        static_cast<double>(thrust::get<0>(pair)) - static_cast<double>(thrust::get<1>(pair));
    return d * d;
  }
};
struct Residual {
  double lambda;
  bool on_nonzero;
  __host__ __device__ double operator()(const thrust::tuple<float, float>& pair) const {
    const double w = thrust::get<0>(pair);
    const double g = thrust::get<1>(pair);
    if ((w != 0.0) != on_nonzero) return 0.0;
    if (!on_nonzero) return (g < 0.0 ? -g : g) - lambda > 0.0 ? (g < 0.0 ? -g : g) - lambda : 0.0;
    const double r = g + (w > 0.0 ? lambda : -lambda);
    return r < 0.0 ? -r : r;
  }
};
struct Larger {
  __host__ __device__ double operator()(double a, double b) const { return a > b ? a : b; }
};

auto pairs(const float* a, const float* b) {
  return thrust::make_zip_iterator(thrust::make_tuple(Pointer(a), Pointer(b)));
}

template <class Predicate>
struct OneIf {
  Predicate predicate;
  __host__ __device__ std::uint64_t operator()(float x) const { return predicate(x) ? 1U : 0U; }
};

template <class Predicate>
std::uint64_t count(const float* x, std::int64_t size, Predicate predicate) {
  // CUB, whose offsets are 64-bit where the size is.
  const auto ones = thrust::make_transform_iterator(x, OneIf<Predicate>{predicate});
  thrust::device_vector<std::uint64_t> sum(1);
  std::size_t bytes = 0;
  (void)cub::DeviceReduce::Sum(nullptr, bytes, ones, sum.data().get(), size);
  thrust::device_vector<char> scratch(bytes);
  const cudaError_t status =
      cub::DeviceReduce::Sum(scratch.data().get(), bytes, ones, sum.data().get(), size);
  if (status != cudaSuccess) throw thrust::system_error(status, thrust::cuda_category(), "cub");
  return sum[0];
}

}  // namespace

std::uint64_t count_nonzero(const float* x, std::int64_t size) {
  return count(x, size, IsNonzero{});
}

std::uint64_t count_inside(const float* x, std::int64_t size, float lo, float hi) {
  return count(x, size, IsInside{lo, hi});
}

std::uint64_t count_equal(const float* x, std::int64_t size, float value) {
  return count(x, size, IsEqual{value});
}

Inside median_inside(const float* x, std::int64_t size, float lo, float hi) {
  thrust::device_vector<float> inside(static_cast<std::size_t>(size));
  const auto magnitudes = thrust::make_transform_iterator(Pointer(x), Magnitude{});
  const auto end = thrust::copy_if(thrust::device, magnitudes, magnitudes + size, inside.begin(),
                                   IsInside{lo, hi});
  const auto found = static_cast<std::uint64_t>(end - inside.begin());
  if (found == 0) return {0, 0.0f};
  thrust::sort(thrust::device, inside.begin(), end);
  return {found, inside[(found - 1) / 2]};
}

float kth_largest(const float* x, std::int64_t size, std::int64_t k) {
  const auto magnitudes = thrust::make_transform_iterator(Pointer(x), Magnitude{});
  thrust::device_vector<float> sorted(magnitudes, magnitudes + size);
  thrust::sort(thrust::device, sorted.begin(), sorted.end());
  return sorted[static_cast<std::size_t>(size - k)];
}

double squared_errors(const float* a, const float* b, std::int64_t size) {
  const auto first = pairs(a, b);
  return thrust::transform_reduce(thrust::device, first, first + size, SquaredDifference{}, 0.0,
                                  thrust::plus<double>{});
}

Residuals residuals(const float* w, const float* g, std::int64_t size, float lambda) {
  const auto first = pairs(w, g);
  const auto largest = [&](bool on_nonzero) {
    return thrust::transform_reduce(thrust::device, first, first + size,
                                    Residual{static_cast<double>(lambda), on_nonzero}, 0.0,
                                    Larger{});
  };
  return {largest(true), largest(false)};
}

}  // namespace cuthresh::testing::oracle
