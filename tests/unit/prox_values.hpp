#pragma once

#include <cstddef>
#include <limits>
#include <vector>

#include "support/seeded.hpp"

namespace cuthresh::testing {

/// Values that stress every branch: many exact thresholds and zeros among random ones.
inline std::vector<float> hard_values(Random& random, std::size_t n, float t) {
  constexpr float kLeast = std::numeric_limits<float>::denorm_min();
  static constexpr float kSpecial[] = {0.0f, -0.0f, kLeast, -kLeast, 1e-39f, 3e38f, -3e38f};
  std::vector<float> v(n);
  for (float& x : v) {
    const auto kind = random.integer(0, 9);
    if (kind == 0) {
      x = kSpecial[random.integer(0, 6)];
    } else if (kind == 1) {
      x = random.integer(0, 1) == 0 ? t : -t;
    } else {
      x = random.uniform(-3.0f * t, 3.0f * t);
    }
  }
  return v;
}

}  // namespace cuthresh::testing
