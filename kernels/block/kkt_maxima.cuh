#pragma once

// The certificate's two maxima (kernels/math/kkt.hpp) as a thread gathers them, for
// kkt_residual.cuh and prox_step.cuh: of magnitude keys, so exact in any order, and NaN orders
// above ∞ and shows. Residuals of float64 weights are rounded to float32.

#include <cstdint>

#include "kernels/math/bracket.hpp"
#include "kernels/math/kkt.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

struct KktMaxima {
  std::uint32_t on_nonzero;
  std::uint32_t on_zero;

  CTH_HD void merge(const KktMaxima& other) {
    on_nonzero = other.on_nonzero > on_nonzero ? other.on_nonzero : on_nonzero;
    on_zero = other.on_zero > on_zero ? other.on_zero : on_zero;
  }
  /// Both residuals are formed and one is dropped: a branch an entry would cost 16 registers.
  template <class Compute>
  CTH_HD void add(const KktResidual<Compute>& residual, bool live, Compute w, Compute g) {
    const std::uint32_t a = magnitude_key(static_cast<float>(residual.on_nonzero(w, g)));
    const std::uint32_t b = magnitude_key(static_cast<float>(residual.on_zero(g)));
    merge({live ? a : 0U, live ? 0U : b});
  }
};

}  // namespace cuthresh
