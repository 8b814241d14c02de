#pragma once

// master ← w where w is not what the master copy is stored as: it was made anew, or somebody else
// has written w since the last step. Bytes per element: 6 read, 4 written where they differ. Seldom
// (a plan is made, a state is loaded), so entries one by one. Covered by
// tests/unit/prox_dtype_test.cpp.

#include <cstdint>

#include "kernels/block/multi_tensor.cuh"
#include "kernels/math/refresh.hpp"
#include "kernels/pack.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

template <class Storage, std::uint32_t kThreads>
CTH_KERNEL(kThreads)
refresh_master_kernel(TensorList list) {
  const TileRange range =
      tiles_of_block(list.tile_count, device::block_index(), device::block_count());
  for (std::int64_t i = range.first; i < range.end; ++i) {
    const Tile tile = list.tiles[i];
    const TensorRecord& tensor = list.tensors[tile.tensor];
    const Storage* const w = static_cast<const Storage*>(tensor.w) + tile.begin;
    float* const master = static_cast<float*>(tensor.master) + tile.begin;
    for (auto e = static_cast<std::int32_t>(device::thread_index()); e < tile.size;
         e += static_cast<std::int32_t>(kThreads)) {
      device::store_global(master + e, refreshed_master(device::load_global(w + e),
                                                        device::load_global(master + e)));
    }
  }
}

}  // namespace cuthresh
