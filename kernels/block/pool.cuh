#pragma once

// Pooling over channels-last images, forward and back, equal to src/cpu/pool.cpp to the bit. Bytes:
// forward reads each entry once for every window over it and writes 4 (and 1 for the winner) an
// output; backward reads those of every output over an entry and writes 4 an entry; with windows
// that do not overlap all of it once. Limiter: memory. A thread gathers for its own output or
// entry, window by window in order, so there are no atomics. Packs of 16 bytes (4 of winners) where
// the channels are a multiple of 4 and the arrays aligned, else element by element. Nothing
// overlaps. tests/kernels/pool_kernels_test.cpp

#include <cstdint>

#include "kernels/block/dense_bias.cuh"
#include "kernels/block/matrix_tile.cuh"
#include "kernels/math/pool.hpp"
#include "kernels/pack.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {
namespace device {

/// Lines of `positions` positions with their channels, a unit a thread at a time.
template <int kUnit>
CTH_HD MatrixTiles pool_division(std::int64_t lines, std::int64_t positions,
                                 std::int64_t channels) {
  return MatrixTiles::of_size(lines, positions * (channels / kUnit), 512);
}

/// f(line, position, channel) for every unit.
template <int kUnit, std::uint32_t kThreads, class F>
CTH_DEVICE void for_pool_units(std::int64_t lines, std::int64_t positions, std::int64_t channels,
                               F f) {
  const MatrixTiles tiles = pool_division<kUnit>(lines, positions, channels);
  const std::int64_t across = channels / kUnit;
  for (std::int64_t tile = block_index(); tile < tiles.count(); tile += block_count()) {
    const TileShare share = TileShare::of<kThreads>(tiles, tile);
    if (share.row >= share.end) continue;
    const std::int64_t position = share.unit / across;
    const std::int64_t channel = (share.unit - position * across) * kUnit;
    for (std::int64_t line = share.row; line < share.end; line += share.step) {
      f(line, position, channel);
    }
  }
}

struct Winners {
  std::int32_t place[4];
};
template <int kUnit>
CTH_DEVICE Winners load_winners(const std::uint8_t* from) {
  if constexpr (kUnit == 4) {
    const std::uint32_t word = load_global(reinterpret_cast<const std::uint32_t*>(from));
    Winners winners;
    for (int i = 0; i < 4; ++i) {
      winners.place[i] = static_cast<std::int32_t>((word >> (8 * i)) & 0xffU);
    }
    return winners;
  } else {
    return {{static_cast<std::int32_t>(*from), 0, 0, 0}};
  }
}
template <int kUnit>
CTH_DEVICE void store_winners(std::uint8_t* to, const Winners& winners) {
  if constexpr (kUnit == 4) {
    std::uint32_t word = 0;
    for (int i = 0; i < 4; ++i) word |= static_cast<std::uint32_t>(winners.place[i]) << (8 * i);
    store_global(reinterpret_cast<std::uint32_t*>(to), word);
  } else {
    *to = static_cast<std::uint8_t>(winners.place[0]);
  }
}

/// f(x offset, entry of the window) for the entries of an output's window that are in the image.
template <class F>
CTH_DEVICE void for_window(const PoolGeometry& g, std::int64_t line, std::int64_t position,
                           std::int64_t channel, F f) {
  const std::int64_t sample = line / g.down.out;
  const std::int64_t row = line - sample * g.down.out;
  const PoolRange down = g.down.inside(row);
  const PoolRange across = g.across.inside(position);
  const std::int64_t top = sample * g.down.in + g.down.start(row);
  const std::int64_t left = g.across.start(position);
  for (std::int64_t r = down.first; r < down.end; ++r) {
    for (std::int64_t q = across.first; q < across.end; ++q) {
      f(((top + r) * g.across.in + left + q) * g.channels + channel,
        static_cast<std::int32_t>(r * g.across.window + q));
    }
  }
}

/// f(dy offset, entry of the window) for the windows over an input entry.
template <class F>
CTH_DEVICE void for_covering(const PoolGeometry& g, std::int64_t line, std::int64_t position,
                             std::int64_t channel, F f) {
  const std::int64_t sample = line / g.down.in;
  const std::int64_t row = line - sample * g.down.in;
  const PoolRange down = g.down.covering(row);
  const PoolRange across = g.across.covering(position);
  for (std::int64_t r = down.first; r < down.end; ++r) {
    for (std::int64_t q = across.first; q < across.end; ++q) {
      f(((sample * g.down.out + r) * g.across.out + q) * g.channels + channel,
        static_cast<std::int32_t>((row - g.down.start(r)) * g.across.window + position -
                                  g.across.start(q)));
    }
  }
}

template <int kUnit, std::uint32_t kThreads>
CTH_DEVICE void max_pool(const PoolGeometry& g, const float* x, float* y, std::uint8_t* winner,
                         std::int64_t rows) {
  for_pool_units<kUnit, kThreads>(
      rows * g.down.out, g.across.out, g.channels,
      [&](std::int64_t line, std::int64_t position, std::int64_t channel) {
        Pack<float, 4> best = {};
        Winners winners = {{-1, -1, -1, -1}};
        for_window(g, line, position, channel, [&](std::int64_t from, std::int32_t place) {
          const Pack<float, 4> entry = load_unit<kUnit>(x + from);
          for (int i = 0; i < kUnit; ++i) {
            if (winners.place[i] < 0 || MaxPool::takes(entry.value[i], best.value[i])) {
              best.value[i] = entry.value[i];
              winners.place[i] = place;
            }
          }
        });
        const std::int64_t to = (line * g.across.out + position) * g.channels + channel;
        store_unit<kUnit>(y + to, best);
        if (winner != nullptr) store_winners<kUnit>(winner + to, winners);
      });
}

template <int kUnit, std::uint32_t kThreads>
CTH_DEVICE void average_pool(const PoolGeometry& g, AveragePool mean, const float* x, float* y,
                             std::int64_t rows) {
  for_pool_units<kUnit, kThreads>(
      rows * g.down.out, g.across.out, g.channels,
      [&](std::int64_t line, std::int64_t position, std::int64_t channel) {
        Pack<float, 4> sum = {};
        for_window(g, line, position, channel, [&](std::int64_t from, std::int32_t) {
          const Pack<float, 4> entry = load_unit<kUnit>(x + from);
          for (int i = 0; i < kUnit; ++i) sum.value[i] += entry.value[i];
        });
        for (int i = 0; i < kUnit; ++i) sum.value[i] = mean(sum.value[i]);
        store_unit<kUnit>(y + (line * g.across.out + position) * g.channels + channel, sum);
      });
}

template <int kUnit, std::uint32_t kThreads>
CTH_DEVICE void max_pool_backward(const PoolGeometry& g, const float* dy,
                                  const std::uint8_t* winner, float* dx, std::int64_t rows) {
  for_pool_units<kUnit, kThreads>(
      rows * g.down.in, g.across.in, g.channels,
      [&](std::int64_t line, std::int64_t position, std::int64_t channel) {
        Pack<float, 4> sum = {};
        for_covering(g, line, position, channel, [&](std::int64_t from, std::int32_t place) {
          const Pack<float, 4> gradient = load_unit<kUnit>(dy + from);
          const Winners winners = load_winners<kUnit>(winner + from);
          for (int i = 0; i < kUnit; ++i) {
            sum.value[i] += MaxPool::share(winners.place[i], place, gradient.value[i]);
          }
        });
        store_unit<kUnit>(dx + (line * g.across.in + position) * g.channels + channel, sum);
      });
}

template <int kUnit, std::uint32_t kThreads>
CTH_DEVICE void average_pool_backward(const PoolGeometry& g, AveragePool mean, const float* dy,
                                      float* dx, std::int64_t rows) {
  for_pool_units<kUnit, kThreads>(
      rows * g.down.in, g.across.in, g.channels,
      [&](std::int64_t line, std::int64_t position, std::int64_t channel) {
        Pack<float, 4> sum = {};
        for_covering(g, line, position, channel, [&](std::int64_t from, std::int32_t) {
          const Pack<float, 4> gradient = load_unit<kUnit>(dy + from);
          for (int i = 0; i < kUnit; ++i) sum.value[i] += gradient.value[i];
        });
        for (int i = 0; i < kUnit; ++i) sum.value[i] = mean(sum.value[i]);
        store_unit<kUnit>(dx + (line * g.across.in + position) * g.channels + channel, sum);
      });
}

CTH_HD bool is_winner_aligned(const std::uint8_t* winner) {
  return reinterpret_cast<std::uintptr_t>(winner) % 4 == 0;
}

}  // namespace device

