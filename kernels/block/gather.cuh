#pragma once

// to[i] = from[index[first + i]] for rows of any number of bytes, with the index and the step that
// says what is first in device memory, so that a captured graph follows them. Two bytes moved a
// byte of the rows, and 8 a row for the index; limiter: memory. Moves 16, 4 or 1 byte at a time,
// the widest that both pointers and the row allow. `to` overlaps nothing else; index need not be
// aligned to more than its type. tests/kernels/random_kernels_test.cpp

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/block/matrix_tile.cuh"
#include "kernels/math/step_number.hpp"
#include "kernels/pack.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {
namespace device {

template <std::int64_t kUnit>
CTH_HD MatrixTiles gather_division(std::int64_t rows, std::size_t row_bytes) {
  return MatrixTiles::of_size(rows, static_cast<std::int64_t>(row_bytes) / kUnit, 1024);
}

template <std::int64_t kUnit>
CTH_DEVICE void move_unit(char* to, const char* from) {
  if constexpr (kUnit == 16) {
    std::uint32_t words[4];
    load_words(from, words);
    store_words(to, words);
  } else if constexpr (kUnit == 4) {
    // Rows hold whatever the caller keeps in them; memcpy may read anything as a word.
    std::uint32_t word = 0;
    std::memcpy(&word, static_cast<const std::uint32_t*>(__builtin_assume_aligned(from, 4)), 4);
    std::memcpy(static_cast<std::uint32_t*>(__builtin_assume_aligned(to, 4)), &word, 4);
  } else {
    *to = *from;
  }
}

template <std::int64_t kUnit, std::uint32_t kThreads>
CTH_DEVICE void gather_rows(char* to, const char* from, const std::int64_t* index,
                            std::int64_t rows, std::size_t row_bytes) {
  const auto bytes = static_cast<std::int64_t>(row_bytes);
  const MatrixTiles tiles = gather_division<kUnit>(rows, row_bytes);
  for (std::int64_t tile = block_index(); tile < tiles.count(); tile += block_count()) {
    const TileShare share = TileShare::of<kThreads>(tiles, tile);
    for (std::int64_t row = share.row; row < share.end; row += share.step) {
      move_unit<kUnit>(to + row * bytes + share.unit * kUnit,
                       from + index[row] * bytes + share.unit * kUnit);
    }
  }
}

}  // namespace device

/// Blocks that have work at most: more find nothing to do.
CTH_HD std::int64_t gather_tiles(std::int64_t rows, std::size_t row_bytes) {
  return device::gather_division<1>(rows, row_bytes).count();
}

template <std::uint32_t kThreads>
CTH_KERNEL(kThreads)
gather_rows_kernel(void* to, const void* from, const std::int64_t* index, std::int64_t rows,
                   std::size_t row_bytes, RowsOfStep of_step) {
  index += of_step.first();
  auto* target = static_cast<char*>(to);
  const auto* source = static_cast<const char*>(from);
  const std::size_t offsets =
      reinterpret_cast<std::uintptr_t>(to) | reinterpret_cast<std::uintptr_t>(from) | row_bytes;
  if (offsets % 16 == 0) {
    device::gather_rows<16, kThreads>(target, source, index, rows, row_bytes);
  } else if (offsets % 4 == 0) {
    device::gather_rows<4, kThreads>(target, source, index, rows, row_bytes);
  } else {
    device::gather_rows<1, kThreads>(target, source, index, rows, row_bytes);
  }
}

}  // namespace cuthresh
