#pragma once

#include "kernels/platform.hpp"

namespace cuthresh {

/// The proximal map of t·|·|: soft(z, t) = sign(z)·max(|z| − t, 0), t ≥ 0 (arXiv 2408.02801, eq. of
/// the proximity operator). One subtraction, so exact to the last bit wherever that is. NaN stays
/// NaN: a lost run must never look like sparsity. soft(±0, t) = +0; with t = 0 every other z is
/// returned as it is; soft(±∞, t) = ±∞ for finite t; denormals are kept (no flush to zero).
template <class T>
CTH_HD T soft_threshold(T z, T t) {
  const T keep = z == z ? T(0) : z;
  return z > t ? z - t : (z < -t ? z + t : keep);
}

}  // namespace cuthresh
