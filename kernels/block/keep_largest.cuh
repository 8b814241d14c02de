#pragma once

// The second half of a step that leaves a prescribed number of nonzeros a selection: a target's
// groups together, or one group of a target with bounds, whose number share_target.cuh has found.
// The first half, prox_step_kernel with λ = 0 for them, has left z = w − αg in w. Then:
// keep_begin_kernel asks select.cuh for the k-th largest |z| of every selection; keep_ties_kernel
// looks where its surviving ties end, which reads nothing unless some of them must go;
// prox_step_kernel with ThresholdStep and KeepLargestPenalty cuts, shrinks and counts. Bytes per
// element: those of a step for the first half, of a threshold for the second, and a weight (master
// copy) a pass of the selection. Tiles are in the
// order of the list: ties survive by the lowest index. Covered by
// tests/kernels/keep_largest_test.cpp.

#include <cstdint>

#include "kernels/block/multi_tensor.cuh"
#include "kernels/block/reduce.cuh"
#include "kernels/block/select.cuh"
#include "kernels/math/control.hpp"
#include "kernels/math/keep_largest.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

/// λ of the first half: 0 for groups that are cut, the others take a plain step in it.
template <std::uint32_t kThreads, class Compute = float>
CTH_KERNEL(kThreads)
keep_lambda_kernel(const Compute* lambda, const std::int32_t* selection_of, Compute* to,
                   std::int32_t groups) {
  if (device::block_index() != 0) return;
  for (auto g = static_cast<std::int32_t>(device::thread_index()); g < groups;
       g += static_cast<std::int32_t>(kThreads)) {
    to[g] = selection_of[g] < 0 ? lambda[g] : Compute(0);
  }
}

/// Asks for the wanted-th largest |w| of every selection.
template <std::uint32_t kThreads, class Key = std::uint32_t>
CTH_KERNEL(kThreads)
keep_begin_kernel(const std::uint64_t* wanted, std::int32_t count, SelectHeader* header,
                  SelectStateOf<Key>* states) {
  if (device::block_index() != 0) return;
  for (auto s = static_cast<std::int32_t>(device::thread_index()); s < count;
       s += static_cast<std::int32_t>(kThreads)) {
    states[s] = select_kth_largest<Key>(wanted[s]);
  }
  if (device::thread_index() == 0) header->running = static_cast<std::uint64_t>(count);
}

/// Ties survive before this entry: those of earlier tensors, and of this one up to `index`.
struct TieEnd {
  std::int64_t index;
  std::int64_t tensor;
};

/// A block a selection; any grid is right.
template <std::uint32_t kThreads, class Storage = float>
CTH_KERNEL(kThreads)
keep_ties_kernel(TensorList list, SelectGroups groups,
                 const SelectStateOf<typename WeightSourceOf<Storage>::Key>* states, TieEnd* ends,
                 std::int32_t selections) {
  using Source = WeightSourceOf<Storage>;
  struct Shared {
    std::uint64_t warps[kThreads / device::kWarp];
  };
  CTH_SHARED(Shared, shared);
  for (std::int64_t s = device::block_index(); s < selections; s += device::block_count()) {
    const SelectStateOf<typename Source::Key> state = states[s];
    if (device::thread_index() == 0) ends[s] = {0, std::int64_t{1} << 62};
    if (state.found == 0 || state.rank == 0) continue;  // all ties stay
    std::uint64_t stay = state.equal - state.rank;
    for (std::int64_t i = 0; i < list.tile_count; ++i) {
      const Tile tile = list.tiles[i];
      const TensorRecord& tensor = list.tensors[tile.tensor];
      if (tensor.group < 0 || groups(tensor.group) != s) continue;
      const typename Source::Value* w = Source::of(tensor) + tile.begin;
      std::uint64_t here = 0;
      for (auto e = static_cast<std::int32_t>(device::thread_index()); e < tile.size;
           e += static_cast<std::int32_t>(kThreads)) {
        here += Source::key(device::load_global(w + e)) == state.first ? 1U : 0U;
      }
      here = device::block_sum<kThreads>(here, shared.warps);
      if (here <= stay) {
        stay -= here;
        continue;
      }
      if (device::thread_index() == 0) {
        std::int64_t e = 0;
        for (; stay > 0; ++e) {
          stay -= Source::key(device::load_global(w + e)) == state.first ? 1U : 0U;
        }
        ends[s] = {tile.begin + e, tile.tensor};
      }
      break;
    }
  }
}

template <class Storage>
struct KeepLargestPenaltyOf {
  using Compute = typename StorageTraits<Storage>::Compute;
  using State = SelectStateOf<typename WeightSourceOf<Storage>::Key>;
  const TensorRecord* tensors;
  SelectGroups groups;
  const State* states;
  const TieEnd* ends;

  struct OnTile {
    KeepLargestOf<Compute> keep;
    std::int64_t ties_end;
    CTH_HD Compute operator()(Compute z, std::int64_t i) const { return keep(z, i < ties_end); }
  };
  CTH_HD OnTile on(std::int32_t tensor, Compute threshold) const {
    const std::int64_t group = tensors[tensor].group;
    const std::int64_t selection = group < 0 ? -1 : groups(group);
    if (selection < 0) return {{Compute(-1), Compute(0)}, 0};
    const State& state = states[selection];
    if (state.wanted == 0)
      return {{static_cast<Compute>(magnitude_from_key(kInfinityKey)), Compute(0)}, 0};  // all go
    const Compute least = state.found != 0 ? magnitude_from_key(state.first) : Compute(0);
    const TieEnd end = ends[selection];
    const std::int64_t ties_end =
        tensor < end.tensor ? std::int64_t{1} << 62 : (tensor == end.tensor ? end.index : 0);
    return {{least, survivor_shrinkage<Storage>(threshold, least)}, ties_end};
  }
};

using KeepLargestPenalty = KeepLargestPenaltyOf<float>;

}  // namespace cuthresh
