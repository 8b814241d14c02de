#pragma once

// The two ends of a dense layer around its matrix products: y = act(x·Wᵀ + b) in place of x·Wᵀ, and
// back dz = dy·act'(kept) in place of dy together with the bias gradient, its column sums.
// Bytes per element: forward 8 (12 with z), backward 12; limiter: memory, but for tanh, GELU and
// SiLU in cache, where arithmetic counts. Packs of 16 bytes where the number of columns is a
// multiple of 4 and all arrays are aligned, else element by element; y and dy overlap nothing else.
// Equal to src/cpu to the bit, sums included: rows add up one by one in blocks of 128, then the
// blocks in order. That costs nothing here: dz passes through shared memory, where one thread a
// column adds while other blocks load. tests/kernels/dense_kernels_test.cpp

#include <cstdint>

#include "kernels/block/matrix_tile.cuh"
#include "kernels/math/activation.hpp"
#include "kernels/math/sum_order.hpp"
#include "kernels/pack.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

namespace device {

/// Elements that one thread moves at once.
template <int kUnit>
CTH_DEVICE Pack<float, 4> load_unit(const float* from) {
  if constexpr (kUnit == 4) {
    return load_pack<4>(from);
  } else {
    return {{load_global(from), 0.0f, 0.0f, 0.0f}};
  }
}
template <int kUnit>
CTH_DEVICE void store_unit(float* to, const Pack<float, 4>& unit) {
  if constexpr (kUnit == 4) {
    store_pack(to, unit);
  } else {
    store_global(to, unit.value[0]);
  }
}

template <int kUnit>
CTH_HD MatrixTiles bias_activation_division(std::int64_t rows, std::int64_t columns) {
  return MatrixTiles::of_size(rows, columns / kUnit, 512);
}
template <int kUnit>
CTH_HD MatrixTiles activation_backward_division(std::int64_t rows, std::int64_t columns) {
  // Without rows there still are sums to set.
  return {rows > 0 ? rows : 1, columns / kUnit, kSumBlockRows};
}

template <int kUnit, std::uint32_t kThreads, class A>
CTH_DEVICE void bias_activation(A act, const float* b, float* z, float* y, std::int64_t rows,
                                std::int64_t columns) {
  constexpr int kAhead = 2;  // a thread's rows of a full tile: all loaded before one is stored
  const MatrixTiles tiles = bias_activation_division<kUnit>(rows, columns);
  for (std::int64_t tile = block_index(); tile < tiles.count(); tile += block_count()) {
    const TileShare share = TileShare::of<kThreads>(tiles, tile);
    if (share.row >= share.end) continue;
    const Pack<float, 4> bias = load_unit<kUnit>(b + share.unit * kUnit);
    const std::int64_t step = share.step;
    for (std::int64_t row = share.row; row < share.end; row += kAhead * step) {
      Pack<float, 4> sum[kAhead] = {};
      for (int a = 0; a < kAhead; ++a) {
        if (row + a * step < share.end) {
          sum[a] = load_unit<kUnit>(y + (row + a * step) * columns + share.unit * kUnit);
        }
      }
      for (int a = 0; a < kAhead; ++a) {
        if (row + a * step >= share.end) break;
        const std::int64_t at = (row + a * step) * columns + share.unit * kUnit;
        for (int i = 0; i < kUnit; ++i) sum[a].value[i] = sum[a].value[i] + bias.value[i];
        if constexpr (A::kNeedsInput) store_unit<kUnit>(z + at, sum[a]);
        for (int i = 0; i < kUnit; ++i) sum[a].value[i] = act(sum[a].value[i]);
        store_unit<kUnit>(y + at, sum[a]);
      }
    }
  }
}

/// False where the derivative is 1 whatever it is given: then dz is dy, and neither array moves.
template <class A>
inline constexpr bool kChangesGradient = true;
template <>
inline constexpr bool kChangesGradient<IdentityActivation> = false;

struct alignas(kPackBytes) BackwardShared {
  float dz[4096];  // some rows of a tile
  std::uint32_t last;
};

template <int kUnit, std::uint32_t kThreads, class A>
CTH_DEVICE void activation_backward(BackwardShared& shared, A act, const float* kept, float* dy,
                                    float* db, float* partials, std::uint32_t* tickets,
                                    std::int64_t rows, std::int64_t columns, bool accumulate) {
  // A second load in flight hides memory behind memory; the costly derivatives hide it themselves.
  constexpr int kAhead = A::kNeedsInput ? 1 : 2;
  constexpr std::int64_t kChunkRows = 4096 / (kTileUnits * kUnit);
  static_assert(kSumBlockRows % kChunkRows == 0 && kThreads >= kTileUnits * kUnit);
  const MatrixTiles tiles = activation_backward_division<kUnit>(rows, columns);
  const std::int64_t blocks = (rows + kSumBlockRows - 1) / kSumBlockRows;
  for (std::int64_t tile = block_index(); tile < tiles.count(); tile += block_count()) {
    const TileShare share = TileShare::of<kThreads>(tiles, tile);
    const std::int64_t end = share.end < rows ? share.end : rows;
    const std::int32_t width = share.width * kUnit;
    const auto own = static_cast<std::int32_t>(thread_index());  // the column that it adds up
    const std::int64_t column = share.first_unit * kUnit + own;
    const std::int64_t step = share.step;
    float sum = 0.0f;
    for (std::int64_t first = share.first_row; first < end; first += kChunkRows) {
      const std::int64_t chunk_end = first + kChunkRows < end ? first + kChunkRows : end;
      for (std::int64_t row = first + (share.row - share.first_row); row < chunk_end;
           row += kAhead * step) {
        Pack<float, 4> k[kAhead] = {};
        Pack<float, 4> dz[kAhead] = {};
        for (int a = 0; a < kAhead; ++a) {
          if (row + a * step >= chunk_end) break;
          const std::int64_t at = (row + a * step) * columns + share.unit * kUnit;
          if constexpr (kChangesGradient<A>) k[a] = load_unit<kUnit>(kept + at);
          dz[a] = load_unit<kUnit>(dy + at);
        }
        for (int a = 0; a < kAhead; ++a) {
          if (row + a * step >= chunk_end) break;
          if constexpr (kChangesGradient<A>) {
            for (int i = 0; i < kUnit; ++i) {
              dz[a].value[i] = dz[a].value[i] * act.derivative(k[a].value[i]);
            }
            store_unit<kUnit>(dy + (row + a * step) * columns + share.unit * kUnit, dz[a]);
          }
          float* to = shared.dz + static_cast<std::int32_t>(row + a * step - first) * width +
                      static_cast<std::int32_t>(share.unit - share.first_unit) * kUnit;
          if constexpr (kUnit == 4) {
            *reinterpret_cast<Pack<float, 4>*>(to) = dz[a];
          } else {
            *to = dz[a].value[0];
          }
        }
      }
      sync_block();
      if (own < width) {
        const auto count = static_cast<std::int32_t>(chunk_end - first);
        for (std::int32_t r = 0; r < count; ++r) sum += shared.dz[r * width + own];
      }
      sync_block();
    }
    if (blocks <= 1) {  // room A adds no partial sum where there are no rows
      if (own < width) {
        const float start = accumulate ? db[column] : 0.0f;
        db[column] = blocks == 0 ? start : start + sum;
      }
      continue;
    }
    // Whoever finishes the last block of rows of these columns adds the partial sums up.
    if (own < width) partials[share.first_row / kSumBlockRows * columns + column] = sum;
    fence();
    sync_block();
    if (own == 0) {
      std::uint32_t* ticket = tickets + share.first_unit / kTileUnits;
      shared.last = atomic_add(ticket, 1U) == static_cast<std::uint32_t>(blocks - 1) ? 1U : 0U;
      // For the next launch.
      if (shared.last != 0) atomic_add(ticket, 0U - static_cast<std::uint32_t>(blocks));
    }
    sync_block();
    if (shared.last != 0 && own < width) {
      fence();
      float total = accumulate ? db[column] : 0.0f;
      for (std::int64_t i = 0; i < blocks; ++i)
        total += load_fresh(partials + i * columns + column);
      db[column] = total;
    }
    // The barriers of the next tile come before shared.last is written again.
  }
}

}  // namespace device

