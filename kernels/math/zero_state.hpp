#pragma once

#include <cstdint>

#include "kernels/platform.hpp"

namespace cuthresh {

/// What the next step of a list does about weights that are zero.
enum class ZeroState : std::uint32_t {
  kIgnore,  ///< takes all weights, and no bits
  kFind,    ///< takes all weights, and makes the bits
  kSkip,    ///< leaves out what the bits say is zero, and keeps them
};

/// When bits are worth their bytes, by the nonzeros of all groups: from at most `begin` on, until
/// they are more than `end`, the larger of the two, so that a count that wavers does not switch.
struct ZeroRule {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// After a step in state `was` that left `total` nonzeros.
CTH_HD ZeroState next_zero_state(ZeroState was, std::uint64_t total, const ZeroRule& rule) {
  const std::uint64_t most = was == ZeroState::kIgnore ? rule.begin : rule.end;
  if (total > most) return ZeroState::kIgnore;
  return was == ZeroState::kIgnore ? ZeroState::kFind : ZeroState::kSkip;
}

}  // namespace cuthresh
