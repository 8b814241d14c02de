#pragma once

// The ceilings as workloads: filled, checked and timed in every room alike, only the loop differs.

#include <cstdint>
#include <functional>
#include <memory>

#include "bench/core/case.hpp"

namespace cuthresh::bench {

/// Moves n floats, a multiple of kMoverUnit, at 64-byte boundaries; enqueues.
///   read:   adds the bits of x to the kMoverUnit 32-bit numbers that y points to, in any division
///   copy:   y = x
///   stream: y = y + x
using Mover = std::function<void(const float* x, float* y, std::int64_t n)>;

inline constexpr std::int64_t kMoverUnit = 64;

/// `sets` sets that touch `footprint` bytes each, up to rounding.
std::unique_ptr<Workload> make_mover_workload(const Room& room, Traffic traffic,
                                              std::int64_t footprint, std::int64_t sets,
                                              Mover mover);

}  // namespace cuthresh::bench
