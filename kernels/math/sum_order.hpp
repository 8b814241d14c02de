#pragma once

// The order in which a column of a matrix is added up, in both rooms: rows one by one in blocks of
// this many, then the blocks. So a sum has the same bits whatever the number of threads.

#include <cstdint>

namespace cuthresh {

inline constexpr std::int64_t kSumBlockRows = 128;

}  // namespace cuthresh
