#pragma once

// Forward, loss and deltas of a small network in one launch: a block takes 8 rows through all
// layers and back, values of one layer at a time in shared memory, weights straight from the cache.
//
// A warp does 16 columns of a product: lane = 8·(four columns) + (eighth of the depth). Forward, a
// lane reads 4 columns × 4 depths of W as four 16-byte loads, 128 bytes of each of 4 rows together;
// backward 4 depths × 4 columns likewise. It meets 8 rows a value from shared memory by two 16-byte
// loads without bank conflicts (place()), 32 fused multiply-adds for those and one load of W. Eight
// lanes then add up their parts in halves, so that each ends with 4 rows of one column.
// Sums: a lane its depths in order, lanes then in pairs 4, 2, 1 apart: the same bits for any grid.
//
// Estimate for 6-128-128-64-1 and 1000 rows: 125 blocks; 101 MFLOP; a block reads 200 KB of weights
// from the second-level cache and writes 21 KB. Limiter: those loads, of which two iterations a
// warp, 32 KiB a multiprocessor, are in flight. Shared memory 20.5 KB, two blocks a multiprocessor.
// tests/kernels/small_network_kernels_test.cpp

#include <cstdint>

#include "kernels/block/loss.cuh"
#include "kernels/block/prox_step.cuh"
#include "kernels/block/reduce.cuh"
#include "kernels/block/small_network.cuh"
#include "kernels/math/activations.hpp"
#include "kernels/math/elementary.hpp"
#include "kernels/math/loss.hpp"

namespace cuthresh {

struct SmallPassArguments {
  SmallNetwork network;
  const float* input;         // [rows, in of the first layer]
  const float* target;        // [rows, out of the last]: mean squared error; else null
  const std::int32_t* label;  // [rows]: cross-entropy
  float gradient_scale;       // as LossArgs'
  LossScratch scratch;        // of the loss's sum
  LossTarget sum;             // null: not wanted
  const StepHeader* status;   // of the plan: nothing is done once stopped
  const float* skip;          // or while this is not 0; null: never
};

namespace device {

inline constexpr std::int32_t kSubs = 8;        // lanes that share a column's depth
inline constexpr std::int32_t kPassDepth = 32;  // of one iteration
inline constexpr std::int32_t kQuadPitch = 36;  // floats of four columns' rows, and 4 to spare
inline constexpr std::int32_t kSmallValues = kSmallWidth / 4 * kQuadPitch;

/// Where the rows of a column begin. A quad of columns has 32 floats: with 4 more, eight lanes that
/// read 16 bytes from the same place of eight quads, or of eight neighbouring columns, meet all
/// banks.
CTH_DEVICE std::int32_t place(std::int32_t column) {
  return column / 4 * kQuadPitch + column % 4 * kRowBlock;
}

struct alignas(kPackBytes) SmallPassShared {
  float value[2][kSmallValues];
  RowSums<kSmallThreads> rows;
};

/// Where a lane stands in its warp's 16 columns.
struct ProductLane {
  std::int32_t unit;    // of 16 columns
  std::int32_t column;  // of the four that it adds up, the first
  std::int32_t sub;     // its part of the depth
  std::int32_t kept;    // the column of its results
  std::int32_t half;    // and their first row: 0 or 4

  CTH_DEVICE explicit ProductLane(std::int32_t of_unit) : unit(of_unit) {
    const auto own = static_cast<std::int32_t>(lane());
    sub = own % kSubs;
    column = unit * kColumnBlock + own / kSubs * 4;
    kept = column + sub / 2;
    half = sub % 2 * 4;
  }
  /// In blocked memory; of one unit, lanes lie one after another.
  CTH_DEVICE std::int64_t blocked(std::int64_t block, std::int32_t columns) const {
    return (block * padded_columns(columns) + kept) * kRowBlock + half;
  }
};

/// x·Wᵀ (depth: inputs, columns: outputs), or with kBack d·W (depth: outputs, columns: inputs).
template <bool kBack, bool kPacked>
struct SmallProduct {
  const float* w;
  std::int32_t in;
  std::int32_t depth;
  std::int32_t columns;
  ProductLane at;

  /// Four neighbours of a row of W, from column `c`; those past `in` are its last.
  CTH_DEVICE Pack<float> quad(std::int32_t row, std::int32_t c) const {
    const float* const from = w + row * in;
    if constexpr (kPacked) {
      return load_pack(from + (c < in ? c : in - 4));
    } else {
      Pack<float> q;
      CTH_UNROLL
      for (int e = 0; e < 4; ++e) q.value[e] = load_global(from + (c + e < in ? c + e : in - 1));
      return q;
    }
  }

