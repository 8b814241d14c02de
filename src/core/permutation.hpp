#pragma once

#include <cstdint>
#include <vector>

#include "kernels/math/philox.hpp"

namespace cuthresh {

/// 0 … size−1 in an order drawn from all size! with equal chance, by Fisher–Yates over Philox words
/// of (seed, stream, purpose): the same order on every machine and with every compiler. size ≥ 0.
std::vector<std::int64_t> random_permutation(std::int64_t size, std::uint64_t seed,
                                             RandomPurpose purpose, std::uint32_t stream);

}  // namespace cuthresh
