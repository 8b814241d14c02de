#pragma once

// How a launch divides a row-major matrix: into tiles of at most 32 units across, a unit being what
// one thread moves at once (an element or a pack), and some rows down. Inside a tile each thread
// keeps to one column of units, so that what belongs to the column is loaded once, and a narrow
// matrix fills the block with rows instead. One division a tile, none an element.

#include <cstdint>

#include "kernels/platform.hpp"

namespace cuthresh {

inline constexpr std::int64_t kTileUnits = 32;

struct MatrixTiles {
  std::int64_t rows;
  std::int64_t units;      // of a row
  std::int64_t tile_rows;  // of a tile

  /// Tiles of about `size` units: few enough rows for that, one at least.
  CTH_HD static MatrixTiles of_size(std::int64_t rows, std::int64_t units, std::int64_t size) {
    const std::int64_t width = units < kTileUnits ? (units > 0 ? units : 1) : kTileUnits;
    const std::int64_t down = size / width;
    return {rows, units, down > 0 ? down : 1};
  }
  CTH_HD std::int64_t across() const { return (units + kTileUnits - 1) / kTileUnits; }
  CTH_HD std::int64_t count() const { return (rows + tile_rows - 1) / tile_rows * across(); }
};

/// A tile, and the part of it that the calling thread does: `unit` in the rows row, row + step, …
/// before end.
struct TileShare {
  std::int64_t first_row;
  std::int64_t end;
  std::int64_t first_unit;
  std::int64_t row;
  std::int64_t unit;
  std::int32_t width;  // units of the tile
  std::int32_t step;

  template <std::uint32_t kThreads>
  CTH_DEVICE static TileShare of(const MatrixTiles& tiles, std::int64_t tile) {
    static_assert(kThreads >= kTileUnits);
    const std::int64_t across = tiles.across();
    const std::int64_t down = tile / across;
    TileShare share;
    share.first_row = down * tiles.tile_rows;
    share.end = share.first_row + tiles.tile_rows;
    share.end = share.end < tiles.rows ? share.end : tiles.rows;
    share.first_unit = (tile - down * across) * kTileUnits;
    const std::int64_t left = tiles.units - share.first_unit;
    const auto width = static_cast<std::uint32_t>(left < kTileUnits ? left : kTileUnits);
    const std::uint32_t rows_at_once = kThreads / width;
    const std::uint32_t row = device::thread_index() / width;
    share.width = static_cast<std::int32_t>(width);
    share.step = static_cast<std::int32_t>(rows_at_once);
    share.unit = share.first_unit + (device::thread_index() - row * width);
    // Threads beyond the last whole row have none.
    share.row = row < rows_at_once ? share.first_row + row : share.end;
    return share;
  }
};

}  // namespace cuthresh
