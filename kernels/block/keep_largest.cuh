#pragma once

// The second half of a step that leaves a prescribed number of nonzeros a selection: a target's
// groups together, or one group of a target with bounds, whose number share_target.cuh has found.
// The first half, prox_step_kernel with λ = 0, has left z = w − αg in w. Then: keep_begin_kernel
// asks select.cuh for the k-th largest |z| of every selection; keep_ties_kernel looks where its
// surviving ties end, which reads nothing unless some of them must go; prox_step_kernel with
// ThresholdStep and KeepLargestPenalty cuts, shrinks and counts. Bytes per element: 12 for the first
// half, 8 for the second, 4 a pass of the selection. Tiles are in the order of the list: ties
// survive by the lowest index. Covered by tests/kernels/keep_largest_test.cpp.

#include <cstdint>

#include "kernels/block/multi_tensor.cuh"
#include "kernels/block/reduce.cuh"
#include "kernels/block/select.cuh"
#include "kernels/math/control.hpp"
#include "kernels/math/keep_largest.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

/// Asks for the wanted-th largest |w| of every selection.
template <std::uint32_t kThreads>
CTH_KERNEL(kThreads)
keep_begin_kernel(const std::uint64_t* wanted, std::int32_t count, SelectHeader* header,
                  SelectState* states) {
  if (device::block_index() != 0) return;
  for (auto s = static_cast<std::int32_t>(device::thread_index()); s < count;
       s += static_cast<std::int32_t>(kThreads)) {
    states[s] = select_kth_largest(wanted[s]);
  }
  if (device::thread_index() == 0) header->running = static_cast<std::uint64_t>(count);
}

/// Ties survive before this entry: those of earlier tensors, and of this one up to `index`.
struct TieEnd {
  std::int64_t index;
  std::int64_t tensor;
};

/// A block a selection; any grid is right.
template <std::uint32_t kThreads>
CTH_KERNEL(kThreads)
keep_ties_kernel(TensorList list, SelectGroups groups, const SelectState* states, TieEnd* ends,
                 std::int32_t selections) {
  struct Shared {
    std::uint64_t warps[kThreads / device::kWarp];
  };
  CTH_SHARED(Shared, shared);
  for (std::int64_t s = device::block_index(); s < selections; s += device::block_count()) {
    const SelectState state = states[s];
    if (device::thread_index() == 0) ends[s] = {0, std::int64_t{1} << 62};
    if (state.found == 0 || state.rank == 0) continue;  // all ties stay
    std::uint64_t stay = state.equal - state.rank;
    for (std::int64_t i = 0; i < list.tile_count; ++i) {
      const Tile tile = list.tiles[i];
      const TensorRecord& tensor = list.tensors[tile.tensor];
      if (tensor.group < 0 || groups(tensor.group) != s) continue;
      const float* w = static_cast<const float*>(tensor.w) + tile.begin;
      std::uint64_t here = 0;
      for (auto e = static_cast<std::int32_t>(device::thread_index()); e < tile.size;
           e += static_cast<std::int32_t>(kThreads)) {
        here += magnitude_key(device::load_global(w + e)) == state.first ? 1U : 0U;
      }
      here = device::block_sum<kThreads>(here, shared.warps);
      if (here <= stay) {
        stay -= here;
        continue;
      }
      if (device::thread_index() == 0) {
        std::int64_t e = 0;
        for (; stay > 0; ++e) {
          stay -= magnitude_key(device::load_global(w + e)) == state.first ? 1U : 0U;
        }
        ends[s] = {tile.begin + e, tile.tensor};
      }
      break;
    }
  }
}

struct KeepLargestPenalty {
  const TensorRecord* tensors;
  SelectGroups groups;
  const SelectState* states;
  const TieEnd* ends;
  bool reads_gradient;  // the first half; it has left tensors without one as they were

  struct OnTile {
    KeepLargest keep;
    std::int64_t ties_end;
    CTH_HD float operator()(float z, std::int64_t i) const { return keep(z, i < ties_end); }
  };
  CTH_HD OnTile on(std::int32_t tensor, float threshold) const {
    const std::int64_t group = tensors[tensor].group;
    const std::int64_t selection = group < 0 ? -1 : groups(group);
    if (selection < 0) {  // what remains of a plain step
      return {{-1.0f, reads_gradient && tensors[tensor].g == nullptr ? 0.0f : threshold}, 0};
    }
    const SelectState& state = states[selection];
    if (state.wanted == 0) return {{magnitude_from_key(kInfinityKey), 0.0f}, 0};  // all go
    const float least = state.found != 0 ? magnitude_from_key(state.first) : 0.0f;
    const TieEnd end = ends[selection];
    const std::int64_t ties_end =
        tensor < end.tensor ? std::int64_t{1} << 62 : (tensor == end.tensor ? end.index : 0);
    return {{least, survivor_shrinkage(threshold, least)}, ties_end};
  }
};

}  // namespace cuthresh
