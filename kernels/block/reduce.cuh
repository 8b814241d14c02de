#pragma once

// Sums and maxima over a warp and a block, in one fixed order, so that floating-point sums have the
// same bits in every run. `shared` has one slot a warp; all threads of the block call, and may call
// again with the same slots at once. Covered by the tests of every kernel that uses them.

#include <cstdint>

#include "kernels/platform.hpp"

namespace cuthresh::device {

/// Every lane gets the sum: lanes add in pairs 16, 8, 4, 2, 1 apart.
template <class T>
CTH_DEVICE T warp_sum(T value) {
  for (std::uint32_t mask = kWarp / 2; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}

template <class T>
CTH_DEVICE T warp_max(T value) {
  for (std::uint32_t mask = kWarp / 2; mask > 0; mask /= 2) {
    const T other = shuffle_xor(value, mask);
    value = other > value ? other : value;
  }
  return value;
}

/// Every thread gets the sum of the warps' sums, added in the order of the warps.
template <std::uint32_t kThreads, class T>
CTH_DEVICE T block_sum(T value, T (&shared)[kThreads / kWarp]) {
  static_assert(kThreads % kWarp == 0);
  const T of_warp = warp_sum(value);
  if (lane() == 0) shared[thread_index() / kWarp] = of_warp;
  sync_block();
  T sum = shared[0];
  for (std::uint32_t warp = 1; warp < kThreads / kWarp; ++warp) sum += shared[warp];
  sync_block();
  return sum;
}

template <std::uint32_t kThreads, class T>
CTH_DEVICE T block_max(T value, T (&shared)[kThreads / kWarp]) {
  static_assert(kThreads % kWarp == 0);
  const T of_warp = warp_max(value);
  if (lane() == 0) shared[thread_index() / kWarp] = of_warp;
  sync_block();
  T largest = shared[0];
  for (std::uint32_t warp = 1; warp < kThreads / kWarp; ++warp) {
    largest = shared[warp] > largest ? shared[warp] : largest;
  }
  sync_block();
  return largest;
}

}  // namespace cuthresh::device
