#pragma once

// Penalties as kernels apply them after the gradient step: functors in two stages. on(tensor, t)
// is called once a tile with t = αλ of its group (0 where nothing is penalised) and may read device
// memory; what it returns maps every z and its index in the tensor to the proximal point. A penalty
// over groups of entries (rows, channels) enters here, with its norms taken by a pass before.

#include <cstdint>

#include "kernels/math/shrink.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

/// λ‖w‖₁: soft(z, t).
template <class T>
struct L1Penalty {
  struct OnTile {
    T threshold;
    CTH_HD T operator()(T z, std::int64_t) const { return soft_threshold(z, threshold); }
  };
  CTH_HD OnTile on(std::int32_t, T threshold) const { return {threshold}; }
};

/// λ(‖w‖₁ + ρ/2·‖w‖²) with one ρ ≥ 0 in device memory: soft(z, t)/(1 + ρt), the reciprocal rounded
/// once a tile. ρ = 0 gives the bits of L1Penalty.
template <class T>
struct ElasticNetPenalty {
  const T* ridge;

  struct OnTile {
    T threshold;
    T scale;
    CTH_HD T operator()(T z, std::int64_t) const { return soft_threshold(z, threshold) * scale; }
  };
  CTH_HD OnTile on(std::int32_t, T threshold) const {
    return {threshold, T(1) / (T(1) + *ridge * threshold)};
  }
};

/// The constraint that an entry whose bit is 0 is zero: z where the bit is 1, else 0. No threshold.
/// `support[tensor]`: a bit an entry, the first in the lowest bit of the first word; null: every
/// entry is free. What is not finite there becomes NaN, so that it is counted and not hidden.
template <class T>
struct FrozenSupport {
  const std::uint32_t* const* support;

  struct OnTile {
    const std::uint32_t* bits;
    CTH_HD T operator()(T z, std::int64_t i) const {
      return bits == nullptr || ((bits[i >> 5] >> (i & 31)) & 1U) != 0 ? z : z - z;
    }
  };
  CTH_HD OnTile on(std::int32_t tensor, T) const { return {support[tensor]}; }
};

}  // namespace cuthresh