/// Blocks that have work, of a forward and of a backward launch: more find nothing to do.
CTH_HD std::int64_t pool_tiles(const PoolGeometry& g, std::int64_t rows) {
  return device::pool_division<1>(rows * g.down.out, g.across.out, g.channels).count();
}
CTH_HD std::int64_t pool_backward_tiles(const PoolGeometry& g, std::int64_t rows) {
  return device::pool_division<1>(rows * g.down.in, g.across.in, g.channels).count();
}

// Three blocks a multiprocessor: 80 registers. With the 64 of four, ptxas spills for sm_80.

/// winner may be null.
template <std::uint32_t kThreads>
CTH_KERNEL_RESIDENT(kThreads, 3)
max_pool_kernel(PoolGeometry g, const float* x, float* y, std::uint8_t* winner, std::int64_t rows) {
  if (g.channels % 4 == 0 && is_pack_aligned(x) && is_pack_aligned(y) &&
      device::is_winner_aligned(winner)) {
    device::max_pool<4, kThreads>(g, x, y, winner, rows);
  } else {
    device::max_pool<1, kThreads>(g, x, y, winner, rows);
  }
}

template <std::uint32_t kThreads>
CTH_KERNEL_RESIDENT(kThreads, 3)
average_pool_kernel(PoolGeometry g, AveragePool mean, const float* x, float* y, std::int64_t rows) {
  if (g.channels % 4 == 0 && is_pack_aligned(x) && is_pack_aligned(y)) {
    device::average_pool<4, kThreads>(g, mean, x, y, rows);
  } else {
    device::average_pool<1, kThreads>(g, mean, x, y, rows);
  }
}

template <std::uint32_t kThreads>
CTH_KERNEL_RESIDENT(kThreads, 3)
max_pool_backward_kernel(PoolGeometry g, const float* dy, const std::uint8_t* winner, float* dx,
                         std::int64_t rows) {
  if (g.channels % 4 == 0 && is_pack_aligned(dy) && is_pack_aligned(dx) &&
      device::is_winner_aligned(winner)) {
    device::max_pool_backward<4, kThreads>(g, dy, winner, dx, rows);
  } else {
    device::max_pool_backward<1, kThreads>(g, dy, winner, dx, rows);
  }
}

template <std::uint32_t kThreads>
CTH_KERNEL_RESIDENT(kThreads, 3)
average_pool_backward_kernel(PoolGeometry g, AveragePool mean, const float* dy, float* dx,
                             std::int64_t rows) {
  if (g.channels % 4 == 0 && is_pack_aligned(dy) && is_pack_aligned(dx)) {
    device::average_pool_backward<4, kThreads>(g, mean, dy, dx, rows);
  } else {
    device::average_pool_backward<1, kThreads>(g, mean, dy, dx, rows);
  }
}

}  // namespace cuthresh
