#pragma once

// counts[group] += nonzeros of w over a list of tensors; −0 is zero, NaN is not.
// Bytes per element: sizeof(Storage), read. Limiter: memory bandwidth; eight 16-byte loads a thread
// are in flight, counts stay in registers until the block meets another group: then one 64-bit
// atomic. Alignment: any that the entries allow; those outside whole packs are read one by one.
// Null pointers are fine where the size is 0. The caller zeroes counts before the launch.
// Covered by tests/kernels/count_nonzero_test.cpp.

#include <cstdint>

#include "kernels/block/multi_tensor.cuh"
#include "kernels/block/reduce.cuh"
#include "kernels/math/step.hpp"
#include "kernels/pack.hpp"
#include "kernels/platform.hpp"
#include "kernels/scalar.hpp"

namespace cuthresh {

struct CountNonzeroArguments {
  TensorList list;
  std::uint64_t* counts;  // [groups]
};

/// What this thread counts of a tile.
template <class Storage, std::uint32_t kThreads>
CTH_DEVICE std::uint32_t count_tile(const Storage* w, std::int32_t size) {
  constexpr int kUnit = static_cast<int>(kPackBytes / sizeof(Storage));
  constexpr int kInFlight = 8;
  constexpr auto kStride = static_cast<std::int32_t>(kThreads);
  const auto thread = static_cast<std::int32_t>(device::thread_index());
  const PackSplit<std::int32_t> split = split_in_packs<kUnit>(size, w);
  const Storage* const body = w + split.head;
  const std::int32_t whole = split.units - split.units % (kStride * kInFlight);

  std::uint32_t count = 0;
  std::int32_t unit = thread;
  CTH_NO_UNROLL
  for (; unit < whole; unit += kStride * kInFlight) {
    const Storage* const at = body + unit * kUnit;
    Pack<Storage> packs[kInFlight];
    CTH_UNROLL
    for (int k = 0; k < kInFlight; ++k) packs[k] = device::load_pack(at + k * (kStride * kUnit));
    CTH_UNROLL
    for (int k = 0; k < kInFlight; ++k) {
      CTH_UNROLL
      for (int e = 0; e < kUnit; ++e) count += is_nonzero(packs[k].value[e]) ? 1 : 0;
    }
  }
  CTH_NO_UNROLL
  for (; unit < split.units; unit += kStride) {
    const Pack<Storage> pack = device::load_pack(body + unit * kUnit);
    CTH_UNROLL
    for (int e = 0; e < kUnit; ++e) count += is_nonzero(pack.value[e]) ? 1 : 0;
  }
  CTH_NO_UNROLL
  for (std::int32_t i = thread; i < size - split.units * kUnit; i += kStride) {
    count += is_nonzero(device::load_global(w + scalar_entry<kUnit>(split, i))) ? 1 : 0;
  }
  return count;
}

template <class Storage, std::uint32_t kThreads = 256>
CTH_KERNEL_RESIDENT(kThreads, kResidentThreads / kThreads)
count_nonzero_kernel(CountNonzeroArguments args) {
  struct Shared {
    std::uint64_t warps[kThreads / device::kWarp];
  };
  CTH_SHARED(Shared, shared);
  const TileRange range =
      tiles_of_block(args.list.tile_count, device::block_index(), device::block_count());
  std::int64_t group = -1;
  std::uint64_t nonzero = 0;
  for (std::int64_t i = range.first; i < range.end; ++i) {
    const Tile tile = args.list.tiles[i];
    const TensorRecord& tensor = args.list.tensors[tile.tensor];
    if (tensor.group < 0) continue;
    if (tensor.group != group) {
      if (group >= 0) {
        const std::uint64_t sum = device::block_sum<kThreads>(nonzero, shared.warps);
        if (device::thread_index() == 0) device::atomic_add(args.counts + group, sum);
      }
      group = tensor.group;
      nonzero = 0;
    }
    nonzero += count_tile<Storage, kThreads>(static_cast<const Storage*>(tensor.w) + tile.begin,
                                             tile.size);
  }
  if (group < 0) return;
  const std::uint64_t sum = device::block_sum<kThreads>(nonzero, shared.warps);
  if (device::thread_index() == 0) device::atomic_add(args.counts + group, sum);
}

}  // namespace cuthresh