  /// Of one iteration. Columns past the last repeat it: what they give is not kept.
  CTH_DEVICE void load(Pack<float> (&q)[4], std::int32_t first) const {
    CTH_UNROLL
    for (int i = 0; i < 4; ++i) {
      if constexpr (kBack) {
        const std::int32_t row = first + kSubs * i + at.sub;
        q[i] = quad(row < depth ? row : depth - 1, at.column);
      } else {
        const std::int32_t row = at.column + i;
        q[i] = quad(row < columns ? row : columns - 1, first + 4 * at.sub);
      }
    }
  }

  /// acc[column][row] += W·value. kTail: what lies past the depth adds nothing.
  template <bool kTail>
  CTH_DEVICE void multiply(float (&acc)[4][kRowBlock], const Pack<float> (&q)[4],
                           std::int32_t first, const float* value) const {
    CTH_UNROLL
    for (int i = 0; i < 4; ++i) {
      const std::int32_t k = first + (kBack ? kSubs * i + at.sub : 4 * at.sub + i);
      if (kTail && k >= depth) continue;
      const float* const from = value + place(k);
      const auto low = *reinterpret_cast<const Pack<float>*>(from);
      const auto high = *reinterpret_cast<const Pack<float>*>(from + 4);
      CTH_UNROLL
      for (int c = 0; c < 4; ++c) {
        const float weight = kBack ? q[i].value[c] : q[c].value[i];
        CTH_UNROLL
        for (int r = 0; r < 4; ++r) {
          acc[c][r] = __builtin_fmaf(weight, low.value[r], acc[c][r]);
          acc[c][r + 4] = __builtin_fmaf(weight, high.value[r], acc[c][r + 4]);
        }
      }
    }
  }

  /// Four rows of one column: at.kept, from at.half on. All lanes of the warp call.
  CTH_DEVICE Pack<float> run(const float* value) const {
    float acc[4][kRowBlock] = {};
    Pack<float> now[4];
    load(now, 0);
    std::int32_t first = 0;
    CTH_NO_UNROLL
    for (; first + kPassDepth <= depth; first += kPassDepth) {
      Pack<float> next[4] = {};
      if (first + kPassDepth < depth) load(next, first + kPassDepth);
      multiply<false>(acc, now, first, value);
      CTH_UNROLL
      for (int i = 0; i < 4; ++i) now[i] = next[i];
    }
    if (first < depth) multiply<true>(acc, now, first, value);
    return add_lanes(acc);
  }

  /// Eight lanes' parts, in halves of what is left: columns, columns, rows.
  CTH_DEVICE Pack<float> add_lanes(const float (&acc)[4][kRowBlock]) const {
    const bool upper = (at.sub & 4) != 0;
    float two[2][kRowBlock];
    CTH_UNROLL
    for (int c = 0; c < 2; ++c) {
      CTH_UNROLL
      for (int r = 0; r < kRowBlock; ++r) {
        const float other = shuffle_xor(upper ? acc[c][r] : acc[c + 2][r], 4);
        two[c][r] = (upper ? acc[c + 2][r] : acc[c][r]) + other;
      }
    }
    const bool second = (at.sub & 2) != 0;
    float one[kRowBlock];
    CTH_UNROLL
    for (int r = 0; r < kRowBlock; ++r) {
      const float other = shuffle_xor(second ? two[0][r] : two[1][r], 2);
      one[r] = (second ? two[1][r] : two[0][r]) + other;
    }
    const bool last_rows = (at.sub & 1) != 0;
    Pack<float> sum;
    CTH_UNROLL
    for (int r = 0; r < 4; ++r) {
      const float other = shuffle_xor(last_rows ? one[r] : one[r + 4], 1);
      sum.value[r] = (last_rows ? one[r + 4] : one[r]) + other;
    }
    return sum;
  }
};

/// Rows of x that lie together in 16-byte packs.
CTH_DEVICE bool has_packs(const float* w, std::int32_t in) {
  return in % 4 == 0 && is_pack_aligned(w);
}

template <bool kBack>
CTH_DEVICE Pack<float> small_product(const SmallLayer& layer, const float* value, ProductLane at) {
  const std::int32_t depth = kBack ? layer.out : layer.in;
  const std::int32_t columns = kBack ? layer.in : layer.out;
  if (has_packs(layer.w, layer.in)) {
    return SmallProduct<kBack, true>{layer.w, layer.in, depth, columns, at}.run(value);
  }
  return SmallProduct<kBack, false>{layer.w, layer.in, depth, columns, at}.run(value);
}

/// The rows of one block of rows on their way through the network.
class SmallPass {
 public:
  CTH_DEVICE SmallPass(const SmallPassArguments& args, SmallPassShared& shared, std::int64_t block)
      : args_(args), shared_(shared), block_(block) {
    const std::int64_t left = args.network.rows - block * kRowBlock;
    rows_ = left < kRowBlock ? static_cast<std::int32_t>(left) : kRowBlock;
  }

