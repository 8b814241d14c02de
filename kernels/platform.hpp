#pragma once

// All that a kernel may use of the machine it runs on, under one spelling for two compilers: nvcc,
// and g++ for the interpreter of tests/simt, which runs the same kernel text thread by thread. The
// list of primitives is closed: a kernel that needs another one adds it here, on both sides.
//
// CTH_HD marks a function that host and device compile from the same text. It is forced inline on
// the host too: src/cpu compiles the same loops once per instruction set, and an out-of-line copy
// made with AVX-512 could otherwise be the one the linker keeps for every caller.

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)

#define CTH_HD __host__ __device__ __forceinline__
#define CTH_DEVICE __device__ __forceinline__
/// CTH_KERNEL(256) name(arguments…) { … }: the block size is part of the kernel.
#define CTH_KERNEL(threads) __global__ void __launch_bounds__(threads)
/// As many registers as let `blocks` of them be resident, or all that a multiprocessor holds: the
/// compiler uses all of those, where it would else delay loads to save some.
#define CTH_KERNEL_RESIDENT(threads, blocks) \
  __global__ void __launch_bounds__(threads, ::cuthresh::at_most_resident(threads, blocks))
/// Before a loop over registers, which has to be unrolled whatever its size, and before a loop that
/// must not be, because it runs seldom and would cost registers.
#define CTH_UNROLL _Pragma("unroll")
#define CTH_NO_UNROLL _Pragma("unroll 1")
/// A kernel's shared memory: one struct without constructors, declared once at its top.
#define CTH_SHARED(type, name) __shared__ type name

namespace cuthresh {
/// Of the architecture compiled for: Turing's multiprocessors hold 1024 threads, those of sm_86 to
/// sm_89 1536, all others since Volta 2048.
constexpr std::uint32_t at_most_resident(std::uint32_t threads, std::uint32_t blocks) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 750
  constexpr std::uint32_t kMost = 1024;
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ > 800 && __CUDA_ARCH__ < 900
  constexpr std::uint32_t kMost = 1536;
#else
  constexpr std::uint32_t kMost = 2048;
#endif
  return threads * blocks > kMost ? kMost / threads : blocks;
}
}  // namespace cuthresh

#else

#define CTH_HD inline __attribute__((always_inline))
#define CTH_DEVICE inline
#define CTH_KERNEL(threads) void
#define CTH_KERNEL_RESIDENT(threads, blocks) void
#define CTH_UNROLL
#define CTH_NO_UNROLL
#define CTH_SHARED(type, name) \
  type& name = *static_cast<type*>(::cuthresh::simt::shared_memory(sizeof(type), alignof(type)))

// What tests/simt defines. Nothing else does: host code that calls a kernel's primitives does not
// link.
namespace cuthresh::simt {
struct Position {
  std::uint32_t thread, block, threads, blocks;
};
/// Of the thread that runs now.
extern Position position;
/// The block's shared memory: the same address for all its threads, filled with 0xA5 before the
/// first.
void* shared_memory(std::size_t bytes, std::size_t alignment);
void barrier();
/// What lane `source` of the caller's warp passes in the same call; all 32 lanes take part.
std::uint64_t shuffle(std::uint64_t bits, std::uint32_t source);
/// Bit i: what lane i passes; likewise.
std::uint32_t ballot(bool mine);
// Round the operation: where another thread may run first, and what ThreadSanitizer is told.
void before_atomic();
void after_atomic(const void* address);
void before_fence();
void before_fresh_read();
}  // namespace cuthresh::simt

#endif

