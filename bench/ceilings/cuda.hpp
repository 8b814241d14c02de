#pragma once

// What this device can move: the patterns that the room's kernels are measured against.

#include <cstdint>

struct CUstream_st;  // what cudaStream_t points to

namespace cuthresh::bench {

/// Two ways to spread the work: each is the faster one on some device and size.
enum class Spread : std::uint8_t {
  kResident,  // as many blocks as the device holds, in strides
  kTiles      // a block a tile
};

// What a Mover does (mover.hpp), enqueued. size is a multiple of 4, pointers of 16 bytes. They
// throw std::runtime_error when CUDA refuses.
void sum_bits(const float* x, float* y, std::int64_t size, Spread spread, CUstream_st* stream);
void copy(const float* from, float* to, std::int64_t size, Spread spread, CUstream_st* stream);
void add(const float* x, float* y, std::int64_t size, Spread spread, CUstream_st* stream);

/// A kernel that does nothing, or where `count` is not null adds 1 to it.
void do_nothing(std::uint32_t* count, CUstream_st* stream);

}  // namespace cuthresh::bench
