#pragma once

// to [rows, columns, lines] = from [rows, lines, columns]: each sample transposed. 8 bytes an
// element; limiter: memory. Tiles of 32×32 pass through shared memory, so that neighbouring threads
// read and write neighbouring elements; a row of 33 words there keeps the 32 banks apart. Any
// alignment; to and from do not overlap. tests/kernels/pointwise_kernels_test.cpp

#include <cstdint>

#include "kernels/platform.hpp"

namespace cuthresh {

inline constexpr std::int64_t kTransposeSide = 32;

/// Blocks that have work.
CTH_HD std::int64_t transpose_tiles(std::int64_t rows, std::int64_t lines, std::int64_t columns) {
  return rows * ((lines + kTransposeSide - 1) / kTransposeSide) *
         ((columns + kTransposeSide - 1) / kTransposeSide);
}

namespace device {
struct TransposeShared {
  float tile[kTransposeSide][kTransposeSide + 1];
};
}  // namespace device

template <std::uint32_t kThreads>
CTH_KERNEL(kThreads)
transpose_kernel(float* to, const float* from, std::int64_t rows, std::int64_t lines,
                 std::int64_t columns) {
  CTH_SHARED(device::TransposeShared, shared);
  static_assert(kThreads % kTransposeSide == 0);
  constexpr std::int64_t kStep = kThreads / kTransposeSide;
  const std::int64_t x = device::thread_index() % kTransposeSide;
  const std::int64_t y = device::thread_index() / kTransposeSide;
  const std::int64_t across = (columns + kTransposeSide - 1) / kTransposeSide;
  const std::int64_t down = (lines + kTransposeSide - 1) / kTransposeSide;
  const std::int64_t tiles = transpose_tiles(rows, lines, columns);
  for (std::int64_t tile = device::block_index(); tile < tiles; tile += device::block_count()) {
    const std::int64_t strip = tile / across;
    const std::int64_t sample = strip / down;
    const std::int64_t column = (tile - strip * across) * kTransposeSide;
    const std::int64_t line = (strip - sample * down) * kTransposeSide;
    const std::int64_t origin = sample * lines * columns;
    for (std::int64_t i = y; i < kTransposeSide; i += kStep) {
      if (line + i < lines && column + x < columns) {
        shared.tile[i][x] = from[origin + (line + i) * columns + column + x];
      }
    }
    device::sync_block();
    for (std::int64_t i = y; i < kTransposeSide; i += kStep) {
      if (column + i < columns && line + x < lines) {
        to[origin + (column + i) * lines + line + x] = shared.tile[x][i];
      }
    }
    device::sync_block();
  }
}

}  // namespace cuthresh
