#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <source_location>
#include <string>
#include <utility>

#include "cuda/context.hpp"

namespace cuthresh::cuda {

/// How a kernel is started. `blocks` is how many the work is worth; no more than the device holds
/// at a time are started, since kernels walk their work in strides of the grid.
struct Launch {
  const char* kernel;  // its name, for messages
  std::int64_t blocks;
  std::uint32_t threads;
  std::source_location where = std::source_location::current();
};

/// The one place where a kernel is started, on the context's stream. An error names the kernel and
/// the geometry.
template <class... P, class... A>
void launch(Context& context, const Launch& how, void (*kernel)(P...), A&&... args) {
  context.health().require_usable(how.kernel);
  const std::int64_t blocks =
      context.grid(how.blocks, context.resident_blocks(kernel, how.threads));
  const OnDevice current = context.here();
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned int>(blocks));
  config.blockDim = dim3(how.threads);
  config.stream = context.stream().get();
  const cudaError_t status = cudaLaunchKernelEx(&config, kernel, std::forward<A>(args)...);
  if (status == cudaSuccess) return;
  context.health().check(status,
                         std::string("launch of ") + how.kernel + " with " +
                             std::to_string(blocks) + " blocks of " + std::to_string(how.threads) +
                             " threads",
                         how.where);
}

}  // namespace cuthresh::cuda
