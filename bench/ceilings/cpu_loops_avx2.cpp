#include "bench/ceilings/cpu_loops.inl"

namespace cuthresh::bench {
const MoveLoops kMoveAvx2 = kLoops;
}  // namespace cuthresh::bench
