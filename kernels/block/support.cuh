#pragma once

// bit i of a tensor's support = w[i] ≠ 0, for the tensors that have one: 32 entries a thread, the
// first in the lowest bit. Tiles begin at multiples of 32 entries. Bytes per element: that of the
// weight read, 1/8 written; once a training. Covered by tests/kernels/keep_largest_test.cpp.

#include <cstdint>

#include "kernels/block/multi_tensor.cuh"
#include "kernels/math/step.hpp"
#include "kernels/platform.hpp"
#include "kernels/scalar.hpp"

namespace cuthresh {

template <std::uint32_t kThreads, class Storage = float>
CTH_KERNEL(kThreads)
support_kernel(TensorList list, std::uint32_t* const* support) {
  const TileRange range =
      tiles_of_block(list.tile_count, device::block_index(), device::block_count());
  for (std::int64_t i = range.first; i < range.end; ++i) {
    const Tile tile = list.tiles[i];
    std::uint32_t* const bits = support[tile.tensor];
    if (bits == nullptr) continue;
    const Storage* w = static_cast<const Storage*>(list.tensors[tile.tensor].w) + tile.begin;
    const std::int32_t words = (tile.size + 31) / 32;
    for (auto word = static_cast<std::int32_t>(device::thread_index()); word < words;
         word += static_cast<std::int32_t>(kThreads)) {
      std::uint32_t value = 0;
      for (std::int32_t bit = 0; bit < 32 && 32 * word + bit < tile.size; ++bit) {
        value |= is_nonzero(device::load_global(w + 32 * word + bit)) ? 1U << bit : 0U;
      }
      bits[tile.begin / 32 + word] = value;
    }
  }
}

}  // namespace cuthresh
