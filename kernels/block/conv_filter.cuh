#pragma once

// Convolution weights from our order [out, in, taps] to channels-last [out, taps, in], the order
// that cuDNN's channels-last convolutions take, and their gradient back, set or added to.
// Bytes per element: 8 (12 when adding); limiter: cache, as one side of the copy is strided by the
// taps (the largest layers hold a few MiB). The arrays need no alignment beyond a float's and do
// not overlap. Any grid is right. tests/kernels/conv_kernels_test.cpp

#include <cstdint>

#include "kernels/platform.hpp"

namespace cuthresh {

/// Blocks that have work at most: more find nothing to do.
CTH_HD std::int64_t conv_filter_tiles(std::int64_t size, std::uint32_t threads) {
  return (size + threads - 1) / threads;
}

/// to [out, taps, in] = from [out, in, taps].
template <std::uint32_t kThreads>
CTH_KERNEL(kThreads)
conv_filter_kernel(float* to, const float* from, std::int64_t out, std::int64_t in,
                   std::int64_t taps) {
  const std::int64_t size = out * in * taps;
  const std::int64_t threads = std::int64_t{device::block_count()} * kThreads;
  for (std::int64_t i = std::int64_t{device::block_index()} * kThreads + device::thread_index();
       i < size; i += threads) {
    const std::int64_t line = i / in;  // o·taps + tap
    to[i] = from[(line / taps * in + i % in) * taps + line % taps];
  }
}

/// to [out, in, taps] = (accumulate ? to : 0) + from [out, taps, in].
template <std::uint32_t kThreads>
CTH_KERNEL(kThreads)
conv_filter_gradient_kernel(float* to, const float* from, std::int64_t out, std::int64_t in,
                            std::int64_t taps, bool accumulate) {
  const std::int64_t size = out * in * taps;
  const std::int64_t threads = std::int64_t{device::block_count()} * kThreads;
  for (std::int64_t i = std::int64_t{device::block_index()} * kThreads + device::thread_index();
       i < size; i += threads) {
    const std::int64_t line = i / taps;  // o·in + channel
    const float value = from[(line / in * taps + i % taps) * in + line % in];
    to[i] = accumulate ? to[i] + value : value;
  }
}

}  // namespace cuthresh
