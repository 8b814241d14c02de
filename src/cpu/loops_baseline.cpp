#define CTH_LOOPS_NAMESPACE baseline
#define CTH_LOOPS_TABLE kLoopsBaseline
#define CTH_LOOPS_NAME "baseline"
#include "cpu/loops.inl"
