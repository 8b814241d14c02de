#pragma once

// What the fused step (prox_step.cuh) does to leave weights that are zero where they are. A unit,
// the entries of 16 bytes of w, has a bit: 0 when all bits of its weights are. Such a unit is not
// read, and written only once something in it is not zero any more, so that memory holds what the
// dense step would leave, signs of zeros included. Bits belong to tiles: a word for 32 units, which
// one warp steps together, `words_a_tile` of them for every tile. Units that do not fill a word,
// and what lies outside of units, are always stepped.
//
// Bytes per element, float32 without momentum: 4 for g, 8 where a unit is alive, and 1/32 for the
// bit, or 1/16 where its word changes: at most 0.6 % more than the dense step. A tile has its words
// on the way while g is; they cost one latency more. Whether they are asked for at all is decided
// on the device by the count of nonzeros, for the step after: see ZeroState. Covered by
// tests/kernels/zero_skip_test.cpp.

#include <cstdint>

#include "kernels/math/zero_state.hpp"
#include "kernels/pack.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

/// In device memory, of a list whose weights nothing but its steps writes.
struct ZeroSkip {
  std::uint32_t* state = nullptr;  ///< ZeroState; null: no bits are kept
  std::uint32_t* words = nullptr;  ///< [tile_count · words_a_tile]
  ZeroRule rule = {};
  std::int32_t words_a_tile = 0;  ///< at most 32 for each warp of a block
};

/// Words of a tile of so many entries.
template <class Storage>
CTH_HD std::int32_t zero_words(std::int64_t tile_elements) {
  constexpr auto kEntries = static_cast<std::int64_t>(device::kWarp * kPackBytes / sizeof(Storage));
  return static_cast<std::int32_t>((tile_elements + kEntries - 1) / kEntries);
}

/// The words of one tile.
struct TileZeros {
  std::uint32_t* words;
  std::int32_t count;
  ZeroState state;
};

CTH_DEVICE TileZeros zeros_of_tile(const ZeroSkip& zeros, std::int64_t tile, ZeroState state) {
  return {zeros.words + tile * zeros.words_a_tile, zeros.words_a_tile, state};
}

/// kCount words of a warp from its number `k` on, at whose first unit of this lane the tile begins,
/// and which it moves past: all loads, then the rest. Lane i holds word i.
template <int kCount, class Tile>
CTH_DEVICE std::uint32_t step_words(Tile& tile, std::int32_t k, std::uint32_t bits) {
  using Stored = typename Tile::Stored;
  using Compute = typename Tile::Compute;
  constexpr int kUnit = Tile::kUnit;
  constexpr int kStep = static_cast<int>(device::kWarp) * kUnit;
  Pack<Stored> g[kCount] = {};
  Pack<Compute, kUnit> w[kCount];
  Pack<Compute, kUnit> v[kCount];
  bool alive[kCount];
  CTH_UNROLL
  for (int j = 0; j < kCount; ++j) {
    if constexpr (Tile::kGradient) g[j] = device::load_pack(tile.gradient + j * kStep);
    if constexpr (Tile::kMomentum) v[j] = device::load_pack<kUnit>(tile.velocity + j * kStep);
  }
  CTH_UNROLL
  for (int j = 0; j < kCount; ++j) {
    const std::uint32_t word = device::shuffle_from(bits, static_cast<std::uint32_t>(k + j));
    alive[j] = ((word >> device::lane()) & 1U) != 0;
    w[j] = device::load_pack_if<kUnit>(alive[j], tile.weight + j * kStep);
  }
  CTH_UNROLL
  for (int j = 0; j < kCount; ++j) {
    const Pack<Stored> kept = tile.advance_unit(w[j], g[j], v[j], j * kStep);
    const bool lives = device::has_bits(w[j]);
    device::store_pack_if(alive[j] || lives, tile.weight + j * kStep, w[j]);
    if constexpr (Tile::Traits::kMaster) {
      device::store_pack_if(alive[j] || lives, tile.stored + j * kStep, kept);
    }
    if constexpr (Tile::kMomentum) device::store_pack(tile.velocity + j * kStep, v[j]);
    const std::uint32_t word = device::ballot(lives);
    if (device::lane() == static_cast<std::uint32_t>(k + j)) bits = word;
  }
  tile.move(kCount * kStep);
  return bits;
}

/// A tile's step. Each warp has words that follow each other, each of its lanes one of them.
template <class Tile>
CTH_DEVICE void step_living(Tile& tile, std::int32_t size, const TileZeros& zeros) {
  constexpr auto kWarp = static_cast<std::int32_t>(device::kWarp);
  constexpr std::int32_t kWarps = Tile::kStride / kWarp;
  constexpr std::int32_t kEntries = kWarp * Tile::kUnit;  // of a word
  const auto thread = static_cast<std::int32_t>(device::thread_index());
  const auto lane = static_cast<std::int32_t>(device::lane());
  const std::int32_t a_warp = (zeros.count + kWarps - 1) / kWarps;
  const std::int32_t first = thread / kWarp * a_warp;
  const bool has_word =
      zeros.state != ZeroState::kIgnore && lane < a_warp && first + lane < zeros.count;
  std::uint32_t* const word = zeros.words + first + lane;
  std::uint32_t before = ~0U;
  if (has_word && zeros.state == ZeroState::kSkip) before = device::load_global(word);
  const auto parts = tile.split(size);
  const std::int32_t full = parts.units / kWarp;
  tile.rest(parts, full * kWarp + thread, size);

  const std::int32_t mine = (full < first + a_warp ? full : first + a_warp) - first;
  tile.move(parts.head + first * kEntries + lane * Tile::kUnit);
  // A word that the tile does not fill, now that w and g lie as they do, says nothing.
  std::uint32_t bits = lane < mine ? before : ~0U;
  std::int32_t k = 0;
  if constexpr (Tile::kInFlight > 1) {
    CTH_NO_UNROLL
    for (; k + Tile::kInFlight <= mine; k += Tile::kInFlight) {
      bits = step_words<Tile::kInFlight>(tile, k, bits);
    }
  }
  CTH_NO_UNROLL
  for (; k < mine; ++k) bits = step_words<1>(tile, k, bits);
  if (has_word && (zeros.state == ZeroState::kFind || bits != before)) {
    device::store_global(word, bits);
  }
}

/// Nothing is known of a tile that was not stepped.
template <std::uint32_t kThreads>
CTH_DEVICE void forget_tile(const TileZeros& zeros) {
  CTH_NO_UNROLL
  for (auto i = static_cast<std::int32_t>(device::thread_index()); i < zeros.count;
       i += static_cast<std::int32_t>(kThreads)) {
    device::store_global(zeros.words + i, ~0U);
  }
}

}  // namespace cuthresh
