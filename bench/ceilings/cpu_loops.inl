// One instruction set's loops; cpu_loops_*.cpp differ in compiler options and in the name they
// give.

#include <cstdint>

#include "bench/ceilings/cpu_loops.hpp"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace cuthresh::bench {
namespace {

#if defined(__AVX512F__)
constexpr std::int64_t kBytes = 64;
#elif defined(__AVX2__)
constexpr std::int64_t kBytes = 32;
#else
constexpr std::int64_t kBytes = 16;
#endif
constexpr std::int64_t kLanes = kBytes / 4;
constexpr int kInFlight = 4;  // loads of each array before the first store

using Vector = float __attribute__((vector_size(kBytes), may_alias));
using Words = std::uint32_t __attribute__((vector_size(kBytes), may_alias));

template <bool kStreaming>
inline void store(float* to, Vector value) {
#if defined(__x86_64__)
  if constexpr (kStreaming) {
#if defined(__AVX512F__)
    _mm512_stream_ps(to, value);
#elif defined(__AVX2__)
    _mm256_stream_ps(to, value);
#else
    _mm_stream_ps(to, value);
#endif
    return;
  }
#endif
  *reinterpret_cast<Vector*>(to) = value;
}

template <bool kAdd, bool kStreaming>
void move(const float* x, float* y, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += kInFlight * kLanes) {
    Vector v[kInFlight];
    for (int k = 0; k < kInFlight; ++k) v[k] = *reinterpret_cast<const Vector*>(x + i + k * kLanes);
    if constexpr (kAdd) {
      for (int k = 0; k < kInFlight; ++k) v[k] += *reinterpret_cast<Vector*>(y + i + k * kLanes);
    }
    for (int k = 0; k < kInFlight; ++k) store<kStreaming>(y + i + k * kLanes, v[k]);
  }
#if defined(__x86_64__)
  // Streaming stores are not ordered with the one by which a thread says that it is done.
  if constexpr (kStreaming) _mm_sfence();
#endif
}

std::uint32_t sum_bits(const float* x, std::int64_t n) {
  Words sums[kInFlight] = {};
  for (std::int64_t i = 0; i < n; i += kInFlight * kLanes) {
    for (int k = 0; k < kInFlight; ++k)
      sums[k] += *reinterpret_cast<const Words*>(x + i + k * kLanes);
  }
  std::uint32_t total = 0;
  for (const Words& sum : sums) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) total += sum[lane];
  }
  return total;
}

constexpr MoveLoops kLoops = {sum_bits, move<false, false>, move<false, true>, move<true, false>,
                              move<true, true>};

}  // namespace
}  // namespace cuthresh::bench
