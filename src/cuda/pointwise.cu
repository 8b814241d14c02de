#include "cuda/backend_impl.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::cuda {
namespace {
[[noreturn]] void pointwise_missing() {
  throw InternalError({"pointwise", "not in this room yet", "", ""});
}
}  // namespace
void CudaBackend::pointwise_forward(const PointwiseForward&) {
  pointwise_missing();
}
void CudaBackend::pointwise_backward(const PointwiseBackward&) {
  pointwise_missing();
}
void CudaBackend::dropout(const Dropout&) {
  pointwise_missing();
}
void CudaBackend::add(float*, const float*, std::int64_t) {
  pointwise_missing();
}
void CudaBackend::transpose_samples(float*, const float*, std::int64_t, std::int64_t,
                                    std::int64_t) {
  pointwise_missing();
}
}  // namespace cuthresh::cuda
