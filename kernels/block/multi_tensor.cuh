#pragma once

// A list of tensors as kernels see it, and how a launch divides it: tiles of at most kTileElements
// elements of one tensor. Block b of G takes one of G contiguous runs of tiles, equal to one tile,
// so any grid is right, and a block meets few groups and leaves one atomic for each. 16 bytes a
// tile against 12·8192 bytes of data: 0.02 % more to read. A list too short to fill the machine
// takes smaller tiles. Tiles should begin at multiples of 8 entries, so that those of an aligned
// tensor are aligned; results need neither that nor any order of the tiles.

#include <cstdint>

#include "kernels/math/stop_rule.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

inline constexpr std::int64_t kTileElements = 8192;
/// Threads a multiprocessor that streaming kernels are compiled for: 64 registers each, and with
/// eight 16-byte loads a thread 128 KiB in flight.
inline constexpr std::uint32_t kResidentThreads = 1024;

/// One entry of a list. `group` is whose λ it has and whose count it goes into; −1: not penalised,
/// not counted; `rate` which of the plan's rates it is stepped with. What a kernel does not use may
/// be null; prox_step_kernel counts a tensor whose g is null and does not step it.
struct TensorRecord {
  void* w;         // [size] the weights that the network reads
  const void* g;   // [size] their gradient
  void* momentum;  // [size] the optimiser's buffer
  void* master;    // [size] float32 copy of 16-bit weights
  std::int64_t size;
  std::int32_t group;
  std::int32_t rate = 0;
};

/// Elements [begin, begin + size) of a tensor.
struct alignas(16) Tile {
  std::int64_t begin;
  std::int32_t tensor;
  std::int32_t size;
};

struct TensorList {
  const TensorRecord* tensors;
  const Tile* tiles;
  std::int64_t tile_count;
  std::int32_t groups;
};

/// What steps leave behind, as the host reads it: this, then [groups] counts of nonzeros.
struct StepHeader {
  std::uint64_t steps;  // taken since the status was cleared
  std::uint64_t
      stopped;  // 1: the stop rule held or a value was non-finite; no step is taken any more
  std::uint64_t total;      // nonzeros over all groups after the last step
  std::uint64_t nonfinite;  // entries of any tensor that were NaN or ±∞ after the last step
};

/// The groups' counts of nonzeros, which lie behind the header.
CTH_HD std::uint64_t* group_counts(StepHeader* header) {
  return reinterpret_cast<std::uint64_t*>(header + 1);
}

/// When steps end (src/backend/backend.hpp, StopRule), in device memory.
struct StopRecord {
  std::int64_t after;     // steps after the first `after` are looked at
  std::int32_t bands;     // 0: never by count; 1: over the total; else one a group
  std::int32_t required;  // bands that must hold at once
  std::uint32_t run = 0;  // number of this run of steps: what is announced when it stops
};

/// Where a launch adds up: this, then [groups] counts; all zero between launches (the last block
/// leaves it so).
struct StepSums {
  std::uint64_t ticket;
  std::uint64_t nonfinite;
};
CTH_HD std::uint64_t* group_counts(StepSums* sums) {
  return reinterpret_cast<std::uint64_t*>(sums + 1);
}

/// Tiles [first, end).
struct TileRange {
  std::int64_t first;
  std::int64_t end;
};

/// The tiles of block `block` of `blocks`: the first T mod G blocks take one more than the others.
CTH_HD TileRange tiles_of_block(std::int64_t tile_count, std::uint32_t block,
                                std::uint32_t blocks) {
  const std::int64_t each = tile_count / blocks;
  const std::int64_t more = tile_count % blocks;
  const std::int64_t first = each * block + (block < more ? block : more);
  return {first, first + each + (block < more ? 1 : 0)};
}

/// The stationarity of one group (kernels/math/kkt.hpp); the maxima as magnitude_key, so that NaN
/// orders above ∞ and shows.
struct GroupKkt {
  std::uint64_t nonzeros;
  std::uint64_t zeros;
  std::uint32_t on_nonzero;
  std::uint32_t on_zero;
};

}  // namespace cuthresh
