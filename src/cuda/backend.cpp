#include <memory>

#include "cuda/backend_impl.hpp"
#include "cuda/cuda_backend.hpp"
#include "cuda/device.hpp"

namespace cuthresh::cuda {
namespace {

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace

CudaBackend::CudaBackend(int device, Precision precision, std::optional<StreamView> stream)
    : context_(device, precision, stream), precision_(precision) {}

std::string CudaBackend::description() const {
  return "cuda (" + context_.name() + ", " + blas_description() + ", " +
         (precision_ == Precision::kTf32 ? "tf32" : "fp32") + ")";
}

std::string CudaBackend::unsupported(Operation operation) const {
  if (operation == Operation::kDense) return blas_library().missing;
  if (operation == Operation::kConv) return dnn_library().missing;
  if (operation == Operation::kGraph && context_.stream().get() == nullptr) {
    return "the default stream cannot be captured";
  }
  if (operation == Operation::kHostMemory) return "a GPU reads its own memory";
  return {};
}

std::string unavailable(int device) {
  int count = 0;  // left alone on an error
  cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver) {
    return "no CUDA device: " + error_text(status) +
           "; there is no NVIDIA driver, or one older than CUDA " + version_text(CUDART_VERSION);
  }
  if (status != cudaSuccess) return "no CUDA device: " + error_text(status);
  if (count == 0) return "no CUDA device: none is visible, see CUDA_VISIBLE_DEVICES";

  if (device < 0 || device >= count) {
    return "no CUDA device " + std::to_string(device) + ": there " +
           (count == 1 ? "is one, 0" : "are " + std::to_string(count) + ", from 0 on");
  }

  int pools = 0;
  status = cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, device);
  if (status == cudaSuccess && pools == 0) {
    return "the CUDA device has no stream-ordered memory pools";
  }
  if (status == cudaSuccess) {
    Health health;
    const OnDevice current(health, device);
    status = probe_kernels();
  }
  if (status != cudaSuccess) {
    (void)cudaGetLastError();
    return "the CUDA device cannot run this build's kernels: " + error_text(status);
  }
  return {};
}

std::unique_ptr<Backend> make_cuda_backend(Precision precision, int device,
                                           std::optional<void*> stream) {
  std::optional<StreamView> callers;
  if (stream) callers = StreamView::callers(*stream);
  return std::make_unique<CudaBackend>(device, precision, callers);
}

}  // namespace cuthresh::cuda
