#pragma once

// A proximal step with a prescribed number of nonzeros: of the z = w − αg that share a target, as
// many of the largest |z| as it says stay and are shrunk, all others become zero.

#include <cstdint>

#include "kernels/math/bracket.hpp"
#include "kernels/math/shrink.hpp"
#include "kernels/platform.hpp"
#include "kernels/scalar.hpp"

namespace cuthresh {

/// The order in which weights are cut: that of their magnitudes, but a master copy that is stored
/// as zero is one.
template <class Storage>
CTH_HD auto weight_key(typename StorageTraits<Storage>::Compute w) {
  const auto key = magnitude_key(w);
  if constexpr (StorageTraits<Storage>::kMaster) {
    return is_nonzero(StorageTraits<Storage>::narrow(w)) ? key : 0U;
  } else {
    return key;
  }
}

/// The smallest magnitude of a master copy that is stored as other than zero: half the smallest
/// subnormal is a tie, which goes to zero.
template <class Storage>
inline constexpr float kSmallestStored = 0.0f;
template <>
inline constexpr float kSmallestStored<Bf16> = __builtin_bit_cast(float, 0x00008001U);
template <>
inline constexpr float kSmallestStored<Fp16> = 0x1.000002p-25f;

/// How far survivors are shrunk: by αλ as any step does, but never so far that the smallest of
/// them, whose magnitude is `least`, becomes zero where it is stored. Not at all with least = 0:
/// then there are fewer survivors than wanted already.
template <class Storage = float, class Compute = typename StorageTraits<Storage>::Compute>
CTH_HD Compute survivor_shrinkage(Compute threshold, Compute least) {
  if (!(least > Compute(0))) return Compute(0);
  const auto next_below = [](Compute x) { return magnitude_from_key(magnitude_key(x) - 1U); };
  Compute most;
  if constexpr (StorageTraits<Storage>::kMaster) {
    most = least - kSmallestStored<Storage>;
    if (least - most < kSmallestStored<Storage>) most = next_below(most);
  } else {
    most = next_below(least);
  }
  return threshold < most ? threshold : most;
}

/// `least`: the smallest magnitude that stays, the k-th largest. Entries equal to it stay only
/// where `tie_stays`. With least = 0 fewer than k entries are nonzero, and all of them stay; with
/// least < 0, for what has no target, all do; with least = ∞, for k = 0, none.
/// NaN becomes zero here: the step before has counted it and ended the run.
template <class T>
struct KeepLargestOf {
  T least;
  T shrinkage;  // survivor_shrinkage

  CTH_HD T operator()(T z, bool tie_stays) const {
    const T m = magnitude_from_key(magnitude_key(z));
    const bool stays = m > least || (m == least && tie_stays);
    return stays ? soft_threshold(z, shrinkage) : T(0);
  }
};

using KeepLargest = KeepLargestOf<float>;

}  // namespace cuthresh
