#include "cpu/backend_impl.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::cpu {
namespace {
[[noreturn]] void pointwise_missing() {
  throw InternalError({"pointwise", "not in this room yet", "", ""});
}
}  // namespace
void CpuBackend::pointwise_forward(const PointwiseForward&) {
  pointwise_missing();
}
void CpuBackend::pointwise_backward(const PointwiseBackward&) {
  pointwise_missing();
}
void CpuBackend::dropout(const Dropout&) {
  pointwise_missing();
}
void CpuBackend::add(float*, const float*, std::int64_t) {
  pointwise_missing();
}
void CpuBackend::transpose_samples(float*, const float*, std::int64_t, std::int64_t, std::int64_t) {
  pointwise_missing();
}
}  // namespace cuthresh::cpu
