#pragma once

#include <cstdint>

#include "kernels/platform.hpp"

namespace cuthresh {

/// What a stream of random numbers is for; part of the counter, so that no two purposes share
/// numbers.
enum class RandomPurpose : std::uint32_t {
  kInitialisation = 0,
  kShuffle = 1,
  kSplit = 2,
  kDropout = 3,
  kAugmentation = 4
};

/// Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC
/// 2011): four 32-bit words from a 64-bit key and a 128-bit counter, no state, so that element i is
/// the same number whatever thread or device asks for it. key = seed; counter = (block lo, block
/// hi, stream, purpose).
struct Philox {
  std::uint32_t words[4];

  CTH_HD static Philox block(std::uint64_t seed, std::uint64_t index, std::uint32_t stream,
                             RandomPurpose purpose) {
    return rounds(static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32),
                  static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32),
                  stream, static_cast<std::uint32_t>(purpose));
  }

  CTH_HD static Philox rounds(std::uint32_t k0, std::uint32_t k1, std::uint32_t c0,
                              std::uint32_t c1, std::uint32_t c2, std::uint32_t c3) {
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53U} * c0;
      const std::uint64_t p1 = std::uint64_t{0xCD9E8D57U} * c2;
      const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
      const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
      c0 = n0;
      c1 = static_cast<std::uint32_t>(p1);
      c2 = n2;
      c3 = static_cast<std::uint32_t>(p0);
      k0 += 0x9E3779B9U;
      k1 += 0xBB67AE85U;
    }
    return {{c0, c1, c2, c3}};
  }
};

/// Uniform on [−bound, bound): 24 random bits, one rounding. `bits` is a word of Philox.
CTH_HD float uniform_symmetric(std::uint32_t bits, float bound) {
  const float unit = static_cast<float>(bits >> 8) * 0x1p-24f;
  return __builtin_fmaf(2.0f * bound, unit, -bound);
}

}  // namespace cuthresh
