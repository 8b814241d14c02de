// Streams with nothing but memory to wait for: eight (read, copy) or four and four (add) 16-byte
// loads a thread before the first is used. None is part of the library.

#include "bench/ceilings/cuda.hpp"

#include "bench/ceilings/mover.hpp"
#include "bench/core/cuda_graph.hpp"
#include "kernels/pack.hpp"
#include "kernels/platform.hpp"

namespace cuthresh::bench {
namespace {

constexpr std::uint32_t kThreads = 256;

template <int kInFlight, bool kAdd>
CTH_KERNEL(kThreads)
stream_kernel(const float* x, float* y, std::int64_t packs) {
  constexpr std::int64_t kTile = std::int64_t{kThreads} * kInFlight;
  for (std::int64_t tile = device::block_index(); tile * kTile < packs;
       tile += device::block_count()) {
    const std::int64_t first = tile * kTile + device::thread_index();
    Pack<float> a[kInFlight] = {};
    Pack<float> b[kInFlight] = {};
    CTH_UNROLL
    for (int i = 0; i < kInFlight; ++i) {
      const std::int64_t at = first + std::int64_t{i} * kThreads;
      if (at >= packs) continue;
      a[i] = device::load_pack(x + 4 * at);
      if constexpr (kAdd) b[i] = device::load_pack(y + 4 * at);
    }
    CTH_UNROLL
    for (int i = 0; i < kInFlight; ++i) {
      const std::int64_t at = first + std::int64_t{i} * kThreads;
      if (at >= packs) continue;
      if constexpr (kAdd) {
        for (int e = 0; e < 4; ++e) a[i].value[e] = a[i].value[e] + b[i].value[e];
      }
      device::store_pack(y + 4 * at, a[i]);
    }
  }
}

template <int kInFlight>
CTH_KERNEL(kThreads)
sum_bits_kernel(const std::uint32_t* x, std::uint32_t* sums, std::int64_t packs) {
  constexpr std::int64_t kTile = std::int64_t{kThreads} * kInFlight;
  std::uint32_t sum = 0;
  for (std::int64_t tile = device::block_index(); tile * kTile < packs;
       tile += device::block_count()) {
    const std::int64_t first = tile * kTile + device::thread_index();
    Pack<std::uint32_t> a[kInFlight] = {};
    CTH_UNROLL
    for (int i = 0; i < kInFlight; ++i) {
      const std::int64_t at = first + std::int64_t{i} * kThreads;
      if (at < packs) a[i] = device::load_pack(x + 4 * at);
    }
    CTH_UNROLL
    for (int i = 0; i < kInFlight; ++i) {
      for (int e = 0; e < 4; ++e) sum += a[i].value[e];
    }
  }
  for (std::uint32_t mask = device::kWarp / 2; mask != 0; mask /= 2) {
    sum += device::shuffle_xor(sum, mask);
  }
  // Many addresses, or thousands of warps would wait for one.
  const std::uint32_t warp =
      device::block_index() * (kThreads / device::kWarp) + device::thread_index() / device::kWarp;
  if (device::lane() == 0) device::atomic_add(sums + warp % kMoverUnit, sum);
}

CTH_KERNEL(kThreads)
empty_kernel(std::uint32_t* count) {
  if (count != nullptr && device::thread_index() == 0) *count += 1;
}

template <class... P, class... A>
void start(void (*kernel)(P...), std::int64_t blocks, CUstream_st* stream, const A&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned int>(blocks));
  config.blockDim = dim3(kThreads);
  config.stream = stream;
  expect_success(cudaLaunchKernelEx(&config, kernel, static_cast<P>(arguments)...),
                 "cudaLaunchKernelEx");
}

/// Blocks for tiles of `in_flight` packs a thread.
template <class... P>
std::int64_t block_count(void (*kernel)(P...), std::int64_t packs, int in_flight, Spread spread) {
  const std::int64_t tile = std::int64_t{kThreads} * in_flight;
  const std::int64_t tiles = (packs + tile - 1) / tile;
  if (spread == Spread::kTiles) return tiles;
  int device = 0;
  int processors = 0;
  int resident = 0;
  expect_success(cudaGetDevice(&device), "cudaGetDevice");
  expect_success(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device),
                 "cudaDeviceGetAttribute");
  expect_success(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernel,
                                                               static_cast<int>(kThreads), 0),
                 "cudaOccupancyMaxActiveBlocksPerMultiprocessor");
  const std::int64_t all = std::int64_t{processors} * resident;
  return tiles < all ? tiles : all;
}

template <int kInFlight, bool kAdd>
void move(const float* x, float* y, std::int64_t size, Spread spread, CUstream_st* stream) {
  const auto kernel = stream_kernel<kInFlight, kAdd>;
  const std::int64_t packs = size / 4;
  start(kernel, block_count(kernel, packs, kInFlight, spread), stream, x, y, packs);
}

}  // namespace

void sum_bits(const float* x, float* y, std::int64_t size, Spread spread, CUstream_st* stream) {
  constexpr int kInFlight = 8;
  const auto kernel = sum_bits_kernel<kInFlight>;
  const std::int64_t packs = size / 4;
  start(kernel, block_count(kernel, packs, kInFlight, spread), stream,
        reinterpret_cast<const std::uint32_t*>(x), reinterpret_cast<std::uint32_t*>(y), packs);
}

void copy(const float* from, float* to, std::int64_t size, Spread spread, CUstream_st* stream) {
  move<8, false>(from, to, size, spread, stream);
}

void add(const float* x, float* y, std::int64_t size, Spread spread, CUstream_st* stream) {
  move<4, true>(x, y, size, spread, stream);
}

void do_nothing(std::uint32_t* count, CUstream_st* stream) {
  start(empty_kernel, 1, stream, count);
}

}  // namespace cuthresh::bench
