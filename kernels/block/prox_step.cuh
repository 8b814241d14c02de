#pragma once

// w ← penalty(step(w, g)) over a list of tensors in one launch, each group with its own λ; exact
// counts of nonzeros a group and of non-finite values in the same pass; then the stop rule.
// Bytes per element: float32 12 (read w, g; write w), with momentum 20, the threshold alone 8;
// float64 twice that; 16-bit weights 12 (read master, g; write master, w). The certificate and the
// norm read nothing more. Limiter: memory bandwidth; about eight 16-byte loads a thread before its
// first arithmetic. Aliasing: arrays of a list do not overlap. Alignment: any that the entries
// allow; tensors whose arrays never reach a 16-byte boundary together go one by one. Sums are zero
// between launches. Covered by tests/kernels/prox_step*_test.cpp.

#include <cstdint>

#include "kernels/block/kkt_maxima.cuh"
#include "kernels/block/multi_tensor.cuh"
#include "kernels/block/reduce.cuh"
#include "kernels/block/step_tile.cuh"
#include "kernels/block/zero_skip.cuh"
#include "kernels/math/kkt.hpp"
#include "kernels/math/penalty.hpp"
#include "kernels/math/step.hpp"
#include "kernels/math/stop_rule.hpp"
#include "kernels/pack.hpp"
#include "kernels/platform.hpp"
#include "kernels/scalar.hpp"

