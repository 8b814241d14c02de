#pragma once

// to[i] = from[i]·(kept ? 1/(1 − rate) : 0), element i kept by word i mod 4 of Philox block i/4
// (kernels/math/dropout.hpp) of the step, whatever thread computes it. 8 bytes an element at 40
// integer multiplications per four elements; limiter: memory on large arrays. One Philox block a
// thread at a time, a pack where both arrays are aligned; to may be from. Equal to
// src/cpu/pointwise.cpp to the bit. tests/kernels/pointwise_kernels_test.cpp

#include <cstdint>

#include "kernels/math/dropout.hpp"
#include "kernels/math/step_number.hpp"
#include "kernels/pack.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

/// Any grid is right; (size + 4·kThreads − 1)/(4·kThreads) blocks have work.
template <std::uint32_t kThreads>
CTH_KERNEL(kThreads)
dropout_kernel(DropoutMask mask, StepNumber step, const float* from, float* to, std::int64_t size) {
  mask.step = static_cast<std::uint32_t>(step());
  const bool packs = is_pack_aligned(from) && is_pack_aligned(to);
  const std::int64_t threads = std::int64_t{device::block_count()} * kThreads;
  for (std::int64_t block = std::int64_t{device::block_index()} * kThreads + device::thread_index();
       4 * block < size; block += threads) {
    const std::int64_t left = size - 4 * block;
    if (packs && left >= 4) {
      Pack<float> values = device::load_pack(from + 4 * block);
      const Philox words = mask.words(block);
      for (int i = 0; i < 4; ++i) values.value[i] = mask(values.value[i], words.words[i]);
      device::store_pack(to + 4 * block, values);
    } else {
      const Philox words = mask.words(block);
      for (int i = 0; i < 4; ++i) {
        if (i < left) to[4 * block + i] = mask(from[4 * block + i], words.words[i]);
      }
    }
  }
}

}  // namespace cuthresh
