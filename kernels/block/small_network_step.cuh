#pragma once

// Gradients of a small network from what small_network_pass_kernel left, and with them, in
// registers, the fused step of prox_step.cuh: step functor, penalty, counts, stop rule. Gradients
// are written where they are wanted only.
//
// A block does 16 outputs × 16 inputs of one layer (and the biases of those outputs) over a part of
// the rows. A warp takes every eighth block of rows; a lane 4 × 4 entries over half of its 8 rows:
// eight 16-byte loads, 128 bytes together each, for 64 fused multiply-adds, with the next eight in
// flight. Then halves and warps are added up, through shared memory; then parts, by the block that
// comes last of a tile (device memory). The order is the shape's: the same bits for any grid.
//
// Estimate for 6-128-128-64-1 and 1000 rows: 108 blocks; 51 MFLOP; 13.8 MB from the second-level
// cache, which with the multiply-adds is the limiter; 32 KiB a multiprocessor in flight. Shared
// memory 11.5 KB. tests/kernels/small_network_kernels_test.cpp

#include <cstdint>

#include "kernels/block/loss.cuh"
#include "kernels/block/prox_step.cuh"
#include "kernels/block/small_network.cuh"

namespace cuthresh {

/// The plan's tensors are the weights and biases of the layers, in that order.
struct SmallStepArguments {
  SmallNetwork network;
  ProxStepArguments<float> plan;
  std::int32_t parts;      // gradient_parts
  float* partials;         // [tiles][parts][kGradientPartial]; unused with one part
  std::uint32_t* tickets;  // [tiles], zero between launches; likewise
  bool step;               // false: gradients only
};

namespace device {

inline constexpr auto kSmallWarps = static_cast<std::int32_t>(kSmallThreads / kWarp);
inline constexpr std::int32_t kPartialPitch = 20;  // lanes of a warp write to 32 banks

struct SmallStepShared {
  float weight[kSmallWarps][kColumnBlock * kPartialPitch];
  float bias[kSmallWarps][kColumnBlock];
  StepShared<kSmallThreads> step;
  std::uint32_t last;
};

/// What a block works on.
struct GradientTile {
  std::int32_t layer;
  std::int32_t out;  // the first
  std::int32_t in;
  std::int32_t index;  // of all tiles
  std::int32_t part;

  CTH_DEVICE static GradientTile of(const SmallNetwork& network, std::int32_t parts,
                                    std::int32_t item) {
    GradientTile tile = {0, 0, 0, item / parts, item % parts};
    std::int32_t within = tile.index;
    for (; tile.layer + 1 < network.layers; ++tile.layer) {
      const SmallLayer& layer = network.layer[tile.layer];
      const std::int32_t count = gradient_tiles(layer.in, layer.out);
      if (within < count) break;
      within -= count;
    }
    const std::int32_t across = padded_columns(network.layer[tile.layer].in) / kColumnBlock;
    tile.out = within / across * kColumnBlock;
    tile.in = within % across * kColumnBlock;
    return tile;
  }
};

/// Sums over rows of one warp.
class TileSums {
 public:
  CTH_DEVICE TileSums(const SmallLayer& layer, const GradientTile& tile, SmallStepShared& shared)
      : shared_(shared), with_bias_(tile.in == 0) {
    const auto own = static_cast<std::int32_t>(lane());
    half_ = own / 16;
    out_ = own / 4 % 4;
    in_ = own % 4;
    d_pitch_ = padded_columns(layer.out) * kRowBlock;
    x_pitch_ = padded_columns(layer.in) * kRowBlock;
    d_ = layer.d + (tile.out + out_) * kRowBlock + 4 * half_;
    x_ = layer.x + (tile.in + in_) * kRowBlock + 4 * half_;
  }

  /// Over the warp's share of blocks of rows [first, end).
  CTH_DEVICE void add(std::int64_t first, std::int64_t end) {
    std::int64_t block = first + static_cast<std::int64_t>(thread_index() / kWarp);
    if (block >= end) return;
    Loaded now = load(block);
    CTH_NO_UNROLL
    for (; block + kSmallWarps < end; block += kSmallWarps) {
      const Loaded next = load(block + kSmallWarps);
      multiply(now);
      now = next;
    }
    multiply(now);
  }

