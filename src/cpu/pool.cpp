#include "cpu/backend_impl.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::cpu {
namespace {
[[noreturn]] void pool_missing() {
  throw InternalError({"pool", "not in this room yet", "", ""});
}
}  // namespace
void CpuBackend::pool_forward(const PoolForward&) {
  pool_missing();
}
void CpuBackend::pool_backward(const PoolBackward&) {
  pool_missing();
}
}  // namespace cuthresh::cpu
