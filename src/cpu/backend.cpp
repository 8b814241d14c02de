#include <memory>

#include "cpu/backend_impl.hpp"
#include "cpu/cpu_backend.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::cpu {

CpuBackend::CpuBackend(std::unique_ptr<Gemm> gemm, std::unique_ptr<Conv> conv, const Loops& loops,
                       std::int64_t threads)
    : gemm_(std::move(gemm)), conv_(std::move(conv)), loops_(loops), threads_(threads) {}

std::string CpuBackend::description() const {
  const std::string threads =
      std::to_string(threads_.count()) + (threads_.count() == 1 ? " thread" : " threads");
  return "cpu (" + gemm_->name() + ", " + threads + ", " + loops_.name + ")";
}

std::string CpuBackend::unsupported(Operation operation) const {
  if (operation == Operation::kGraph) return "the CPU has no launches to save";
  if (operation == Operation::kSmallNetwork) {
    return "the CPU room has no small networks of their own: its dense layers are fused with what "
           "follows them, and a call costs it nothing";
  }
  return {};
}

void CpuBackend::small_network_step(ProxPlan&, const SmallNetworkStep&) {
  throw InternalError({"small_network_step", unsupported(Operation::kSmallNetwork), description(),
                       "pass the layers one by one, then prox_step"});
}

std::unique_ptr<Backend> make_cpu_backend(const std::string& engine, std::int64_t threads,
                                          const std::string& isa) {
  if (threads < 0 || threads > 1024) {
    throw InputError(
        {"run.threads", "out of range", std::to_string(threads), "use 0 (one a core) to 1024"});
  }
  const Loops* loops = find_loops(isa.empty() ? nullptr : isa.c_str());
  if (loops == nullptr) {
    throw InputError({"cpu loops", "this processor or build has no such instruction set", isa,
                      "use baseline, avx2 or avx512"});
  }
  std::unique_ptr<Gemm> gemm;
  std::unique_ptr<Conv> conv;
  if (engine == "reference") {
    gemm = make_reference_gemm(*loops);
  } else if (engine == "tiled") {
    gemm = make_tiled_gemm(*loops);
  } else if (engine == "auto" || engine == "onednn") {
#if defined(CTH_WITH_ONEDNN)
    gemm = make_onednn_gemm(*loops);
    conv = make_onednn_conv(*loops);
#else
    if (engine == "onednn") {
      throw InputError({"run.engine", "this build has no oneDNN", engine,
                        "use engine = \"tiled\", or install libdnnl-dev and build again"});
    }
    gemm = make_tiled_gemm(*loops);
#endif
  } else {
    throw InputError(
        {"run.engine", "unknown engine", engine, "use auto, onednn, tiled or reference"});
  }
  if (conv == nullptr) conv = make_plain_conv(*loops);
  return std::make_unique<CpuBackend>(std::move(gemm), std::move(conv), *loops, threads);
}

}  // namespace cuthresh::cpu
