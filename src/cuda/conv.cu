#include "cuda/backend_impl.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::cuda {
namespace {
[[noreturn]] void conv_missing() {
  throw InternalError({"conv", "not in this room yet", "", ""});
}
}  // namespace
void CudaBackend::conv_forward(const ConvForward&) {
  conv_missing();
}
void CudaBackend::conv_backward(const ConvBackward&) {
  conv_missing();
}
}  // namespace cuthresh::cuda