  CTH_DEVICE void run() {
    read_input();
    const std::int32_t layers = args_.network.layers;
    for (std::int32_t l = 0; l < layers; ++l) forward(l);
    loss();
    for (std::int32_t l = layers - 1; l > 0; --l) backward(l);
  }

 private:
  static constexpr auto kWarps = static_cast<std::int32_t>(kSmallThreads / kWarp);
  static_assert(kWarps == kRowBlock, "a warp reads, and has the loss of, one row");

  CTH_DEVICE const SmallLayer& layer(std::int32_t l) const { return args_.network.layer[l]; }
  CTH_DEVICE static std::int32_t warp() {
    return static_cast<std::int32_t>(thread_index() / kWarp);
  }
  CTH_DEVICE float* now() { return shared_.value[half_]; }
  CTH_DEVICE float* next() { return shared_.value[half_ ^ 1]; }
  /// What was written to next() is now() for all threads.
  CTH_DEVICE void turn() {
    sync_block();
    half_ ^= 1;
  }
  CTH_DEVICE Pack<float> rows_or_zero(Pack<float> value, std::int32_t first, bool exists) const {
    CTH_UNROLL
    for (int r = 0; r < 4; ++r) {
      if (!exists || first + r >= rows_) value.value[r] = 0.0f;
    }
    return value;
  }
  /// f(at) for the lane's share of that many columns, padding included.
  template <class F>
  CTH_DEVICE void for_columns(std::int32_t columns, F f) {
    for (std::int32_t unit = warp(); unit * kColumnBlock < columns; unit += kWarps) {
      f(ProductLane(unit));
    }
  }

  CTH_DEVICE void read_input() {
    const SmallLayer& first = layer(0);
    const std::int64_t row = block_ * kRowBlock + warp();
    for (auto k = static_cast<std::int32_t>(lane()); k < first.in;
         k += static_cast<std::int32_t>(kWarp)) {
      next()[place(k) + warp()] =
          warp() < rows_ ? load_global(args_.input + row * first.in + k) : 0.0f;
    }
    turn();
    for_columns(first.in, [&](const ProductLane& at) {
      Pack<float> x = {};
      if (at.kept < first.in) x = *reinterpret_cast<Pack<float>*>(now() + place(at.kept) + at.half);
      store_pack(first.x + at.blocked(block_, first.in), x);
    });
  }

  CTH_DEVICE void forward(std::int32_t l) {
    const SmallLayer& own = layer(l);
    for_columns(own.out, [&](const ProductLane& at) {
      Pack<float> z = small_product<false>(own, now(), at);
      const bool exists = at.kept < own.out;
      const float bias = exists ? load_global(own.b + at.kept) : 0.0f;
      CTH_UNROLL
      for (int r = 0; r < 4; ++r) z.value[r] += bias;
      Pack<float> y;
      with_activation(own, [&](auto act) {
        CTH_UNROLL
        for (int r = 0; r < 4; ++r) y.value[r] = act(z.value[r]);
      });
      y = rows_or_zero(y, at.half, exists);
      *reinterpret_cast<Pack<float>*>(next() + place(at.kept) + at.half) = y;
      const std::int64_t to = at.blocked(block_, own.out);
      if (own.z != nullptr) store_pack(own.z + to, rows_or_zero(z, at.half, exists));
      if (l + 1 < args_.network.layers) store_pack(layer(l + 1).x + to, y);
    });
    turn();
  }

  /// From ∂L/∂y of a layer to ∂L/∂z, in shared memory and for the gradients.
  CTH_DEVICE void keep_delta(const SmallLayer& of, const ProductLane& at, Pack<float> dy,
                             const Pack<float>& kept, float* to) {
    with_activation(of, [&](auto act) {
      CTH_UNROLL
      for (int r = 0; r < 4; ++r) dy.value[r] *= act.derivative(kept.value[r]);
    });
    dy = rows_or_zero(dy, at.half, at.kept < of.out);
    *reinterpret_cast<Pack<float>*>(to + place(at.kept) + at.half) = dy;
    store_pack(of.d + at.blocked(block_, of.out), dy);
  }