  /// Both halves of the warp together, to shared memory. All lanes call.
  CTH_DEVICE void leave() {
    const std::uint32_t warp = thread_index() / kWarp;
    CTH_UNROLL
    for (int pair = 0; pair < 4; pair += 2) {
      CTH_UNROLL
      for (int j = 0; j < 4; ++j) {
        // The upper half keeps every second output.
        const float given = half_ == 0 ? sum_[pair + 1][j] : sum_[pair][j];
        const float kept = half_ == 0 ? sum_[pair][j] : sum_[pair + 1][j];
        const float both = kept + shuffle_xor(given, 16);
        const std::int32_t out = out_ + 4 * (pair + half_);
        shared_.weight[warp][out * kPartialPitch + in_ + 4 * j] = both;
      }
    }
    CTH_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float both = bias_[i] + shuffle_xor(bias_[i], 16);
      if (in_ == 0 && half_ == 0) shared_.bias[warp][out_ + 4 * i] = both;
    }
  }

 private:
  struct Loaded {
    Pack<float> d[4], x[4];
  };

  CTH_DEVICE Loaded load(std::int64_t block) const {
    Loaded at;
    CTH_UNROLL
    for (int i = 0; i < 4; ++i) {
      at.d[i] = load_pack(d_ + block * d_pitch_ + 4 * i * kRowBlock);
      at.x[i] = load_pack(x_ + block * x_pitch_ + 4 * i * kRowBlock);
    }
    return at;
  }

  CTH_DEVICE void multiply(const Loaded& at) {
    CTH_UNROLL
    for (int r = 0; r < 4; ++r) {
      CTH_UNROLL
      for (int i = 0; i < 4; ++i) {
        CTH_UNROLL
        for (int j = 0; j < 4; ++j) {
          sum_[i][j] = __builtin_fmaf(at.d[i].value[r], at.x[j].value[r], sum_[i][j]);
        }
      }
    }
    if (!with_bias_) return;
    CTH_UNROLL
    for (int i = 0; i < 4; ++i) {
      CTH_UNROLL
      for (int r = 0; r < 4; ++r) bias_[i] += at.d[i].value[r];
    }
  }

  SmallStepShared& shared_;
  bool with_bias_;
  std::int32_t half_, out_, in_;
  std::int32_t d_pitch_, x_pitch_;
  const float* d_;
  const float* x_;
  float sum_[4][4] = {};
  float bias_[4] = {};
};

/// One weight or bias of a thread's.
template <class Step, class Penalty>
struct OwnEntry {
  std::int32_t tensor;
  std::int32_t entry;
  bool exists;
  float w = 0.0f;
  float v = 0.0f;

  /// What the step reads beside the gradient, before that is known.
  CTH_DEVICE OwnEntry(const TensorList& list, std::int32_t of_tensor, std::int32_t of_entry,
                      bool is_there)
      : tensor(of_tensor), entry(of_entry), exists(is_there) {
    if (!exists) return;
    const TensorRecord& record = list.tensors[tensor];
    w = load_global(static_cast<const float*>(record.w) + entry);
    if constexpr (Step::kMomentum) {
      v = load_global(static_cast<const float*>(record.momentum) + entry);
    }
  }

  /// Steps it and counts it. All threads of the block call.
  CTH_DEVICE void step(const ProxStepArguments<float>& plan, const Penalty& penalty, float g,
                       std::uint64_t& nonfinite, StepShared<kSmallThreads>& shared) {
    const TensorRecord& record = plan.list.tensors[tensor];
    const std::int32_t group = record.group;
    const bool penalised = group >= 0;
    const float lambda = penalised ? plan.lambda[group] : 0.0f;
    const Step functor = {plan.rates[record.rate]};
    auto* const weights = static_cast<float*>(record.w);
    TileStep<float, Step, Penalty, kNoExtras, kSmallThreads> one = {
        .weight = weights,
        .stored = weights,
        .gradient = nullptr,
        .velocity = static_cast<float*>(record.momentum),
        .begin = 0,
        .step = functor,
        .penalty = penalty.on(tensor, functor.rate.learning_rate * lambda),
        .residual = {lambda}};
    if (exists) {
      one.advance(w, g, v, entry);
      store_global(weights + entry, w);
      if constexpr (Step::kMomentum) store_global(one.velocity + entry, v);
    }
    nonfinite += one.nonfinite;
    if (penalised) add_group<kNoExtras>(plan, group, {one.nonzero, {0, 0}}, shared);
  }
};

/// A thread's sums: of one weight, and for the first 16 threads of one bias.
struct OwnSums {
  float weight = 0.0f;
  float bias = 0.0f;

