#define CTH_LOOPS_NAMESPACE avx2
#define CTH_LOOPS_TABLE kLoopsAvx2
#define CTH_LOOPS_NAME "avx2"
#include "cpu/loops.inl"
