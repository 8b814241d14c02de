#pragma once

// to[i] uniform on [−bound, bound) by Philox, equal to src/cpu/random.cpp to the bit: entry i is
// word i mod 4 of Philox block i/4, whatever thread computes it. 4 bytes written an element, at 40
// integer multiplications per four elements: limiter is memory on large arrays. One Philox block a
// thread, stored at once where `to` is aligned. tests/kernels/random_kernels_test.cpp

#include <cstdint>

#include "kernels/math/philox.hpp"
#include "kernels/pack.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

/// Any grid is right; (size + 4·kThreads − 1)/(4·kThreads) blocks have work.
template <std::uint32_t kThreads>
CTH_KERNEL(kThreads)
initialise_uniform_kernel(float* to, std::int64_t size, float bound, std::uint64_t seed,
                          std::uint32_t stream) {
  const bool packs = is_pack_aligned(to);
  const std::int64_t threads = std::int64_t{device::block_count()} * kThreads;
  for (std::int64_t block = std::int64_t{device::block_index()} * kThreads + device::thread_index();
       4 * block < size; block += threads) {
    const Philox words = Philox::block(seed, static_cast<std::uint64_t>(block), stream,
                                       RandomPurpose::kInitialisation);
    Pack<float> values;
    for (int i = 0; i < 4; ++i) values.value[i] = uniform_symmetric(words.words[i], bound);
    const std::int64_t left = size - 4 * block;
    if (packs && left >= 4) {
      device::store_pack(to + 4 * block, values);
    } else {
      for (int i = 0; i < 4; ++i) {
        if (i < left) to[4 * block + i] = values.value[i];
      }
    }
  }
}

}  // namespace cuthresh
