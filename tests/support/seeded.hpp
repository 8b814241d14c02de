#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace cuthresh::testing {

/// Random numbers for tests: a fixed seed, which SCOPED_TRACE(random.seed()) prints on failure.
class Random {
 public:
  explicit Random(std::uint32_t seed) : seed_(seed), engine_(seed) {}
  std::uint32_t seed() const { return seed_; }

  /// 24 random bits on [lo, hi): the same numbers with every standard library.
  float uniform(float lo, float hi) {
    return lo + (hi - lo) * static_cast<float>(engine_() >> 8) * 0x1p-24f;
  }
  std::int64_t integer(std::int64_t lo, std::int64_t hi) {  // both ends included
    return lo + static_cast<std::int64_t>(engine_() % static_cast<std::uint32_t>(hi - lo + 1));
  }
  std::uint32_t bits() { return static_cast<std::uint32_t>(engine_()); }
  std::vector<float> vector(std::size_t n, float lo, float hi) {
    std::vector<float> v(n);
    for (float& x : v) x = uniform(lo, hi);
    return v;
  }

 private:
  std::uint32_t seed_;
  std::mt19937 engine_;
};

}  // namespace cuthresh::testing
