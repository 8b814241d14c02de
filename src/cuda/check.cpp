#include "cuda/check.hpp"

#include "cuthresh/error.hpp"

namespace cuthresh::cuda {
namespace {

/// After these the CUDA context is lost: a kernel did something that hardware or driver stopped.
bool is_sticky(cudaError_t status) {
  switch (status) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorIllegalInstruction:
    case cudaErrorHardwareStackError:
    case cudaErrorECCUncorrectable:
    case cudaErrorUnknown:
      return true;
    default:
      return false;
  }
}

/// "src/cuda/prox.cu:40", whatever folder the compiler was started in.
std::string place(const std::source_location& where) {
  const std::string_view file = where.file_name();
  const std::size_t at = file.rfind("src/cuda/");
  return std::string(at == std::string_view::npos ? file : file.substr(at)) + ":" +
         std::to_string(where.line());
}

}  // namespace

std::string error_text(cudaError_t status) {
  return std::string(cudaGetErrorName(status)) + " (" + std::to_string(static_cast<int>(status)) +
         "): " + cudaGetErrorString(status);
}

bool Health::remember(cudaError_t status, std::string_view call,
                      const std::source_location& where) {
  // An error that belongs to one call is taken back, so that the next one does not report it again;
  // one that stays after that is sticky, whatever its name.
  (void)cudaGetLastError();
  if (!is_sticky(status) && cudaPeekAtLastError() != status) return false;
  if (first_.empty()) {
    first_ = std::string(call) + " at " + place(where) + ": " + error_text(status);
  }
  return true;
}

void Health::check(cudaError_t status, std::string_view call, std::source_location where) {
  require_usable(call);
  if (status == cudaSuccess) return;
  const bool lost = remember(status, call, where);
  throw InternalError(
      {"CUDA, " + std::string(call) + " at " + place(where),
       lost ? "a CUDA error that the context does not survive; it is unusable from here on"
            : "a CUDA call failed",
       error_text(status),
       lost ? "start the process again; compute-sanitizer finds the kernel at fault"
            : "check driver, device and memory with nvidia-smi"});
}

void Health::note(cudaError_t status, std::string_view call, std::source_location where) noexcept {
  if (status == cudaSuccess || !usable()) return;
  try {
    remember(status, call, where);
  } catch (...) {  // out of host memory: the next call that is checked reports the error itself
  }
}

void Health::require_usable(std::string_view call) const {
  if (usable()) return;
  throw InternalError({"CUDA, " + std::string(call),
                       "the context is unusable after an error that was first seen by " + first_,
                       "", "start the process again"});
}

}  // namespace cuthresh::cuda
