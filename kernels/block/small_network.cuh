#pragma once

// A fully connected network that is small enough for a block to take rows through all its layers:
// what the two kernels of a training step share. small_network_pass_kernel goes forward and back
// and leaves inputs and deltas of every layer; small_network_step_kernel makes gradients of them
// and steps the weights, which needs no gradient in memory.
//
// Between the two, matrices lie in blocks of kRowBlock rows, each [columns][kRowBlock] with columns
// padded to a multiple of kColumnBlock: rows of a column are one 32-byte sector, columns of a block
// lie one after another, and all that is read is there (padding and missing rows are zeros).

#include <cstdint>

#include "kernels/math/activation_kind.hpp"
#include "kernels/math/small_network.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

inline constexpr std::int32_t kRowBlock = 8;
inline constexpr std::int32_t kColumnBlock = 16;
inline constexpr std::uint32_t kSmallThreads = 256;

CTH_HD std::int32_t padded_columns(std::int32_t columns) {
  return (columns + kColumnBlock - 1) / kColumnBlock * kColumnBlock;
}
CTH_HD std::int64_t row_blocks(std::int64_t rows) {
  return (rows + kRowBlock - 1) / kRowBlock;
}
/// Floats of a matrix that is laid out so.
CTH_HD std::int64_t blocked_size(std::int64_t rows, std::int32_t columns) {
  return row_blocks(rows) * padded_columns(columns) * kRowBlock;
}

/// y = act(x·Wᵀ + b), W [out, in].
struct SmallLayer {
  const float* w;
  const float* b;
  float* x;   // blocked [rows, in]
  float* d;   // blocked [rows, out]: ∂L/∂(x·Wᵀ + b)
  float* z;   // blocked [rows, out]: x·Wᵀ + b, where the derivative needs it; else null
  float* dw;  // [out, in] and [out]: gradients, where they are wanted; else null
  float* db;
  std::int32_t in;
  std::int32_t out;
  Activation activation;
  float leaky_slope;
};

struct SmallNetwork {
  SmallLayer layer[kSmallDepth];
  std::int32_t layers;
  std::int64_t rows;
};

/// Tiles of a weight gradient, kColumnBlock by kColumnBlock.
CTH_HD std::int32_t gradient_tiles(std::int32_t in, std::int32_t out) {
  return padded_columns(out) / kColumnBlock * (padded_columns(in) / kColumnBlock);
}
inline constexpr std::int32_t kGradientTile = kColumnBlock * kColumnBlock;
/// Floats that a part of the rows leaves of a tile: its weights' sums, then its biases'.
inline constexpr std::int32_t kGradientPartial = kGradientTile + kColumnBlock;

/// Parts of the rows that make a tile's sums, so that few tiles over many rows still are about 128
/// blocks; a part is 512 rows at least. Of the shape alone: sums have the same bits on any device.
CTH_HD std::int32_t gradient_parts(std::int32_t tiles, std::int64_t rows) {
  constexpr std::int64_t kPartRows = 512;
  const std::int64_t most = rows / kPartRows > 1 ? rows / kPartRows : 1;
  const std::int32_t wanted = tiles < 128 ? 128 / tiles : 1;
  return most < wanted ? static_cast<std::int32_t>(most) : wanted;
}

}  // namespace cuthresh