namespace cuthresh {

/// All in device memory, so that a captured graph follows what changes there.
template <class Compute>
struct ProxStepArguments {
  TensorList list;
  const Compute* lambda;             // [groups], ≥ 0
  const StepRateOf<Compute>* rates;  // [rates], by the tensors' numbers
  const StopRecord* stop;
  const CountBand* bands;  // [stop->bands]
  StepHeader* status;      // then [groups] counts: published
  StepSums* sums;          // then [groups] counts: zero between launches
  // With kCertificate: keys of the two maxima a group (on_nonzero, on_zero), of the weights before
  // the step (kernels/math/kkt.hpp); those of float64 weights are rounded to float32.
  std::uint32_t* kkt_sums;  // [2·groups], zero between launches
  std::uint32_t* kkt;       // [2·groups], published
  // With kNorm: ‖w‖₁ a group after the step. The same bits for any grid, not for another tiling.
  double* tile_norms;            // [tile_count]
  const TileRange* group_tiles;  // [groups]: where all tiles of the group lie (others may too)
  double* norms;                 // [groups], published
  // Mapped host memory: gets stop->run when the steps stop, once. Null: nobody waits for it.
  std::uint32_t* announcement = nullptr;
  // While it is not 0 a launch does nothing. Null: none does.
  const float* skip = nullptr;
  // With kSkipZeros: which weights are zero. Without: where it says that this is not known.
  ZeroSkip zeros = {};
};

/// What a thread has seen of the group that its block is in, since the block met it.
struct GroupTally {
  std::uint64_t nonzero;
  KktMaxima worst;
};

template <std::uint32_t kThreads>
struct StepShared {
  std::uint64_t counts[kThreads / device::kWarp];
  std::uint32_t keys[kThreads / device::kWarp];
  double norms[kThreads / device::kWarp];
  std::uint32_t is_last;
};

/// Adds the block's share to the sums of a group.
template <int kExtras, std::uint32_t kThreads, class Compute>
CTH_DEVICE void add_group(const ProxStepArguments<Compute>& args, std::int64_t group,
                          const GroupTally& tally, StepShared<kThreads>& shared) {
  const std::uint64_t nonzero = device::block_sum<kThreads>(tally.nonzero, shared.counts);
  if (device::thread_index() == 0) device::atomic_add(group_counts(args.sums) + group, nonzero);
  if constexpr ((kExtras & kCertificate) != 0) {
    const std::uint32_t on_nonzero =
        device::block_max<kThreads>(tally.worst.on_nonzero, shared.keys);
    const std::uint32_t on_zero = device::block_max<kThreads>(tally.worst.on_zero, shared.keys);
    if (device::thread_index() == 0) {
      device::atomic_max(args.kkt_sums + 2 * group, on_nonzero);
      device::atomic_max(args.kkt_sums + 2 * group + 1, on_zero);
    }
  }
}

/// ‖w‖₁ of every group from its tiles, a warp a group: an order that does not depend on the grid.
template <std::uint32_t kThreads, class Compute>
CTH_DEVICE void publish_norms(const ProxStepArguments<Compute>& args) {
  constexpr auto kWarps = static_cast<std::int32_t>(kThreads / device::kWarp);
  const auto warp = static_cast<std::int32_t>(device::thread_index() / device::kWarp);
  for (std::int32_t group = warp; group < args.list.groups; group += kWarps) {
    const TileRange range = args.group_tiles[group];
    double sum = 0.0;
    for (std::int64_t i = range.first + device::lane(); i < range.end; i += device::kWarp) {
      if (args.list.tensors[args.list.tiles[i].tensor].group == group) {
        sum += device::load_fresh(args.tile_norms + i);
      }
    }
    sum = device::warp_sum(sum);
    if (device::lane() == 0) args.norms[group] = sum;
  }
}

/// The last block: publishes the sums, zeroes them, applies the stop rule.
template <int kExtras, std::uint32_t kThreads, class Compute>
CTH_DEVICE void publish(const ProxStepArguments<Compute>& args, StepShared<kThreads>& shared) {
  const StopRecord stop = *args.stop;
  std::uint64_t total = 0;
  std::uint64_t met = 0;
  for (auto g = static_cast<std::int32_t>(device::thread_index()); g < args.list.groups;
       g += static_cast<std::int32_t>(kThreads)) {
    std::uint64_t* const sum = group_counts(args.sums) + g;
    const std::uint64_t count = device::load_fresh(sum);
    *sum = 0;
    group_counts(args.status)[g] = count;
    total += count;
    if (stop.bands > 1) met += counts_meet(&count, args.bands + g, 1, 1) ? 1U : 0U;
    if constexpr ((kExtras & kCertificate) != 0) {
      CTH_UNROLL
      for (int k = 0; k < 2; ++k) {
        args.kkt[2 * g + k] = device::load_fresh(args.kkt_sums + 2 * g + k);
        args.kkt_sums[2 * g + k] = 0;
      }
    }
  }
  total = device::block_sum<kThreads>(total, shared.counts);
  met = device::block_sum<kThreads>(met, shared.counts);
  if constexpr ((kExtras & kNorm) != 0) publish_norms<kThreads>(args);
  if (device::thread_index() != 0) return;

  const std::uint64_t nonfinite = device::load_fresh(&args.sums->nonfinite);
  const std::uint64_t steps = args.status->steps + ((kExtras & kSecondHalf) != 0 ? 0U : 1U);
  const bool holds = stop.bands > 1 ? static_cast<std::int64_t>(met) >= stop.required
                                    : counts_meet(&total, args.bands, stop.bands, stop.required);
  const bool looked_at = stop.bands > 0 && static_cast<std::int64_t>(steps) > stop.after;
  const bool stopped = nonfinite != 0 || (looked_at && holds);
  *args.status = {steps, stopped ? 1U : 0U, total, nonfinite};
  if (stopped && args.announcement != nullptr) device::tell_host(args.announcement, stop.run);
  args.sums->ticket = 0;
  args.sums->nonfinite = 0;
  if (args.zeros.state == nullptr) return;
  const auto was = static_cast<ZeroState>(*args.zeros.state);
  const ZeroState next = (kExtras & kSkipZeros) != 0 ? next_zero_state(was, total, args.zeros.rule)
                                                     : ZeroState::kIgnore;
  *args.zeros.state = static_cast<std::uint32_t>(next);
}

/// After the block's last add_group: its non-finite values, its ticket; the last block publishes.
template <int kExtras, std::uint32_t kThreads, class Compute>
CTH_DEVICE void finish_step(const ProxStepArguments<Compute>& args, std::uint64_t nonfinite,
                            StepShared<kThreads>& shared) {
  nonfinite = device::block_sum<kThreads>(nonfinite, shared.counts);
  // All that other blocks read was written by thread 0, which therefore fences for the block.
  if (device::thread_index() == 0) {
    if (nonfinite != 0) device::atomic_add(&args.sums->nonfinite, nonfinite);
    device::fence();
    const std::uint64_t ticket = device::atomic_add(&args.sums->ticket, std::uint64_t{1});
    device::fence();
    shared.is_last = ticket + 1 == device::block_count() ? 1 : 0;
  }
  device::sync_block();
  if (shared.is_last != 0) publish<kExtras>(args, shared);
}

/// True when a step has to do nothing: the rule held, or the caller's flag leaves it out.
CTH_DEVICE bool leaves_out(const StepHeader* status, const float* skip) {
  // The flag is written by the last block only, after every block has taken its ticket.
  if (status->stopped != 0) return true;
  return skip != nullptr && *skip != 0.0f;
}

/// λ = 0 and no count for tensors of group −1. Touches nothing once status->stopped is set, nor
/// while *skip is. A step that reads gradients leaves a tensor without one as it is, and counts it.
template <class Storage, class Step, class Penalty, int kExtras = kNoExtras,
          std::uint32_t kThreads = 256, int kMostLoads = kStepLoads<Step, kExtras>,
          std::uint32_t kResident = kStepThreads<Storage, Step, kExtras>>
CTH_KERNEL_RESIDENT(kThreads, (kResident / kThreads))
prox_step_kernel(ProxStepArguments<typename StorageTraits<Storage>::Compute> args,
                 Penalty penalty) {
  using Traits = StorageTraits<Storage>;
  using Compute = typename Traits::Compute;
  using Shared = StepShared<kThreads>;
  CTH_SHARED(Shared, shared);
  if (leaves_out(args.status, args.skip)) return;
  ZeroState zeros = ZeroState::kIgnore;  // written when the flag of leaves_out() is
  if constexpr ((kExtras & kSkipZeros) != 0) zeros = static_cast<ZeroState>(*args.zeros.state);
  const TileRange range =
      tiles_of_block(args.list.tile_count, device::block_index(), device::block_count());

  std::int64_t group = -1;  // the last one met; stays over tiles that are not penalised
  Compute lambda = Compute(0);
  GroupTally tally = {0, {0, 0}};
  std::uint64_t nonfinite = 0;
  for (std::int64_t i = range.first; i < range.end; ++i) {
    const Tile tile = args.list.tiles[i];
    const TensorRecord tensor = args.list.tensors[tile.tensor];
    const bool penalised = tensor.group >= 0;
    if (penalised && tensor.group != group) {
      if (group >= 0) add_group<kExtras>(args, group, tally, shared);
      group = tensor.group;
      lambda = args.lambda[group];
      tally = {0, {0, 0}};
    }
    const Step step = {args.rates[tensor.rate]};
    const Compute threshold = penalised ? step.rate.learning_rate * lambda : Compute(0);
    Storage* const w = static_cast<Storage*>(tensor.w) + tile.begin;
    Compute* weight;
    if constexpr (Traits::kMaster) {
      weight = static_cast<Compute*>(tensor.master) + tile.begin;
    } else {
      weight = w;
    }
    Compute* const velocity =
        Step::kMomentum ? static_cast<Compute*>(tensor.momentum) + tile.begin : nullptr;
    TileStep<Storage, Step, Penalty, kExtras, kThreads, kMostLoads> tile_step = {
        weight,
        w,
        static_cast<const Storage*>(tensor.g) + tile.begin,
        velocity,
        tile.begin,
        step,
        penalty.on(tile.tensor, threshold),
        {lambda}};
    const TileZeros tile_zeros = zeros_of_tile(args.zeros, i, zeros);
    if (Step::kGradient && tensor.g == nullptr) {
      tile_step.look(tile.size);
      if (zeros == ZeroState::kFind) forget_tile<kThreads>(tile_zeros);
    } else if constexpr ((kExtras & kSkipZeros) != 0) {
      step_living(tile_step, tile.size, tile_zeros);
    } else {
      tile_step.run(tile.size);
    }
    nonfinite += tile_step.nonfinite;
    if (penalised) {
      tally.nonzero += tile_step.nonzero;
      if constexpr ((kExtras & kCertificate) != 0) {
        tally.worst.merge(tile_step.worst);
      }
      if constexpr ((kExtras & kNorm) != 0) {
        const double norm = device::block_sum<kThreads>(tile_step.norm, shared.norms);
        if (device::thread_index() == 0) args.tile_norms[i] = norm;
      }
    }
  }
  if (group >= 0) add_group<kExtras>(args, group, tally, shared);
  finish_step<kExtras>(args, nonfinite, shared);
}

}  // namespace cuthresh
