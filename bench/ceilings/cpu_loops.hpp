#pragma once

#include <cstdint>

namespace cuthresh::bench {

/// Loops of one thread over its share: a multiple of kMoverUnit floats at 64-byte boundaries.
struct MoveLoops {
  std::uint32_t (*sum_bits)(const float* x, std::int64_t n);
  void (*copy)(const float* x, float* y, std::int64_t n);
  void (*copy_streaming)(const float* x, float* y, std::int64_t n);
  void (*add)(const float* x, float* y, std::int64_t n);
  void (*add_streaming)(const float* x, float* y, std::int64_t n);
};

// cpu_loops.inl, compiled with other options for each.
extern const MoveLoops kMoveBaseline;
extern const MoveLoops kMoveAvx2;
extern const MoveLoops kMoveAvx512;

}  // namespace cuthresh::bench
