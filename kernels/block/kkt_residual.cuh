#pragma once

// Stationarity of every group of a list (kernels/math/kkt.hpp): the largest residual on the
// nonzeros and on the zeros, and how many there are of each. Maxima are of magnitude keys, so exact
// in any order, and NaN orders above ∞; those of float64 weights are rounded to float32.
// Bytes per element: 2·sizeof(Storage), read. Limiter: memory bandwidth; four 16-byte loads a
// thread are in flight. Alignment: any that the entries allow; where w and g never reach a 16-byte
// boundary together they are read one by one. w and g may be the same array. The caller zeroes
// results before the launch. Covered by tests/kernels/kkt_residual_test.cpp.

#include <cstdint>

#include "kernels/block/kkt_maxima.cuh"
#include "kernels/block/multi_tensor.cuh"
#include "kernels/block/reduce.cuh"
#include "kernels/math/kkt.hpp"
#include "kernels/math/step.hpp"
#include "kernels/pack.hpp"
#include "kernels/platform.hpp"
#include "kernels/scalar.hpp"

namespace cuthresh {

template <class Storage>
struct KktResidualArguments {
  TensorList list;
  const typename StorageTraits<Storage>::Compute* lambda;  // [groups], ≥ 0
  GroupKkt* results;                                       // [groups]
};

/// What one thread has seen of a group.
struct KktTally {
  KktMaxima worst;
  std::uint64_t nonzeros;

  template <class Compute>
  CTH_HD void add(const KktResidual<Compute>& residual, Compute w, Compute g) {
    const bool live = is_nonzero(w);
    worst.add(residual, live, w, g);
    nonzeros += live ? 1U : 0U;
  }
};

template <class Storage, std::uint32_t kThreads>
CTH_DEVICE void kkt_tile(KktTally& tally,
                         KktResidual<typename StorageTraits<Storage>::Compute> residual,
                         const Storage* w, const Storage* g, std::int32_t size) {
  constexpr int kUnit = static_cast<int>(kPackBytes / sizeof(Storage));
  constexpr int kInFlight = 2;
  constexpr auto kStride = static_cast<std::int32_t>(kThreads);
  const auto thread = static_cast<std::int32_t>(device::thread_index());
  const PackSplit<std::int32_t> split = split_in_packs<kUnit>(size, w, g);
  const Storage* const w_body = w + split.head;
  const Storage* const g_body = g + split.head;
  const std::int32_t whole = split.units - split.units % (kStride * kInFlight);

  std::int32_t unit = thread;
  CTH_NO_UNROLL
  for (; unit < whole; unit += kStride * kInFlight) {
    const Storage* const w_at = w_body + unit * kUnit;
    const Storage* const g_at = g_body + unit * kUnit;
    Pack<Storage> ws[kInFlight], gs[kInFlight];
    CTH_UNROLL
    for (int k = 0; k < kInFlight; ++k) {
      ws[k] = device::load_pack(w_at + k * (kStride * kUnit));
      gs[k] = device::load_pack(g_at + k * (kStride * kUnit));
    }
    CTH_UNROLL
    for (int k = 0; k < kInFlight; ++k) {
      CTH_UNROLL
      for (int e = 0; e < kUnit; ++e)
        tally.add(residual, widen(ws[k].value[e]), widen(gs[k].value[e]));
    }
  }
  CTH_NO_UNROLL
  for (; unit < split.units; unit += kStride) {
    const Pack<Storage> ws = device::load_pack(w_body + unit * kUnit);
    const Pack<Storage> gs = device::load_pack(g_body + unit * kUnit);
    CTH_UNROLL
    for (int e = 0; e < kUnit; ++e) tally.add(residual, widen(ws.value[e]), widen(gs.value[e]));
  }
  CTH_NO_UNROLL
  for (std::int32_t i = thread; i < size - split.units * kUnit; i += kStride) {
    const std::int32_t entry = scalar_entry<kUnit>(split, i);
    tally.add(residual, widen(device::load_global(w + entry)),
              widen(device::load_global(g + entry)));
  }
}

template <std::uint32_t kThreads>
struct KktShared {
  std::uint64_t counts[kThreads / device::kWarp];
  std::uint32_t keys[kThreads / device::kWarp];
};

/// Adds what the block has seen of a group to its result.
template <std::uint32_t kThreads>
CTH_DEVICE void add_kkt(GroupKkt* to, const KktTally& tally, std::uint64_t elements,
                        KktShared<kThreads>& shared) {
  const std::uint64_t nonzeros = device::block_sum<kThreads>(tally.nonzeros, shared.counts);
  const std::uint32_t on_nonzero = device::block_max<kThreads>(tally.worst.on_nonzero, shared.keys);
  const std::uint32_t on_zero = device::block_max<kThreads>(tally.worst.on_zero, shared.keys);
  if (device::thread_index() != 0) return;
  device::atomic_add(&to->nonzeros, nonzeros);
  device::atomic_add(&to->zeros, elements - nonzeros);
  device::atomic_max(&to->on_nonzero, on_nonzero);
  device::atomic_max(&to->on_zero, on_zero);
}

template <class Storage, std::uint32_t kThreads = 256>
CTH_KERNEL_RESIDENT(kThreads, kResidentThreads / kThreads)
kkt_residual_kernel(KktResidualArguments<Storage> args) {
  using Compute = typename StorageTraits<Storage>::Compute;
  using Shared = KktShared<kThreads>;
  CTH_SHARED(Shared, shared);
  const TileRange range =
      tiles_of_block(args.list.tile_count, device::block_index(), device::block_count());
  std::int64_t group = -1;
  std::uint64_t elements = 0;
  KktTally tally = {{0, 0}, 0};
  KktResidual<Compute> residual = {Compute(0)};
  for (std::int64_t i = range.first; i < range.end; ++i) {
    const Tile tile = args.list.tiles[i];
    const TensorRecord& tensor = args.list.tensors[tile.tensor];
    if (tensor.group < 0) continue;
    if (tensor.group != group) {
      if (group >= 0) add_kkt<kThreads>(args.results + group, tally, elements, shared);
      group = tensor.group;
      elements = 0;
      tally = {{0, 0}, 0};
      residual.lambda = args.lambda[group];
    }
    elements += static_cast<std::uint64_t>(tile.size);
    kkt_tile<Storage, kThreads>(tally, residual, static_cast<const Storage*>(tensor.w) + tile.begin,
                                static_cast<const Storage*>(tensor.g) + tile.begin, tile.size);
  }
  if (group >= 0) add_kkt<kThreads>(args.results + group, tally, elements, shared);
}

}  // namespace cuthresh
