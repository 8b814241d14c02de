#pragma once

// CTH_HD marks a function that the host and a CUDA device compile from the same text. It is forced
// inline on the host too: src/cpu compiles the same loops once per instruction set, and an
// out-of-line copy made with AVX-512 could otherwise be the one the linker keeps for every caller.
#if defined(__CUDACC__)
#define CTH_HD __host__ __device__ __forceinline__
#else
#define CTH_HD inline __attribute__((always_inline))
#endif
