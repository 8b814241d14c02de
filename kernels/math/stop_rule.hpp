#pragma once

#include <cstdint>

#include "kernels/platform.hpp"

namespace cuthresh {

/// The counts that meet a target, both ends included.
struct CountBand {
  std::uint64_t lo;
  std::uint64_t hi;
  CTH_HD bool contains(std::uint64_t nnz) const { return nnz >= lo && nnz <= hi; }
};

/// "At least `required` of `groups` counts are inside their bands."
CTH_HD bool counts_meet(const std::uint64_t* counts, const CountBand* bands, int groups,
                        int required) {
  int met = 0;
  for (int i = 0; i < groups; ++i) met += bands[i].contains(counts[i]) ? 1 : 0;
  return met >= required;
}

}  // namespace cuthresh
