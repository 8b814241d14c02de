#pragma once

// A proximal step with a prescribed number of nonzeros: of the z = w − αg that share a target, as
// many of the largest |z| as it says stay and are shrunk, all others become zero.

#include <cstdint>

#include "kernels/math/bracket.hpp"
#include "kernels/math/shrink.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

/// How far survivors are shrunk: by αλ as any step does, but never so far that the smallest of
/// them, whose magnitude is `least`, becomes zero: at most by the next number below it. Not at all
/// with least = 0: then there are fewer survivors than wanted already.
CTH_HD float survivor_shrinkage(float threshold, float least) {
  if (!(least > 0.0f)) return 0.0f;
  const float below = magnitude_from_key(magnitude_key(least) - 1U);
  return threshold < below ? threshold : below;
}

/// `least`: the smallest magnitude that stays, the k-th largest. Entries equal to it stay only
/// where `tie_stays`. With least = 0 fewer than k entries are nonzero, and all of them stay; with
/// least < 0, for what has no target, all do; with least = ∞, for k = 0, none.
/// NaN becomes zero here: the step before has counted it and ended the run.
struct KeepLargest {
  float least;
  float shrinkage;  // survivor_shrinkage

  CTH_HD float operator()(float z, bool tie_stays) const {
    const float m = magnitude_from_key(magnitude_key(z));
    const bool stays = m > least || (m == least && tie_stays);
    return stays ? soft_threshold(z, shrinkage) : 0.0f;
  }
};

}  // namespace cuthresh
