#pragma once

// One thread's share of a tile in the fused step (prox_step.cuh), dense; and the shape of the step.

#include <cstdint>

#include "kernels/block/kkt_maxima.cuh"
#include "kernels/block/multi_tensor.cuh"
#include "kernels/math/kkt.hpp"
#include "kernels/math/step.hpp"
#include "kernels/pack.hpp"
#include "kernels/platform.hpp"
#include "kernels/scalar.hpp"

namespace cuthresh {

/// What a launch does besides the step and the counts; or that it is the second half of a step,
/// which has been counted. kSkipZeros: weights that are zero are left out where that pays.
enum StepExtras : int {
  kNoExtras = 0,
  kCertificate = 1,
  kNorm = 2,
  kSecondHalf = 4,
  kSkipZeros = 8
};

// The step's shape as it ships; a sweep of the benchmark (bench/cases/step_shapes.cu) has others.

/// Threads a multiprocessor: 64 registers each, but 80 where those would spill: for the certificate
/// and the gradients of 16- and 64-bit weights, and where zeros are skipped.
template <class Storage, class Step, int kExtras>
inline constexpr std::uint32_t kStepThreads =
    (sizeof(Storage) != 4 && ((kExtras & kCertificate) != 0 || Step::kGradient)) ||
            (kExtras & kSkipZeros) != 0
        ? 768
        : kResidentThreads;
/// 16-byte loads that a thread begins with: 64 registers have room for eight beside the state; for
/// four beside the certificate's, and where all of them are weights, which wait there for their
/// store.
template <class Step, int kExtras>
inline constexpr int kStepLoads = (kExtras & kCertificate) != 0 || !Step::kGradient ? 4 : 8;

/// One thread's share of a tile: what the tile needs, and what the thread has seen of it.
template <class Storage, class Step, class Penalty, int kExtras, std::uint32_t kThreads,
          int kMostLoads = kStepLoads<Step, kExtras>>
struct TileStep {
  using Traits = StorageTraits<Storage>;
  using Compute = typename Traits::Compute;
  using Stored = Storage;
  static constexpr bool kGradient = Step::kGradient;
  static constexpr bool kMomentum = Step::kMomentum;
  static constexpr int kUnit = static_cast<int>(kPackBytes / sizeof(Storage));
  static constexpr int kWide = static_cast<int>(sizeof(Compute) / sizeof(Storage));
  // 16-byte ones a unit.
  static constexpr int kLoads = (Step::kGradient ? 1 : 0) + kWide * (Step::kMomentum ? 2 : 1);
  // Units in flight.
  static constexpr int kInFlight = kMostLoads > kLoads ? kMostLoads / kLoads : 1;
  static constexpr auto kStride = static_cast<std::int32_t>(kThreads);

  Compute* weight;  // the master copy where there is one, else w
  Storage* stored;  // written where there is a master copy
  const Storage* gradient;
  Compute* velocity;
  std::int64_t begin;
  Step step;
  typename Penalty::OnTile penalty;
  KktResidual<Compute> residual;

  std::uint32_t nonzero = 0;
  std::uint32_t nonfinite = 0;
  KktMaxima worst = {0, 0};
  double norm = 0.0;

  /// The step for one entry; what is stored for it.
  CTH_DEVICE Storage advance(Compute& w, Compute g, Compute& v, std::int32_t entry) {
    if constexpr ((kExtras & kCertificate) != 0) {
      const Compute seen = widen(Traits::narrow(w));  // what the network read, and g belongs to
      const bool live = is_nonzero(seen);
      worst.add(residual, live, seen, g);
    }
    Compute z;
    if constexpr (Step::kMomentum) {
      z = step(w, g, v);
    } else if constexpr (Step::kGradient) {
      z = step(w, g);
    } else {
      z = step(w);
    }
    w = penalty(z, begin + entry);
    const Storage kept = Traits::narrow(w);
    count(kept);
    return kept;
  }

  CTH_DEVICE void count(Storage kept) {
    nonzero += is_nonzero(kept) ? 1 : 0;
    nonfinite += is_finite(kept) ? 0 : 1;
    if constexpr ((kExtras & kNorm) != 0) {
      const Compute y = widen(kept);
      norm += static_cast<double>(y < Compute(0) ? -y : y);
    }
  }

  /// The same for the entries of a unit.
  CTH_DEVICE Pack<Storage> advance_unit(Pack<Compute, kUnit>& w, const Pack<Storage>& g,
                                        Pack<Compute, kUnit>& v, std::int32_t entry) {
    Pack<Storage> kept;
    CTH_UNROLL
    for (int e = 0; e < kUnit; ++e) {
      kept.value[e] = advance(w.value[e], widen(g.value[e]), v.value[e], entry + e);
    }
    return kept;
  }

