#include "cpu/backend_impl.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::cpu {
namespace {
[[noreturn]] void images_missing() {
  throw InternalError({"images", "not in this room yet", "", ""});
}
}  // namespace
void CpuBackend::gather_images(const GatherImages&) {
  images_missing();
}
}  // namespace cuthresh::cpu
