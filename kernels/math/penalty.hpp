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

}  // namespace cuthresh
