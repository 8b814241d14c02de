#include "cpu/backend_impl.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::cpu {
namespace {
[[noreturn]] void conv_missing() {
  throw InternalError({"conv", "not in this room yet", "", ""});
}
}  // namespace
void CpuBackend::conv_forward(const ConvForward&) {
  conv_missing();
}
void CpuBackend::conv_backward(const ConvBackward&) {
  conv_missing();
}
}  // namespace cuthresh::cpu
