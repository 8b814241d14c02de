#define CTH_LOOPS_NAMESPACE avx512
#define CTH_LOOPS_TABLE kLoopsAvx512
#define CTH_LOOPS_NAME "avx512"
#include "cpu/loops.inl"
