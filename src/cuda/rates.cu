#include "backend/checks.hpp"
#include "cuda/backend_impl.hpp"
#include "cuda/launch.hpp"
#include "kernels/block/follow_rates.cuh"

namespace cuthresh::cuda {

void CudaBackend::follow_rates(ProxPlan& plan, const float* learning_rate, std::int64_t length) {
  constexpr std::uint32_t kThreads = 128;
  const CudaPlan& p = as_cuda_plan(plan);
  check_rate_table(learning_rate, length, p.dtype());
  launch(context_, {"follow_rates_kernel", 1, kThreads}, follow_rates_kernel<float, kThreads>,
         p.rates(), static_cast<std::int64_t>(p.rate_count()), learning_rate, length,
         step_number(&plan, 0));
}

}  // namespace cuthresh::cuda
