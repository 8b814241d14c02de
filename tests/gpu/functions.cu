#include "functions.hpp"

#include "kernels/math/elementary.hpp"
#include "kernels/math/philox.hpp"
#include "kernels/math/step.hpp"
#include "kernels/platform.hpp"
#include "kernels/scalar.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::uint32_t kThreads = 256;

CTH_HD std::uint32_t bits(float x) {
  return __builtin_bit_cast(std::uint32_t, x);
}

template <Function kFunction>
CTH_KERNEL(kThreads)
apply_kernel(std::uint32_t first, std::uint32_t step, std::int64_t count, std::uint32_t* to) {
  const std::int64_t threads = std::int64_t{device::block_count()} * kThreads;
  for (std::int64_t i = std::int64_t{device::block_index()} * kThreads + device::thread_index();
       i < count; i += threads) {
    const float x = __builtin_bit_cast(float, first + static_cast<std::uint32_t>(i) * step);
    if constexpr (kFunction == Function::kExp) to[i] = bits(exp_float(x));
    if constexpr (kFunction == Function::kLog) to[i] = bits(log_float(x));
    if constexpr (kFunction == Function::kTanh) to[i] = bits(tanh_float(x));
    if constexpr (kFunction == Function::kErf) to[i] = bits(erf_float(x));
    if constexpr (kFunction == Function::kSigmoid) to[i] = bits(sigmoid_float(x));
    if constexpr (kFunction == Function::kToBf16) to[i] = to_bf16(x).bits;
    if constexpr (kFunction == Function::kToFp16) to[i] = to_fp16(x).bits;
  }
}

CTH_KERNEL(kThreads) widen_all_kernel(std::uint32_t* to) {
  const std::uint32_t i = device::block_index() * kThreads + device::thread_index();
  if (i >= 65536) return;
  to[i] = bits(widen(Bf16{static_cast<std::uint16_t>(i)}));
  to[65536 + i] = bits(widen(Fp16{static_cast<std::uint16_t>(i)}));
}

CTH_KERNEL(kThreads) step_rows_kernel(const StepRow* rows, StepBits* to, std::int64_t count) {
  const std::int64_t i = std::int64_t{device::block_index()} * kThreads + device::thread_index();
  if (i >= count) return;
  const StepRow row = rows[i];
  const float z = PlainStep<float>{{row.alpha}}(row.w, row.g);
  to[i] = {bits(z), bits(ProxGradientStep<float>{row.alpha, row.t}(row.w, row.g))};
}

CTH_KERNEL(kThreads)
philox_rows_kernel(const PhiloxInput* rows, PhiloxWords* to, std::int64_t count) {
  const std::int64_t i = std::int64_t{device::block_index()} * kThreads + device::thread_index();
  if (i >= count) return;
  // operator[] of std::array is no device function.
  const auto* in = reinterpret_cast<const std::uint32_t*>(rows + i);
  auto* out = reinterpret_cast<std::uint32_t*>(to + i);
  const Philox words = Philox::rounds(in[0], in[1], in[2], in[3], in[4], in[5]);
  for (int k = 0; k < 4; ++k) out[k] = words.words[k];
}

template <class... P, class... A>
cudaError_t start(cudaStream_t stream, std::int64_t count, void (*kernel)(P...), A... args) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned int>((count + kThreads - 1) / kThreads));
  config.blockDim = dim3(kThreads);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, args...);
}

}  // namespace

cudaError_t apply(Function function, std::uint32_t first, std::uint32_t step, std::int64_t count,
                  std::uint32_t* to, cudaStream_t stream) {
  switch (function) {
    case Function::kExp:
      return start(stream, count, apply_kernel<Function::kExp>, first, step, count, to);
    case Function::kLog:
      return start(stream, count, apply_kernel<Function::kLog>, first, step, count, to);
    case Function::kTanh:
      return start(stream, count, apply_kernel<Function::kTanh>, first, step, count, to);
    case Function::kErf:
      return start(stream, count, apply_kernel<Function::kErf>, first, step, count, to);
    case Function::kSigmoid:
      return start(stream, count, apply_kernel<Function::kSigmoid>, first, step, count, to);
    case Function::kToBf16:
      return start(stream, count, apply_kernel<Function::kToBf16>, first, step, count, to);
    case Function::kToFp16:
      return start(stream, count, apply_kernel<Function::kToFp16>, first, step, count, to);
    case Function::kCount:
      break;
  }
  return cudaErrorInvalidValue;
}

cudaError_t widen_all(std::uint32_t* to, cudaStream_t stream) {
  return start(stream, 65536, widen_all_kernel, to);
}

cudaError_t step_rows(const StepRow* rows, StepBits* to, std::int64_t count, cudaStream_t stream) {
  return start(stream, count, step_rows_kernel, rows, to, count);
}

cudaError_t philox_rows(const PhiloxInput* rows, PhiloxWords* to, std::int64_t count,
                        cudaStream_t stream) {
  return start(stream, count, philox_rows_kernel, rows, to, count);
}

}  // namespace cuthresh::testing
