#include "train/batches.hpp"

#include <numeric>
#include <utility>

#include "kernels/math/philox.hpp"

namespace cuthresh::train {

__extension__ typedef unsigned __int128 Wide;

std::vector<std::int64_t> epoch_order(std::int64_t rows, std::uint64_t seed, std::uint32_t epoch) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(rows));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  for (std::int64_t i = rows - 1; i > 0; --i) {
    const Philox words =
        Philox::block(seed, static_cast<std::uint64_t>(i), epoch, RandomPurpose::kShuffle);
    const std::uint64_t bits = (std::uint64_t{words.words[0]} << 32) | words.words[1];
    // Scaled to [0, i] by the high half of a 128-bit product; its bias is below rows/2^64.
    const auto j =
        static_cast<std::int64_t>((static_cast<Wide>(bits) * static_cast<Wide>(i + 1)) >> 64);
    std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(j)]);
  }
  return order;
}

}  // namespace cuthresh::train
