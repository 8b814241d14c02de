#include "cuda/backend_impl.hpp"

namespace cuthresh::cuda {

void* CudaBackend::allocate(std::size_t bytes) {
  return context_.allocate(bytes);
}

void CudaBackend::deallocate(void* pointer) noexcept {
  context_.deallocate(pointer);
}

void CudaBackend::upload(void* to, const void* from, std::size_t bytes) {
  context_.upload(to, from, bytes);
}

void CudaBackend::copy(void* to, const void* from, std::size_t bytes) {
  context_.copy(to, from, bytes);
}

void CudaBackend::zero(void* to, std::size_t bytes) {
  context_.zero(to, bytes);
}

void CudaBackend::download(void* to, const void* from, std::size_t bytes) {
  context_.to_host(to, from, bytes);
}

void CudaBackend::synchronize() {
  context_.synchronize();
}

void CudaBackend::set_stream(void* stream) {
  context_.set_stream(StreamView::callers(stream));
}

void CudaBackend::throttle(std::int64_t steps) {
  context_.throttle(steps);
}

}  // namespace cuthresh::cuda
