#include "core/registry.hpp"

#include "cpu/cpu_backend.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh {

ChosenBackend make_backend(const BackendOptions& options) {
  if (options.device == "cuda") {
    throw InputError(
        {"run.device", "this build has no CUDA room", "cuda", "use device = \"cpu\" or \"auto\""});
  }
  if (options.device != "auto" && options.device != "cpu") {
    throw InputError({"run.device", "unknown device", options.device, "use auto, cpu or cuda"});
  }
  ChosenBackend chosen;
  chosen.backend = cpu::make_cpu_backend(options.engine, options.threads);
  chosen.why = chosen.backend->description();
  if (options.device == "auto") chosen.why += ": this build has no CUDA room";
  return chosen;
}

}  // namespace cuthresh