namespace cuthresh::device {

inline constexpr std::uint32_t kWarp = 32;

#if defined(__CUDACC__)

CTH_DEVICE std::uint32_t thread_index() {
  return threadIdx.x;
}
CTH_DEVICE std::uint32_t block_index() {
  return blockIdx.x;
}
CTH_DEVICE std::uint32_t block_size() {
  return blockDim.x;
}
CTH_DEVICE std::uint32_t block_count() {
  return gridDim.x;
}
CTH_DEVICE void sync_block() {
  __syncthreads();
}

/// The value that the lane whose number differs by `mask` passes. All lanes of the warp call it.
template <class T>
CTH_DEVICE T shuffle_xor(T value, std::uint32_t mask) {
  return __shfl_xor_sync(0xffffffffU, value, static_cast<int>(mask));
}
/// The value that lane `source` passes.
template <class T>
CTH_DEVICE T shuffle_from(T value, std::uint32_t source) {
  return __shfl_sync(0xffffffffU, value, static_cast<int>(source));
}
/// Bit i: what lane i of the warp passes. All lanes of the warp call it.
CTH_DEVICE std::uint32_t ballot(bool mine) {
  return __ballot_sync(0xffffffffU, mine ? 1 : 0);
}

// Atomics on global or shared memory, relaxed; they return the old value.
CTH_DEVICE std::uint32_t atomic_add(std::uint32_t* to, std::uint32_t value) {
  return ::atomicAdd(reinterpret_cast<unsigned int*>(to), value);
}
CTH_DEVICE std::uint64_t atomic_add(std::uint64_t* to, std::uint64_t value) {
  return ::atomicAdd(reinterpret_cast<unsigned long long*>(to), value);
}
CTH_DEVICE std::uint32_t atomic_max(std::uint32_t* to, std::uint32_t value) {
  return ::atomicMax(reinterpret_cast<unsigned int*>(to), value);
}
/// Everything this thread wrote before is seen by whoever sees what it writes after.
CTH_DEVICE void fence() {
  __threadfence();
}
/// Writes a word of mapped host memory, where the host finds it without asking; what this thread
/// wrote before is there by then.
CTH_DEVICE void tell_host(std::uint32_t* to, std::uint32_t value) {
  __threadfence_system();
  *static_cast<volatile std::uint32_t*>(to) = value;
}
/// A read that sees what other blocks of this launch wrote before a fence.
template <class T>
CTH_DEVICE T load_fresh(const T* from) {
  return __ldcg(from);
}
CTH_DEVICE std::uint64_t load_fresh(const std::uint64_t* from) {
  return __ldcg(reinterpret_cast<const unsigned long long*>(from));
}

#else

CTH_DEVICE std::uint32_t thread_index() {
  return simt::position.thread;
}
CTH_DEVICE std::uint32_t block_index() {
  return simt::position.block;
}
CTH_DEVICE std::uint32_t block_size() {
  return simt::position.threads;
}
CTH_DEVICE std::uint32_t block_count() {
  return simt::position.blocks;
}
CTH_DEVICE void sync_block() {
  simt::barrier();
}

template <class T>
CTH_DEVICE T shuffle_from(T value, std::uint32_t source) {
  static_assert(sizeof(T) <= 8);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = simt::shuffle(bits, source);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
template <class T>
CTH_DEVICE T shuffle_xor(T value, std::uint32_t mask) {
  return shuffle_from(value, (thread_index() % kWarp) ^ mask);
}
CTH_DEVICE std::uint32_t ballot(bool mine) {
  return simt::ballot(mine);
}

CTH_DEVICE std::uint32_t atomic_add(std::uint32_t* to, std::uint32_t value) {
  simt::before_atomic();
  const auto old = __atomic_fetch_add(to, value, __ATOMIC_RELAXED);
  simt::after_atomic(to);
  return old;
}
CTH_DEVICE std::uint64_t atomic_add(std::uint64_t* to, std::uint64_t value) {
  simt::before_atomic();
  const auto old = __atomic_fetch_add(to, value, __ATOMIC_RELAXED);
  simt::after_atomic(to);
  return old;
}
CTH_DEVICE std::uint32_t atomic_max(std::uint32_t* to, std::uint32_t value) {
  simt::before_atomic();
  std::uint32_t old = __atomic_load_n(to, __ATOMIC_RELAXED);
  while (old < value &&
         !__atomic_compare_exchange_n(to, &old, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  simt::after_atomic(to);
  return old;
}
CTH_DEVICE void fence() {
  simt::before_fence();  // one OS thread: nothing to order but ThreadSanitizer's view
}
CTH_DEVICE void tell_host(std::uint32_t* to, std::uint32_t value) {
  simt::before_fence();
  *static_cast<volatile std::uint32_t*>(to) = value;
}
template <class T>
CTH_DEVICE T load_fresh(const T* from) {
  simt::before_fresh_read();
  return *static_cast<const volatile T*>(from);
}

#endif

/// Lane number inside the warp.
CTH_DEVICE std::uint32_t lane() {
  return thread_index() % kWarp;
}

}  // namespace cuthresh::device
