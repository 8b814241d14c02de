#pragma once

// Sums over the rows of a matrix, a column at a time, in the order of kernels/math/batch_norm.hpp:
// rows one by one in blocks of 128, blocks in groups of 32, then the groups. What is summed is an
// element functor's matter (kernels/block/batch_norm.cuh), which may also write as it goes.
// Limiter: memory; the values pass through shared memory, where one thread a column adds while
// other blocks load. The block that finishes a column's last rows adds the partial sums up, groups
// side by side. tests/kernels/norm_kernels_test.cpp

#include <cstdint>

#include "kernels/block/dense_bias.cuh"
#include "kernels/block/matrix_tile.cuh"
#include "kernels/math/batch_norm.hpp"
#include "kernels/pack.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {
namespace device {

inline constexpr std::int32_t kColumnValues = 4096;

struct alignas(kPackBytes) ColumnSumsShared {
  float value[kColumnValues];  // some rows of a tile, for each sum; later sums of groups
  std::uint32_t last;
};

template <int kUnit>
CTH_HD MatrixTiles column_sums_division(std::int64_t rows, std::int64_t columns) {
  return {rows, columns / kUnit, kSumBlockRows};
}

/// Adds group sums of partial sums up; the result is thread `item`'s for item < items. All threads
/// of the block call.
template <std::uint32_t kThreads>
CTH_DEVICE float add_groups(ColumnSumsShared& shared, const float* partials, std::int64_t blocks,
                            std::int64_t columns, std::int32_t items) {
  constexpr int kAhead = 8;  // loads in flight: each waits for the second-level cache
  static_assert(kNormGroupBlocks % kAhead == 0);
  const auto own = static_cast<std::int32_t>(thread_index());
  const std::int32_t teams = static_cast<std::int32_t>(kThreads) / items;
  const std::int32_t team = own / items;
  const std::int64_t groups = (blocks + kNormGroupBlocks - 1) / kNormGroupBlocks;
  float total = 0.0f;
  for (std::int64_t first = 0; first < groups; first += teams) {
    if (team < teams && first + team < groups) {
      const std::int64_t begin = (first + team) * kNormGroupBlocks;
      const std::int64_t end =
          begin + kNormGroupBlocks < blocks ? begin + kNormGroupBlocks : blocks;
      float sum = 0.0f;
      for (std::int64_t i = begin; i < end; i += kAhead) {
        float part[kAhead];
        for (int a = 0; a < kAhead; ++a) {
          part[a] = i + a < end ? load_fresh(partials + (i + a) * columns) : 0.0f;
        }
        for (int a = 0; a < kAhead; ++a) sum += part[a];  // never −0, so + 0 changes nothing
      }
      shared.value[own] = sum;
    }
    sync_block();
    for (std::int32_t t = 0; own < items && t < teams && first + t < groups; ++t) {
      total += shared.value[t * items + own];
    }
    sync_block();
  }
  return total;
}

/// Element: kSums, kAhead; channels<kUnit>(column) → what belongs to a thread's columns;
/// load<kUnit>(at) → what it reads of a unit; sums<kUnit>(loaded, channels, at, out[kSums]).
/// finish(sum's number, column, total) once each. partials: kSums·blocks·columns floats; tickets:
/// one for 32 columns at least, zero before and after.
template <int kUnit, std::uint32_t kThreads, class Element, class Finish>
CTH_DEVICE void column_sums(ColumnSumsShared& shared, Element element, Finish finish,
                            float* partials, std::uint32_t* tickets, std::int64_t rows,
                            std::int64_t columns) {
  constexpr int kSums = Element::kSums;
  constexpr int kAhead = Element::kAhead;
  constexpr std::int32_t kCapacity = kColumnValues / kSums;
  static_assert(kThreads >= kTileUnits * kUnit * kSums);
  const MatrixTiles tiles = column_sums_division<kUnit>(rows, columns);
  const std::int64_t blocks = (rows + kSumBlockRows - 1) / kSumBlockRows;
  for (std::int64_t tile = block_index(); tile < tiles.count(); tile += block_count()) {
    const TileShare share = TileShare::of<kThreads>(tiles, tile);
    const std::int32_t width = share.width * kUnit;
    const std::int32_t items = width * kSums;
    // The sum and the column that this thread adds up, one of `items`.
    const auto own = static_cast<std::int32_t>(thread_index());
    const std::int32_t item = own % items;
    const std::int32_t which = item / width;
    const std::int64_t column = share.first_unit * kUnit + (item - which * width);
    const std::int32_t fitting = kCapacity / width;
    const std::int64_t chunk_rows = fitting < kSumBlockRows ? fitting : kSumBlockRows;
    const std::int64_t step = share.step;
    const auto channels = element.template channels<kUnit>(share.unit * kUnit);
    float sum = 0.0f;
    for (std::int64_t first = share.first_row; first < share.end; first += chunk_rows) {
      const std::int64_t chunk_end =
          first + chunk_rows < share.end ? first + chunk_rows : share.end;
      for (std::int64_t row = first + (share.row - share.first_row); row < chunk_end;
           row += kAhead * step) {
        decltype(element.template load<kUnit>(0)) loaded[kAhead] = {};
        for (int a = 0; a < kAhead; ++a) {
          if (row + a * step >= chunk_end) break;
          loaded[a] = element.template load<kUnit>((row + a * step) * columns + share.unit * kUnit);
        }
        for (int a = 0; a < kAhead; ++a) {
          if (row + a * step >= chunk_end) break;
          Pack<float, 4> out[kSums];
          element.template sums<kUnit>(loaded[a], channels,
                                       (row + a * step) * columns + share.unit * kUnit, out);
          const std::int32_t at = static_cast<std::int32_t>(row + a * step - first) * width +
                                  static_cast<std::int32_t>(share.unit - share.first_unit) * kUnit;
          for (int s = 0; s < kSums; ++s) {
            float* to = shared.value + s * kCapacity + at;
            if constexpr (kUnit == 4) {
              *reinterpret_cast<Pack<float, 4>*>(to) = out[s];
            } else {
              *to = out[s].value[0];
            }
          }
        }
      }
      sync_block();
      if (own < items) {
        const auto count = static_cast<std::int32_t>(chunk_end - first);
        const float* from = shared.value + which * kCapacity + (item - which * width);
        for (std::int32_t r = 0; r < count; ++r) sum += from[r * width];
      }
      sync_block();
    }
    float* partial = partials + which * blocks * columns + column;
    if (own < items) partial[share.first_row / kSumBlockRows * columns] = sum;
    fence();
    sync_block();
    if (own == 0) {
      std::uint32_t* ticket = tickets + share.first_unit / kTileUnits;
      shared.last = atomic_add(ticket, 1U) == static_cast<std::uint32_t>(blocks - 1) ? 1U : 0U;
      // For the next launch.
      if (shared.last != 0) atomic_add(ticket, 0U - static_cast<std::uint32_t>(blocks));
    }
    sync_block();
    if (shared.last == 0) continue;  // the whole block does
    fence();
    const float total = add_groups<kThreads>(shared, partial, blocks, columns, items);
    if (own < items) finish(which, column, total);
    // The barriers of the next tile come before shared.last is written again.
  }
}

}  // namespace device

/// Tiles of a launch: more blocks than these find nothing to do. At most 2^39 rows.
CTH_HD std::int64_t column_sums_tiles(std::int64_t rows, std::int64_t columns) {
  return device::column_sums_division<1>(rows, columns).count();
}
/// Scratch for each sum: floats whose value does not matter; and the tickets of a launch.
CTH_HD std::int64_t column_sums_partials(std::int64_t rows, std::int64_t columns) {
  return (rows + kSumBlockRows - 1) / kSumBlockRows * columns;
}
CTH_HD std::int64_t column_sums_tickets(std::int64_t columns) {
  return (columns + kTileUnits - 1) / kTileUnits;
}

}  // namespace cuthresh