  CTH_DEVICE void loss() {
    const SmallLayer& last = layer(args_.network.layers - 1);
    if (warp() < rows_) {
      if (args_.target != nullptr) {
        squared_errors(last.out);
      } else {
        cross_entropy(last.out);
      }
    }
    sync_block();
    for_columns(last.out, [&](const ProductLane& at) {
      float* const here = next() + place(at.kept) + at.half;
      const auto dy = *reinterpret_cast<Pack<float>*>(here);
      const Pack<float> kept =
          last.z != nullptr ? load_pack(last.z + at.blocked(block_, last.out))
                            : *reinterpret_cast<Pack<float>*>(now() + place(at.kept) + at.half);
      keep_delta(last, at, dy, kept, next());
    });
    turn();
  }

  /// A warp's row: ∂L/∂y to next(), its loss and whether it is right to the scratch.
  CTH_DEVICE void squared_errors(std::int32_t columns) {
    const SquaredError error{args_.gradient_scale};
    const std::int64_t row = block_ * kRowBlock + warp();
    double sum = 0.0;
    for (auto j = static_cast<std::int32_t>(lane()); j < columns;
         j += static_cast<std::int32_t>(kWarp)) {
      const float y = now()[place(j) + warp()];
      const float wanted = load_global(args_.target + row * columns + j);
      next()[place(j) + warp()] = error.gradient(y, wanted);
      sum += error.loss(y, wanted);
    }
    if (args_.sum.loss != nullptr) keep_loss(row, warp_sum(sum), false);
  }

  CTH_DEVICE void cross_entropy(std::int32_t columns) {
    const SoftmaxCrossEntropy entropy{args_.gradient_scale};
    const std::int64_t row = block_ * kRowBlock + warp();
    const float* const z = now() + warp();
    // The first of the largest; a NaN is never larger, so only one in front wins, as in loss.cuh.
    float top = -__builtin_inff();
    std::int32_t largest = columns;
    const auto take = [&](float value, std::int32_t index) {
      if (value > top || (value == top && index < largest)) {
        top = value;
        largest = index;
      }
    };
    const auto begin = static_cast<std::int32_t>(lane());
    constexpr auto kStride = static_cast<std::int32_t>(kWarp);
    for (std::int32_t j = begin; j < columns; j += kStride) take(z[place(j)], j);
    for (std::uint32_t mask = kWarp / 2; mask > 0; mask /= 2) {
      const float other = shuffle_xor(top, mask);
      const std::int32_t index = shuffle_xor(largest, mask);
      take(other, index);
    }
    if (z[0] != z[0]) {
      top = z[0];
      largest = 0;
    }
    float sum = 0.0f;
    for (std::int32_t j = begin; j < columns; j += kStride) sum += exp_float(z[place(j)] - top);
    sum = warp_sum(sum);
    const std::int32_t wanted = args_.label[row];
    for (std::int32_t j = begin; j < columns; j += kStride) {
      next()[place(j) + warp()] = entropy.gradient(exp_float(z[place(j)] - top), sum, j == wanted);
    }
    if (args_.sum.loss == nullptr) return;
    keep_loss(row,
              static_cast<double>(log_float(sum)) - static_cast<double>(z[place(wanted)] - top),
              largest == wanted);
  }

  CTH_DEVICE void keep_loss(std::int64_t row, double value, bool right) const {
    if (lane() != 0) return;
    args_.scratch.row_losses[row] = value;
    args_.scratch.row_hits[row] = right ? 1U : 0U;
  }

  /// Deltas of layer l − 1 from those of layer l.
  CTH_DEVICE void backward(std::int32_t l) {
    const SmallLayer& own = layer(l);
    const SmallLayer& before = layer(l - 1);
    for_columns(own.in, [&](const ProductLane& at) {
      // Before the product, which it then need not wait for. y is what the layer got.
      const float* const from = before.z != nullptr ? before.z : own.x;
      const Pack<float> kept = load_pack(from + at.blocked(block_, own.in));
      const Pack<float> dy = small_product<true>(own, now(), at);
      keep_delta(before, at, dy, kept, next());
    });
    turn();
  }

  const SmallPassArguments& args_;
  SmallPassShared& shared_;
  std::int64_t block_;
  std::int32_t rows_;
  std::int32_t half_ = 0;
};

}  // namespace device

/// Grid: any; more than row_blocks(rows) blocks find nothing to do.
CTH_KERNEL_RESIDENT(kSmallThreads, 2)
small_network_pass_kernel(SmallPassArguments args) {
  CTH_SHARED(device::SmallPassShared, shared);
  if (leaves_out(args.status, args.skip)) return;
  for (std::int64_t block = device::block_index(); block < row_blocks(args.network.rows);
       block += device::block_count()) {
    device::SmallPass(args, shared, block).run();
    device::sync_block();
  }
  device::finish_rows<kSmallThreads>(shared.rows, args.network.rows, args.scratch, args.sum);
}

}  // namespace cuthresh
