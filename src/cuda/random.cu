#include "backend/checks.hpp"
#include "cuda/backend_impl.hpp"
#include "cuda/launch.hpp"
#include "kernels/block/random.cuh"

namespace cuthresh::cuda {

void CudaBackend::initialise_uniform(float* to, std::int64_t size, float bound, std::uint64_t seed,
                                     std::uint32_t stream) {
  constexpr std::uint32_t kThreads = 256;
  check_uniform(to, size, bound);
  if (size == 0) return;
  constexpr std::int64_t kElementsABlock = 4 * static_cast<std::int64_t>(kThreads);
  launch(context_,
         {"initialise_uniform_kernel", (size + kElementsABlock - 1) / kElementsABlock, kThreads},
         initialise_uniform_kernel<kThreads>, to, size, bound, seed, stream);
}

}  // namespace cuthresh::cuda
