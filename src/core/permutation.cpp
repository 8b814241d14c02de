#include "core/permutation.hpp"

#include <cstddef>
#include <numeric>
#include <utility>

namespace cuthresh {
namespace {

// Uniform whole numbers from Philox words. The standard library's distributions and std::shuffle
// give different numbers with different compilers.
class Draws {
 public:
  Draws(std::uint64_t seed, RandomPurpose purpose, std::uint32_t stream)
      : seed_(seed), purpose_(purpose), stream_(stream) {}

  /// Uniform in [0, bound), bound ≥ 1. The lowest 2^64 mod bound words are drawn again, so that no
  /// value is favoured.
  std::uint64_t below(std::uint64_t bound) {
    const std::uint64_t rest = (0 - bound) % bound;  // 2^64 mod bound
    std::uint64_t word = next();
    while (word < rest) word = next();
    return word % bound;
  }

 private:
  std::uint64_t next() {
    if (half_ == 0) block_ = Philox::block(seed_, index_++, stream_, purpose_);
    const std::uint64_t word =
        std::uint64_t{block_.words[2 * half_]} | std::uint64_t{block_.words[2 * half_ + 1]} << 32;
    half_ ^= 1;
    return word;
  }

  std::uint64_t seed_;
  RandomPurpose purpose_;
  std::uint32_t stream_;
  std::uint64_t index_ = 0;
  unsigned half_ = 0;
  Philox block_{};
};

}  // namespace

std::vector<std::int64_t> random_permutation(std::int64_t size, std::uint64_t seed,
                                             RandomPurpose purpose, std::uint32_t stream) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  Draws draws(seed, purpose, stream);
  for (std::size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1], order[draws.below(i)]);
  }
  return order;
}

}  // namespace cuthresh
