#pragma once

#include <cstdint>

#include "backend/backend.hpp"
#include "kernels/math/bracket.hpp"
#include "kernels/math/keep_largest.hpp"
#include "kernels/platform.hpp"
#include "kernels/scalar.hpp"

namespace cuthresh::cpu {

struct StepCounts {
  std::int64_t nonzero = 0;
  std::int64_t nonfinite = 0;
};

struct KktKeys {
  std::uint32_t on_nonzero = 0;  ///< magnitude_key of the largest residual; NaN orders above ∞
  std::uint32_t on_zero = 0;
};

/// Keys (kernels/math/bracket.hpp) from `first` to `last`, both of them included.
template <class Key>
struct KeyRangeOf {
  Key first = 0;
  Key last = 0;
  CTH_HD bool contains(Key key) const { return key - first <= last - first; }
};
using KeyRange = KeyRangeOf<std::uint32_t>;

struct KeyCounts {
  std::int64_t inside = 0;
  std::int64_t below = 0;
  std::int64_t among = 0;
  KeyCounts& operator+=(const KeyCounts& other) {
    inside += other.inside;
    below += other.below;
    among += other.among;
    return *this;
  }
};

/// Keys of an array.
template <class Value, class Key>
struct KeyLoops {
  /// Of the keys of x: how many are in `range`, in it below `wanted`, which lies inside it, and in
  /// `wanted`. keys, where not null, gets those in `wanted`, in order; it has room for n.
  KeyCounts (*select_keys)(const Value* x, std::int64_t n, KeyRangeOf<Key> range,
                           KeyRangeOf<Key> wanted, Key* keys);
  /// bins[(key >> shift) − (range.first >> shift)] += 1 for every key of x in the range.
  void (*histogram)(const Value* x, std::int64_t n, KeyRangeOf<Key> range, std::uint32_t shift,
                    std::uint64_t* bins);
};

/// The arrays of a tensor, or of a part of it. What a step does not use may be null.
template <class Storage>
struct ListArrays {
  using Compute = typename StorageTraits<Storage>::Compute;
  Compute* weight = nullptr;   ///< the master copy where there is one, else the weights
  Storage* stored = nullptr;   ///< the weights
  const Storage* g = nullptr;  ///< their gradient
  Compute* v = nullptr;        ///< momentum
};

/// The serial loops over a list's tensors of one dtype, compiled once per instruction set from
/// list_loops.inl. n entries each.
template <class Storage>
struct ListLoops {
  using Compute = typename StorageTraits<Storage>::Compute;
  using Key = decltype(magnitude_key(Compute{}));

  /// g and v are used by steps of kinds that read them.
  StepCounts (*prox_step)(StepKind kind, const ListArrays<Storage>& a, std::int64_t n,
                          const StepRateOf<Compute>& rate, Compute threshold);
  /// The same without a threshold; where the bit of an entry is 0 in `bits`, w becomes 0.
  StepCounts (*frozen_step)(StepKind kind, const ListArrays<Storage>& a, std::int64_t n,
                            const StepRateOf<Compute>& rate, const std::uint32_t* bits);
  /// What a step counts, without one.
  StepCounts (*count_entries)(const Storage* w, std::int64_t n);
  /// w ← keep(w); returns the nonzeros. Entries equal to keep.least stay up to index `ties_end`.
  std::int64_t (*keep_largest)(const ListArrays<Storage>& a, std::int64_t n,
                               const KeepLargestOf<Compute>& keep, std::int64_t ties_end);
  std::int64_t (*count_nonzero)(const Storage* w, std::int64_t n);
  KktKeys (*kkt)(const Storage* w, const Storage* g, std::int64_t n, Compute lambda);
  /// bit i of bits = w[i] ≠ 0, the first in the lowest bit of the first word.
  void (*support)(const Storage* w, std::int64_t n, std::uint32_t* bits);
  /// kernels/math/refresh.hpp; for dtypes with a master copy.
  void (*refresh_master)(const ListArrays<Storage>& a, std::int64_t n);
  KeyLoops<Storage, Key> gradients;
  KeyLoops<Compute, Key> weights;  ///< by weight_key
};

}  // namespace cuthresh::cpu
