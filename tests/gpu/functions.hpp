#pragma once

// The functors of kernels/math as the device computes them, a kernel each, for comparison with the
// host to the bit. Pointers are device memory; work is enqueued on `stream`.

#include <cuda_runtime.h>

#include <array>
#include <cstdint>

namespace cuthresh::testing {

enum class Function : std::uint8_t { kExp, kLog, kTanh, kErf, kSigmoid, kToBf16, kToFp16, kCount };

/// to[i] = bits of f(x), x the float whose bits are first + i·step (modulo 2^32).
cudaError_t apply(Function function, std::uint32_t first, std::uint32_t step, std::int64_t count,
                  std::uint32_t* to, cudaStream_t stream);

/// bf16 and fp16 patterns i = 0 … 65535, widened: to[i], to[65536 + i].
cudaError_t widen_all(std::uint32_t* to, cudaStream_t stream);

/// Rows of (w, g, α, t): z = w − αg and y = soft(z, t).
struct StepRow {
  float w, g, alpha, t;
};
struct StepBits {
  std::uint32_t z, y;
};
cudaError_t step_rows(const StepRow* rows, StepBits* to, std::int64_t count, cudaStream_t stream);

/// Key k0, k1 and counter c0 … c3 to four words.
using PhiloxInput = std::array<std::uint32_t, 6>;
using PhiloxWords = std::array<std::uint32_t, 4>;
cudaError_t philox_rows(const PhiloxInput* rows, PhiloxWords* to, std::int64_t count,
                        cudaStream_t stream);

}  // namespace cuthresh::testing
