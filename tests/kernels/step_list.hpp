#pragma once

// A list of tensors in guarded memory with everything a fused step reads and writes beside it, and
// what the step must leave there by its definition.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "guarded.hpp"
#include "kernels/block/prox_step.cuh"
#include "simt/interpreter.hpp"
#include "support/seeded.hpp"
#include "support/soft_threshold.hpp"

namespace cuthresh::testing {

inline std::uint16_t bits_of(Bf16 x) {
  return x.bits;
}
inline std::uint16_t bits_of(Fp16 x) {
  return x.bits;
}

/// To ThreadSanitizer every CUDA thread is a thread; it sees one small grid in the hardest order.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool kThoroughly = false;
#else
inline constexpr bool kThoroughly = true;
#endif

template <class F>
void for_each_step_launch(F f) {
  if constexpr (kThoroughly) {
    for_each_launch(f);
  } else {
    simt::set_order(simt::Order::kShuffled, 5);
    f(3);
    simt::set_order(simt::Order::kForward);
  }
}

/// One tensor: values, and how many entries past a 64-byte boundary each array begins.
template <class Storage>
struct TensorCase {
  using Compute = typename StorageTraits<Storage>::Compute;
  std::vector<Compute> w;  // for 16-bit storage the master copy
  std::vector<Storage> g;
  std::vector<Compute> v;
  std::int32_t group = 0;
  std::size_t w_offset = 0, g_offset = 0, v_offset = 0, stored_offset = 0;
  std::int32_t rate = 0;
  bool has_gradient = true;
};

/// Zeros, denormals, infinities, NaN, and w and g that land exactly on ±t, among ordinary numbers.
template <class Storage>
TensorCase<Storage> hard_tensor(Random& random, std::size_t n, std::int32_t group,
                                typename StorageTraits<Storage>::Compute threshold,
                                bool finite = false) {
  using Compute = typename StorageTraits<Storage>::Compute;
  using Limits = std::numeric_limits<Compute>;
  const Compute special[] = {Compute(0),          -Compute(0),          threshold,
                             -threshold,          Limits::denorm_min(), -Limits::denorm_min(),
                             Limits::min() / 2,   Compute(1e-7),        Limits::infinity(),
                             -Limits::infinity(), Limits::quiet_NaN(),  Limits::max()};
  TensorCase<Storage> t;
  t.group = group;
  for (std::size_t i = 0; i < n; ++i) {
    t.w.push_back(static_cast<Compute>(random.uniform(-1.0f, 1.0f)));
    t.v.push_back(static_cast<Compute>(random.uniform(-1.0f, 1.0f)));
    t.g.push_back(
        StorageTraits<Storage>::narrow(static_cast<Compute>(random.uniform(-1.0f, 1.0f))));
    const std::int64_t kind = random.integer(0, 9);
    if (kind < 5) t.w.back() = special[random.integer(0, finite ? 7 : 11)];
    if (kind < 2) t.g.back() = StorageTraits<Storage>::narrow(Compute(0));
    if (kind == 9 && !finite) {
      t.g.back() = StorageTraits<Storage>::narrow(special[random.integer(0, 11)]);
    }
  }
  return t;
}

enum class StepKind { kPlain, kMomentum, kNesterov, kThreshold };

/// PyTorch's SGD for one entry; v changes.
template <class T>
T step_by_definition(StepKind kind, T w, T g, T& v, const StepRateOf<T>& rate) {
  if (kind == StepKind::kThreshold) return w;
  if (rate.weight_decay != T(0)) g = std::fma(rate.weight_decay, w, g);
  if (kind == StepKind::kPlain) return std::fma(-rate.learning_rate, g, w);
  const T kept = rate.momentum * v;
  v = kept + g;
  const T d = kind == StepKind::kNesterov ? std::fma(rate.momentum, v, g) : v;
  return std::fma(-rate.learning_rate, d, w);
}

template <class Storage>
class StepList {
 public:
  using Traits = StorageTraits<Storage>;
  using Compute = typename Traits::Compute;

