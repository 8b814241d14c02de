#pragma once

#include <cstdint>
#include <vector>

namespace cuthresh::train {

/// Mini-batches that cover `rows` once, the last one with what is left; 1 for a full batch (0).
constexpr std::int64_t steps_an_epoch(std::int64_t rows, std::int64_t batch) {
  return batch == 0 ? 1 : (rows + batch - 1) / batch;
}

/// The order of samples in epoch `epoch`: a permutation of 0 … rows−1 from the seed
/// alone, so every round of a search sees the same batches, on every machine.
std::vector<std::int64_t> epoch_order(std::int64_t rows, std::uint64_t seed, std::uint32_t epoch);

}  // namespace cuthresh::train