  /// kCount units, kStride apart: all loads, then the rest. Offsets from one address an array are
  /// constants, which the instructions hold, so that registers are left for what is in flight.
  template <int kCount>
  CTH_DEVICE void units(std::int32_t entry) {
    constexpr int kStep = static_cast<int>(kStride) * kUnit;
    Compute* const w_at = weight + entry;
    const Storage* const g_at = Step::kGradient ? gradient + entry : nullptr;
    Compute* const v_at = Step::kMomentum ? velocity + entry : nullptr;
    Pack<Compute, kUnit> w[kCount];
    Pack<Storage> g[kCount] = {};
    Pack<Compute, kUnit> v[kCount];
    CTH_UNROLL
    for (int k = 0; k < kCount; ++k) {
      w[k] = device::load_pack<kUnit>(w_at + k * kStep);
      if constexpr (Step::kGradient) g[k] = device::load_pack(g_at + k * kStep);
      if constexpr (Step::kMomentum) v[k] = device::load_pack<kUnit>(v_at + k * kStep);
    }
    CTH_UNROLL
    for (int k = 0; k < kCount; ++k) {
      const Pack<Storage> kept = advance_unit(w[k], g[k], v[k], entry + k * kStep);
      device::store_pack(w_at + k * kStep, w[k]);
      if constexpr (Traits::kMaster) device::store_pack(stored + entry + k * kStep, kept);
      if constexpr (Step::kMomentum) device::store_pack(v_at + k * kStep, v[k]);
    }
  }

  CTH_DEVICE void one(std::int32_t entry) {
    Compute w = device::load_global(weight + entry);
    Storage g = {};
    if constexpr (Step::kGradient) g = device::load_global(gradient + entry);
    Compute v = Compute(0);
    if constexpr (Step::kMomentum) v = device::load_global(velocity + entry);
    const Storage kept = advance(w, widen(g), v, entry);
    device::store_global(weight + entry, w);
    if constexpr (Traits::kMaster) device::store_global(stored + entry, kept);
    if constexpr (Step::kMomentum) device::store_global(velocity + entry, v);
  }

  CTH_DEVICE PackSplit<std::int32_t> split(std::int32_t size) const {
    static_assert(Step::kGradient || !Step::kMomentum);
    if constexpr (Traits::kMaster && Step::kMomentum) {
      return split_in_packs<kUnit>(size, gradient, stored, weight, velocity);
    } else if constexpr (Traits::kMaster && Step::kGradient) {
      return split_in_packs<kUnit>(size, gradient, stored, weight);
    } else if constexpr (Step::kMomentum) {
      return split_in_packs<kUnit>(size, gradient, weight, velocity);
    } else if constexpr (Step::kGradient) {
      return split_in_packs<kUnit>(size, gradient, weight);
    } else {
      return split_in_packs<kUnit>(size, stored, weight);
    }
  }

  CTH_DEVICE void run(std::int32_t size) {
    const auto thread = static_cast<std::int32_t>(device::thread_index());
    const PackSplit<std::int32_t> parts = split(size);
    std::int32_t unit = thread;
    if constexpr (kInFlight > 1) {
      const std::int32_t whole = parts.units - parts.units % (kStride * kInFlight);
      CTH_NO_UNROLL
      for (; unit < whole; unit += kStride * kInFlight) units<kInFlight>(parts.head + unit * kUnit);
    }
    rest(parts, unit, size);
  }

  /// Units from the thread's `unit` on, one at a time, and what is outside of them.
  CTH_DEVICE void rest(const PackSplit<std::int32_t>& parts, std::int32_t unit, std::int32_t size) {
    CTH_NO_UNROLL
    for (; unit < parts.units; unit += kStride) units<1>(parts.head + unit * kUnit);
    CTH_NO_UNROLL
    for (auto i = static_cast<std::int32_t>(device::thread_index()); i < size - parts.units * kUnit;
         i += kStride) {
      one(scalar_entry<kUnit>(parts, i));
    }
  }

  /// By so many entries.
  CTH_DEVICE void move(std::int32_t entries) {
    weight += entries;
    stored += entries;
    if constexpr (Step::kGradient) gradient += entries;
    if constexpr (Step::kMomentum) velocity += entries;
    begin += entries;
  }

  /// Without a step. Seldom: entries one by one.
  CTH_DEVICE void look(std::int32_t size) {
    CTH_NO_UNROLL
    for (auto i = static_cast<std::int32_t>(device::thread_index()); i < size; i += kStride) {
      count(device::load_global(stored + i));
    }
  }
};

}  // namespace cuthresh
