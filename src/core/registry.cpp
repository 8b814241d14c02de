#include "core/registry.hpp"

#include "cpu/cpu_backend.hpp"
#include "cuthresh/error.hpp"

#if defined(CTH_WITH_CUDA)
#include "cuda/cuda_backend.hpp"
#endif

namespace cuthresh {
namespace {

/// A GPU's backend, or why there is none.
struct Gpu {
  std::unique_ptr<Backend> backend;
  std::string reason;
};

#if defined(CTH_WITH_CUDA)

Gpu find_gpu(const BackendOptions& options) {
  Gpu gpu;
  gpu.reason = cuda::unavailable(options.device_index);
  if (!gpu.reason.empty()) return gpu;
  try {
    const auto precision =
        options.precision == "tf32" ? cuda::Precision::kTf32 : cuda::Precision::kFp32;
    gpu.backend = cuda::make_cuda_backend(precision, options.device_index, options.stream);
  } catch (const InternalError& error) {  // e.g. a device that another process has for itself
    gpu.reason = error.what();
    return gpu;
  }
  if (!options.networks) return gpu;
  // Without matrix products no network trains there.
  gpu.reason = gpu.backend->unsupported(Operation::kDense);
  if (!gpu.reason.empty()) gpu.backend.reset();
  return gpu;
}

#else

Gpu find_gpu(const BackendOptions&) {
  return {nullptr, "this build has no CUDA room"};
}

#endif

}  // namespace

ChosenBackend make_backend(const BackendOptions& options) {
  if (options.device != "auto" && options.device != "cpu" && options.device != "cuda") {
    throw InputError({"run.device", "unknown device", options.device, "use auto, cpu or cuda"});
  }
  if (options.precision != "fp32" && options.precision != "tf32") {
    throw InputError({"run.precision", "unknown precision", options.precision, "use fp32 or tf32"});
  }
  ChosenBackend chosen;
  std::string reason;
  if (options.device != "cpu") {
    Gpu gpu = find_gpu(options);
    if (gpu.backend != nullptr) {
      chosen.backend = std::move(gpu.backend);
      chosen.why = chosen.backend->description();
      return chosen;
    }
    if (options.device == "cuda") {
      throw InputError({"run.device", "CUDA cannot be used: " + gpu.reason, "cuda",
                        "use device = \"cpu\" or \"auto\""});
    }
    reason = ": " + gpu.reason;
  }
  if (options.device == "cpu" && options.device_index != 0) {
    throw InputError({"run.device", "the CPU has no device of this number",
                      std::to_string(options.device_index), "use 0, or device = \"cuda\""});
  }
  const std::int64_t threads =
      options.rooms > 1 ? cpu::share_of_threads(options.threads, options.rooms) : options.threads;
  chosen.backend = cpu::make_cpu_backend(options.engine, threads);
  if (options.device == "cpu" && options.stream) chosen.backend->set_stream(*options.stream);
  chosen.why = chosen.backend->description() + reason;
  return chosen;
}

}  // namespace cuthresh
