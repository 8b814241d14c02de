// Streams with nothing but memory to wait for: eight (copy) or four and four (add) 16-byte loads a
// thread before the first store. Neither is part of the library.

#include "bench/gpu/ceilings.hpp"

#include <stdexcept>
#include <string>

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

template <int kInFlight, bool kAdd>
cudaError_t start(const float* x, float* y, std::int64_t size, Spread spread, cudaStream_t stream) {
  const std::int64_t packs = size / 4;
  constexpr std::int64_t kTile = std::int64_t{kThreads} * kInFlight;
  std::int64_t blocks = (packs + kTile - 1) / kTile;
  if (spread == Spread::kResident) {
    int device = 0;
    int processors = 0;
    int resident = 0;
    cudaError_t status = cudaGetDevice(&device);
    if (status == cudaSuccess) {
      status = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
    }
    if (status == cudaSuccess) {
      status = cudaOccupancyMaxActiveBlocksPerMultiprocessor(
          &resident, stream_kernel<kInFlight, kAdd>, static_cast<int>(kThreads), 0);
    }
    if (status != cudaSuccess) return status;
    const std::int64_t all = std::int64_t{processors} * resident;
    blocks = blocks < all ? blocks : all;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned int>(blocks));
  config.blockDim = dim3(kThreads);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, stream_kernel<kInFlight, kAdd>, x, y, packs);
}

void require(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  throw std::runtime_error(std::string(what) + ": " + cudaGetErrorName(status));
}

}  // namespace

void copy(const float* from, float* to, std::int64_t size, Spread spread, CUstream_st* stream) {
  require(start<8, false>(from, to, size, spread, stream), "copy");
}

void add(const float* x, float* y, std::int64_t size, Spread spread, CUstream_st* stream) {
  require(start<4, true>(x, y, size, spread, stream), "stream");
}

}  // namespace cuthresh::bench
