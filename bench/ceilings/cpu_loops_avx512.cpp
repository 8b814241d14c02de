#include "bench/ceilings/cpu_loops.inl"

namespace cuthresh::bench {
const MoveLoops kMoveAvx512 = kLoops;
}  // namespace cuthresh::bench
