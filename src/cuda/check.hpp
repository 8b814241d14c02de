#pragma once

#include <cuda_runtime.h>

#include <source_location>
#include <string>
#include <string_view>

namespace cuthresh::cuda {

/// "cudaErrorMemoryAllocation (2): out of memory".
std::string error_text(cudaError_t status);

/// What CUDA said so far on this context. Most errors concern one call. After some, an illegal
/// address in a kernel for one, every later call of the process fails alike: these are remembered
/// with the call that first saw them, which is not the one at fault, as kernels report late.
class Health {
 public:
  /// Throws InternalError when `status` is an error, or when an earlier one has left the context
  /// unusable. `call` names what returned it.
  void check(cudaError_t status, std::string_view call,
             std::source_location where = std::source_location::current());
  /// The same without throwing, for destructors.
  void note(cudaError_t status, std::string_view call,
            std::source_location where = std::source_location::current()) noexcept;
  /// Throws when the context is unusable; before work that would be lost.
  void require_usable(std::string_view call) const;
  bool usable() const noexcept { return first_.empty(); }

 private:
  bool remember(cudaError_t status, std::string_view call, const std::source_location& where);

  std::string first_;  // the call that first saw a sticky error, and the error
};

}  // namespace cuthresh::cuda
