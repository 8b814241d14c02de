#include "train/batches.hpp"

#include "core/permutation.hpp"

namespace cuthresh::train {

std::vector<std::int64_t> epoch_order(std::int64_t rows, std::uint64_t seed, std::uint32_t epoch) {
  return random_permutation(rows, seed, RandomPurpose::kShuffle, epoch);
}

}  // namespace cuthresh::train
