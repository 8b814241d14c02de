#include "cuda/backend_impl.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::cuda {
namespace {
[[noreturn]] void images_missing() {
  throw InternalError({"images", "not in this room yet", "", ""});
}
}  // namespace
void CudaBackend::gather_images(const GatherImages&) {
  images_missing();
}
}  // namespace cuthresh::cuda