/// Tiles of each launch: more blocks than these find nothing to do.
CTH_HD std::int64_t bias_activation_tiles(std::int64_t rows, std::int64_t columns) {
  return device::bias_activation_division<1>(rows, columns).count();
}
CTH_HD std::int64_t activation_backward_tiles(std::int64_t rows, std::int64_t columns) {
  return device::activation_backward_division<1>(rows, columns).count();
}
/// Scratch of activation_backward_kernel: floats whose value does not matter, and 32-bit tickets,
/// zero before the first launch; every launch leaves them zero.
CTH_HD std::int64_t activation_backward_partials(std::int64_t rows, std::int64_t columns) {
  return (rows + kSumBlockRows - 1) / kSumBlockRows * columns;
}
CTH_HD std::int64_t activation_backward_tickets(std::int64_t columns) {
  return (columns + kTileUnits - 1) / kTileUnits;
}

/// y holds x·Wᵀ and becomes act(y + b); z gets y + b where A::kNeedsInput, else it is not touched.
template <class A, std::uint32_t kThreads>
CTH_KERNEL(kThreads)
bias_activation_kernel(A act, const float* b, float* z, float* y, std::int64_t rows,
                       std::int64_t columns) {
  const bool packs = columns % 4 == 0 && is_pack_aligned(b) && is_pack_aligned(y) &&
                     (!A::kNeedsInput || is_pack_aligned(z));
  if (packs) {
    device::bias_activation<4, kThreads>(act, b, z, y, rows, columns);
  } else {
    device::bias_activation<1, kThreads>(act, b, z, y, rows, columns);
  }
}

/// dy ← dy·act'(kept); db[c] = (accumulate ? db[c] : 0) + the sum of column c of the new dy. kept
/// is the output of the forward pass, or z where A::kNeedsInput. At most 2^39 rows.
template <class A, std::uint32_t kThreads>
CTH_KERNEL(kThreads)
activation_backward_kernel(A act, const float* kept, float* dy, float* db, float* partials,
                           std::uint32_t* tickets, std::int64_t rows, std::int64_t columns,
                           bool accumulate) {
  CTH_SHARED(device::BackwardShared, shared);
  if (columns % 4 == 0 && is_pack_aligned(kept) && is_pack_aligned(dy)) {
    device::activation_backward<4, kThreads>(shared, act, kept, dy, db, partials, tickets, rows,
                                             columns, accumulate);
  } else {
    device::activation_backward<1, kThreads>(shared, act, kept, dy, db, partials, tickets, rows,
                                             columns, accumulate);
  }
}

}  // namespace cuthresh
