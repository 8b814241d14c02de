// Kernels that check_codegen.py must complain about, each for its own reason, and one that is fine.

#include <cstdint>

#include "kernels/pack.hpp"

namespace cuthresh {

/// 48 values live at once, with 32 registers a thread.
__global__ void __launch_bounds__(1024, 2) spilling_kernel(const float* from, float* to) {
  float value[48];
  for (int i = 0; i < 48; ++i) value[i] = device::load_global(from + threadIdx.x + 1024 * i);
  __syncthreads();
  for (int i = 0; i < 48; ++i) device::store_global(to + threadIdx.x + 1024 * i, value[47 - i]);
}

/// An array whose index is known at run time only.
__global__ void local_array_kernel(const int* at, const float* from, float* to) {
  float value[64];
  for (int i = 0; i < 64; ++i) value[at[i] % 64] = from[i];
  for (int i = 0; i < 64; ++i) to[i] = value[at[i + 64] % 64];
}

/// Moves four bytes at a time.
__global__ void narrow_kernel(const float* from, float* to) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  device::store_global(to + i, device::load_global(from + i));
}

/// 96 values live at once, with registers enough.
__global__ void __launch_bounds__(128) greedy_kernel(const float* from, float* to) {
  float value[96];
  for (int i = 0; i < 96; ++i) value[i] = device::load_global(from + threadIdx.x + 128 * i);
  __syncthreads();
  for (int i = 0; i < 96; ++i) device::store_global(to + threadIdx.x + 128 * i, value[95 - i]);
}

/// Two 16-byte loads, but the second only after a store.
__global__ void one_by_one_kernel(const float* from, float* to) {
  device::store_pack(to, device::load_pack(from));
  device::store_pack(to + 4, device::load_pack(from + 4));
}

__global__ void fine_kernel(const float* from, float* to) {
  const auto a = device::load_pack(from);
  const auto b = device::load_pack(from + 4);
  device::store_pack(to, b);
  device::store_pack(to + 4, a);
}

}  // namespace cuthresh
