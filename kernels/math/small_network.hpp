#pragma once

#include <cstdint>

namespace cuthresh {

/// What a network may have at most for the kernels of kernels/block/small_network*.cuh: the rows of
/// a block lie in shared memory, a layer at a time.
inline constexpr std::int32_t kSmallWidth = 256;
inline constexpr std::int32_t kSmallDepth = 8;

}  // namespace cuthresh