  StepList(const std::vector<TensorCase<Storage>>& cases, std::int32_t groups,
           std::int64_t tile_elements)
      : groups_(static_cast<std::size_t>(groups)),
        lambda(groups_, Compute(0.25)),
        rates(std::vector<StepRateOf<Compute>>{{Compute(0.125), Compute(0.875), Compute(0)},
                                               {Compute(0.3), Compute(0.5), Compute(0.01)},
                                               {Compute(0.7), Compute(0), Compute(0.2)}}),
        stop(1, StopRecord{0, 0, 0}),
        bands(groups_ + 1, CountBand{0, 0}),
        status(4 + groups_, std::uint64_t{0}),
        sums(2 + groups_, std::uint64_t{0}),
        kkt_sums(2 * groups_, 0U),
        kkt(2 * groups_, 0xdeadU),
        norms(groups_, -1.0),
        announcement(1, 0U),
        group_tiles(groups_, TileRange{std::numeric_limits<std::int64_t>::max(), 0}) {
    std::vector<TensorRecord> records;
    std::vector<Tile> list_tiles;
    for (const TensorCase<Storage>& c : cases) {
      group_of.push_back(c.group);
      w.push_back(std::make_unique<Guarded<Compute>>(c.w, c.w_offset));
      g.push_back(std::make_unique<Guarded<Storage>>(c.g, c.g_offset));
      v.push_back(std::make_unique<Guarded<Compute>>(c.v, c.v_offset));
      std::vector<Storage> narrowed;
      for (const Compute x : c.w) narrowed.push_back(Traits::narrow(x));
      stored.push_back(std::make_unique<Guarded<Storage>>(narrowed, c.stored_offset));
      const auto size = static_cast<std::int64_t>(c.w.size());
      void* const weights = w.back()->data();
      records.push_back({Traits::kMaster ? stored.back()->data() : weights,
                         c.has_gradient ? g.back()->data() : nullptr, v.back()->data(),
                         Traits::kMaster ? weights : nullptr, size, c.group, c.rate});
      for (std::int64_t begin = 0; begin < size; begin += tile_elements) {
        if (c.group >= 0) {
          TileRange& range = group_tiles.data()[c.group];
          const auto at = static_cast<std::int64_t>(list_tiles.size());
          range = {std::min(range.first, at), at + 1};
        }
        list_tiles.push_back({begin, static_cast<std::int32_t>(records.size()) - 1,
                              static_cast<std::int32_t>(std::min(tile_elements, size - begin))});
      }
    }
    for (std::size_t i = 0; i < groups_; ++i) {
      if (group_tiles.data()[i].end == 0) group_tiles.data()[i].first = 0;
    }
    tensors = std::make_unique<Guarded<TensorRecord>>(records);
    tiles = std::make_unique<Guarded<Tile>>(list_tiles);
    tile_norms = std::make_unique<Guarded<double>>(list_tiles.size(), -1.0);
  }

  TensorList list() {
    return {tensors->data(), tiles->data(), static_cast<std::int64_t>(tiles->size()),
            static_cast<std::int32_t>(groups_)};
  }
  ProxStepArguments<Compute> arguments() {
    return {list(),
            lambda.data(),
            rates.data(),
            stop.data(),
            bands.data(),
            reinterpret_cast<StepHeader*>(status.data()),
            reinterpret_cast<StepSums*>(sums.data()),
            kkt_sums.data(),
            kkt.data(),
            tile_norms->data(),
            group_tiles.data(),
            norms.data(),
            announcement.data()};
  }
  const StepHeader& header() { return *reinterpret_cast<const StepHeader*>(status.data()); }
  std::vector<std::uint64_t> nnz() { return {status.data() + 4, status.data() + status.size()}; }

