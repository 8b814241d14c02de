#pragma once

#include "kernels/platform.hpp"

namespace cuthresh {

/// Stationarity of L + λ‖·‖₁ at one weight w with full gradient g (arXiv 2408.02801, Theorem 4):
/// what |·| is away from its value on the nonzeros, and by how much it exceeds λ on the zeros.
/// Absolute; the caller divides by λ. NaN in g or w gives NaN.
template <class T>
struct KktResidual {
  T lambda;

  CTH_HD T on_nonzero(T w, T g) const {
    const T r = w > T(0) ? g + lambda : g - lambda;
    const T signed_r = w == w ? r : w;
    return signed_r < T(0) ? -signed_r : signed_r;
  }
  CTH_HD T on_zero(T g) const {
    const T excess = (g < T(0) ? -g : g) - lambda;
    return excess < T(0) ? T(0) : excess;
  }
};

}  // namespace cuthresh
