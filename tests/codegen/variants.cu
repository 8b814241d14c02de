// Kernels that the library offers and src/cuda does not launch yet, compiled for their code: other
// steps, penalties and number types, and the extras of the fused step.

#include "kernels/block/count_nonzero.cuh"
#include "kernels/block/kkt_residual.cuh"
#include "kernels/block/prox_step.cuh"

namespace cuthresh {

constexpr int kBoth = kCertificate | kNorm;

#define CTH_STEP(Storage, Compute, Step, Penalty, extras)                                      \
  template __global__ void prox_step_kernel<Storage, Step<Compute>, Penalty<Compute>, extras>( \
      ProxStepArguments<Compute>, Penalty<Compute>)

CTH_STEP(float, float, PlainStep, L1Penalty, kCertificate);
CTH_STEP(float, float, NesterovStep, L1Penalty, kNoExtras);
CTH_STEP(float, float, NesterovStep, ElasticNetPenalty, kBoth);
CTH_STEP(double, double, PlainStep, L1Penalty, kNoExtras);
CTH_STEP(double, double, NesterovStep, L1Penalty, kBoth);
CTH_STEP(Bf16, float, PlainStep, L1Penalty, kNoExtras);
CTH_STEP(Bf16, float, NesterovStep, L1Penalty, kBoth);
CTH_STEP(Fp16, float, NesterovStep, L1Penalty, kBoth);
CTH_STEP(float, float, PlainStep, L1Penalty, kSkipZeros);
CTH_STEP(float, float, ThresholdStep, L1Penalty, kSkipZeros);
CTH_STEP(double, double, PlainStep, L1Penalty, kSkipZeros);
CTH_STEP(Bf16, float, NesterovStep, L1Penalty, kSkipZeros);
#undef CTH_STEP

template __global__ void count_nonzero_kernel<double>(CountNonzeroArguments);
template __global__ void count_nonzero_kernel<Bf16>(CountNonzeroArguments);
template __global__ void kkt_residual_kernel<double>(KktResidualArguments<double>);
template __global__ void kkt_residual_kernel<Bf16>(KktResidualArguments<Bf16>);
template __global__ void kkt_residual_kernel<Fp16>(KktResidualArguments<Fp16>);

}  // namespace cuthresh