  /// Over the block's warps, in their order.
  CTH_DEVICE static OwnSums of_warps(const SmallStepShared& shared) {
    const auto own = static_cast<std::int32_t>(thread_index());
    const std::int32_t at = own / kColumnBlock * kPartialPitch + own % kColumnBlock;
    OwnSums sums = {shared.weight[0][at], shared.bias[0][own % kColumnBlock]};
    for (std::int32_t warp = 1; warp < kSmallWarps; ++warp) {
      sums.weight += shared.weight[warp][at];
      sums.bias += shared.bias[warp][own % kColumnBlock];
    }
    return sums;
  }

  /// Adds up the parts of a tile, in their order, in the block that comes last; false in others.
  CTH_DEVICE bool add_parts(const SmallStepArguments& args, const GradientTile& tile,
                            std::uint32_t& shared_last) {
    if (args.parts == 1) return true;
    const auto own = static_cast<std::int32_t>(thread_index());
    float* const parts = args.partials + std::int64_t{tile.index} * args.parts * kGradientPartial;
    float* const mine = parts + tile.part * kGradientPartial;
    mine[own] = weight;
    if (own < kColumnBlock) mine[kGradientTile + own] = bias;
    if (!is_last_of(args.tickets + tile.index, static_cast<std::uint32_t>(args.parts),
                    shared_last)) {
      return false;
    }
    weight = 0.0f;
    bias = 0.0f;
    for (std::int32_t part = 0; part < args.parts; ++part) {
      const float* const from = parts + part * kGradientPartial;
      weight += load_fresh(from + own);
      if (own < kColumnBlock) bias += load_fresh(from + kGradientTile + own);
    }
    return true;
  }
};

}  // namespace device

/// Grid: any; more than tiles·parts blocks find nothing to do. Touches nothing once the plan has
/// stopped, nor while *skip is not 0.
template <class Step, class Penalty>
CTH_KERNEL_RESIDENT(kSmallThreads, 2)
small_network_step_kernel(SmallStepArguments args, Penalty penalty) {
  CTH_SHARED(device::SmallStepShared, shared);
  if (leaves_out(args.plan.status, args.plan.skip)) return;
  std::int32_t items = 0;
  for (std::int32_t l = 0; l < args.network.layers; ++l) {
    items += gradient_tiles(args.network.layer[l].in, args.network.layer[l].out) * args.parts;
  }
  const std::int64_t blocks = row_blocks(args.network.rows);
  const auto own = static_cast<std::int32_t>(device::thread_index());
  std::uint64_t nonfinite = 0;
  for (auto item = static_cast<std::int32_t>(device::block_index()); item < items;
       item += static_cast<std::int32_t>(device::block_count())) {
    const auto tile = device::GradientTile::of(args.network, args.parts, item);
    const SmallLayer& layer = args.network.layer[tile.layer];
    const std::int32_t out = tile.out + own / kColumnBlock;
    const std::int32_t in = tile.in + own % kColumnBlock;
    const std::int32_t biased = tile.out + own;
    device::OwnEntry<Step, Penalty> weight(args.plan.list, 2 * tile.layer, out * layer.in + in,
                                           out < layer.out && in < layer.in);
    device::OwnEntry<Step, Penalty> bias(args.plan.list, 2 * tile.layer + 1, biased,
                                         tile.in == 0 && own < kColumnBlock && biased < layer.out);

    device::TileSums sums(layer, tile, shared);
    sums.add(blocks * tile.part / args.parts, blocks * (tile.part + 1) / args.parts);
    sums.leave();
    device::sync_block();
    device::OwnSums g = device::OwnSums::of_warps(shared);
    device::sync_block();  // the next tile's sums go there
    if (!g.add_parts(args, tile, shared.last)) continue;
    if (layer.dw != nullptr && weight.exists) layer.dw[weight.entry] = g.weight;
    if (layer.db != nullptr && bias.exists) layer.db[bias.entry] = g.bias;
    if (!args.step) continue;
    weight.step(args.plan, penalty, g.weight, nonfinite, shared.step);
    if (tile.in == 0) bias.step(args.plan, penalty, g.bias, nonfinite, shared.step);
  }
  if (args.step) finish_step<kNoExtras>(args.plan, nonfinite, shared.step);
}

}  // namespace cuthresh
