#include "cuda/backend_impl.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::cuda {
namespace {
[[noreturn]] void pool_missing() {
  throw InternalError({"pool", "not in this room yet", "", ""});
}
}  // namespace
void CudaBackend::pool_forward(const PoolForward&) {
  pool_missing();
}
void CudaBackend::pool_backward(const PoolBackward&) {
  pool_missing();
}
}  // namespace cuthresh::cuda