  bool guards_hold() const {
    bool hold = lambda.guards_hold() && status.guards_hold() && sums.guards_hold() &&
                kkt_sums.guards_hold() && kkt.guards_hold() && norms.guards_hold() &&
                tile_norms->guards_hold() && stop.guards_hold() && bands.guards_hold() &&
                announcement.guards_hold();
    for (std::size_t t = 0; t < w.size(); ++t) {
      hold = hold && w[t]->guards_hold() && g[t]->guards_hold() && v[t]->guards_hold() &&
             stored[t]->guards_hold();
    }
    return hold;
  }

 private:
  std::size_t groups_;

 public:
  std::vector<std::unique_ptr<Guarded<Compute>>> w, v;
  std::vector<std::unique_ptr<Guarded<Storage>>> g, stored;
  std::vector<std::int32_t> group_of;
  std::unique_ptr<Guarded<TensorRecord>> tensors;
  std::unique_ptr<Guarded<Tile>> tiles;
  Guarded<Compute> lambda;
  Guarded<StepRateOf<Compute>> rates;
  Guarded<StopRecord> stop;
  Guarded<CountBand> bands;
  Guarded<std::uint64_t> status, sums;
  Guarded<std::uint32_t> kkt_sums, kkt;
  std::unique_ptr<Guarded<double>> tile_norms;
  Guarded<double> norms;
  Guarded<std::uint32_t> announcement;  // of the host
  Guarded<TileRange> group_tiles;
};

/// The largest value by key; NaN above all.
struct WorstOf {
  float value = 0.0f;
  void add(double residual) {
    const auto r = static_cast<float>(residual);
    if (std::isnan(r) || (!std::isnan(value) && r > value)) value = r;
  }
};

/// What a step must leave.
template <class Storage>
struct StepOutcome {
  using Compute = typename StorageTraits<Storage>::Compute;
  std::vector<std::vector<Compute>> w, v;
  std::vector<std::vector<Storage>> stored;
  std::vector<std::uint64_t> nnz;
  std::uint64_t total = 0, nonfinite = 0;
  std::vector<WorstOf> on_nonzero, on_zero;
  std::vector<long double> norm;
  std::vector<std::uint64_t> elements;
};

/// `penalty(z, t, tensor, index)` is the proximal map by its definition.
template <class Storage, class PenaltyByDefinition>
StepOutcome<Storage> step_outcome(const std::vector<TensorCase<Storage>>& cases,
                                  StepList<Storage>& list, StepKind kind,
                                  PenaltyByDefinition penalty) {
  using Traits = StorageTraits<Storage>;
  using Compute = typename Traits::Compute;
  const std::size_t groups = list.lambda.size();
  StepOutcome<Storage> out;
  out.nnz.assign(groups, 0);
  out.elements.assign(groups, 0);
  out.on_nonzero.resize(groups);
  out.on_zero.resize(groups);
  out.norm.assign(groups, 0.0L);
  for (std::size_t t = 0; t < cases.size(); ++t) {
    const TensorCase<Storage>& c = cases[t];
    const auto group = static_cast<std::size_t>(c.group);
    const StepRateOf<Compute> rate = list.rates.data()[c.rate];
    const bool stepped = c.has_gradient || kind == StepKind::kThreshold;
    const Compute lambda = c.group < 0 ? Compute(0) : list.lambda.data()[group];
    const Compute threshold = rate.learning_rate * lambda;
    out.w.emplace_back();
    out.v.emplace_back();
    out.stored.emplace_back();
    for (std::size_t i = 0; i < c.w.size(); ++i) {
      const Compute g = widen(c.g[i]);
      Compute v = c.v[i];
      Compute y = c.w[i];
      if (stepped) {
        const Compute z = step_by_definition(kind, c.w[i], g, v, rate);
        y = penalty(z, threshold, t, i);
      }
      const Storage kept = Traits::narrow(y);
      out.w.back().push_back(y);
      out.v.back().push_back(v);
      out.stored.back().push_back(kept);
      const Compute seen_after = widen(kept);
      if (!std::isfinite(seen_after)) ++out.nonfinite;
      if (c.group < 0) continue;
      ++out.elements[group];
      if (seen_after != Compute(0)) ++out.nnz[group];
      out.norm[group] += std::fabs(static_cast<long double>(seen_after));
      if (!c.has_gradient) continue;
      const Compute seen = widen(Traits::narrow(c.w[i]));
      if (seen != Compute(0)) {
        out.on_nonzero[group].add(static_cast<double>(
            std::isnan(seen) ? seen : std::fabs(g + std::copysign(lambda, seen))));
      } else {
        const Compute excess = std::fabs(g) - lambda;
        out.on_zero[group].add(
            static_cast<double>(std::isnan(excess) ? excess : std::fmax(excess, Compute(0))));
      }
    }
  }
  for (const std::uint64_t n : out.nnz) out.total += n;
  return out;
}

template <class T>
bool same_stored(T a, T b) {
  return bits_of(a) == bits_of(b) || (widen(a) != widen(a) && widen(b) != widen(b));
}

/// Tensors, counts and sums after one step.
template <class Storage>
void expect_outcome(StepList<Storage>& list, const StepOutcome<Storage>& want, bool momentum) {
  for (std::size_t t = 0; t < want.w.size(); ++t) {
    ASSERT_EQ(first_difference(list.w[t]->values(), want.w[t]), "") << "w of tensor " << t;
    if (momentum) {
      ASSERT_EQ(first_difference(list.v[t]->values(), want.v[t]), "") << "v of tensor " << t;
    }
    if constexpr (StorageTraits<Storage>::kMaster) {
      const std::vector<Storage> got = list.stored[t]->values();
      for (std::size_t i = 0; i < got.size(); ++i) {
        ASSERT_TRUE(same_stored(got[i], want.stored[t][i])) << "stored " << t << " " << i;
      }
    }
  }
  ASSERT_EQ(list.nnz(), want.nnz);
  ASSERT_EQ(list.header().total, want.total);
  ASSERT_EQ(list.header().nonfinite, want.nonfinite);
  ASSERT_EQ(list.header().stopped, want.nonfinite != 0 ? 1U : 0U);
  for (const std::uint64_t sum : list.sums.values()) ASSERT_EQ(sum, 0U);
  for (const std::uint32_t sum : list.kkt_sums.values()) ASSERT_EQ(sum, 0U);
  ASSERT_TRUE(list.guards_hold());
}

template <class Storage>
void expect_certificate(StepList<Storage>& list, const StepOutcome<Storage>& want) {
  for (std::size_t group = 0; group < want.nnz.size(); ++group) {
    const float a = magnitude_from_key(list.kkt.data()[2 * group]);
    const float b = magnitude_from_key(list.kkt.data()[2 * group + 1]);
    ASSERT_TRUE(same_value(a, want.on_nonzero[group].value))
        << group << ": " << a << " " << want.on_nonzero[group].value;
    ASSERT_TRUE(same_value(b, want.on_zero[group].value))
        << group << ": " << b << " " << want.on_zero[group].value;
  }
}

/// Adding n non-negative numbers in any order errs by at most n·2^-53 of their sum (to first
/// order); the reference adds with 64 bits.
template <class Storage>
void expect_norms(StepList<Storage>& list, const StepOutcome<Storage>& want) {
  for (std::size_t group = 0; group < want.nnz.size(); ++group) {
    const double got = list.norms.data()[group];
    const long double exact = want.norm[group];
    if (std::isfinite(exact) && exact < std::numeric_limits<double>::max()) {
      const long double bound =
          exact * static_cast<long double>(want.elements[group]) * 0x1.01p-53L;
      ASSERT_LE(std::fabs(static_cast<long double>(got) - exact), bound) << group;
    } else {
      ASSERT_FALSE(std::isfinite(got)) << group;
      ASSERT_EQ(std::isnan(got), std::isnan(exact)) << group;
    }
  }
}

}  // namespace cuthresh::testing
