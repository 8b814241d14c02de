#include "bench/ceilings/cpu_loops.inl"

namespace cuthresh::bench {
const MoveLoops kMoveBaseline = kLoops;
}  // namespace cuthresh::bench
