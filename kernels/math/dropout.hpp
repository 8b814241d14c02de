#pragma once

#include <cstdint>

#include "kernels/math/philox.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

/// Most elements of one dropout: the number of a Philox block has 32 bits beside the step.
inline constexpr std::int64_t kMaxDropout = std::int64_t{1} << 34;

/// x·(kept ? 1/(1 − rate) : 0): NaN and ∞ that are not kept become NaN, as in PyTorch.
struct DropoutMask {
  std::uint64_t seed;
  std::uint32_t stream;
  std::uint32_t step;
  float rate;
  float scale;

  CTH_HD static DropoutMask of(std::uint64_t seed, std::uint32_t stream, std::uint32_t step,
                               float rate) {
    return {seed, stream, step, rate, 1.0f / (1.0f - rate)};
  }
  /// The words of elements 4·block … 4·block + 3.
  CTH_HD Philox words(std::int64_t block) const {
    return Philox::block(
        seed, (static_cast<std::uint64_t>(step) << 32) | static_cast<std::uint64_t>(block), stream,
        RandomPurpose::kDropout);
  }
  /// 24 bits of a word are uniform on [0, 1).
  CTH_HD float operator()(float x, std::uint32_t word) const {
    const float unit = static_cast<float>(word >> 8) * 0x1p-24f;
    return x * (unit >= rate ? scale : 0.0f);
  }
};

}  // namespace cuthresh
