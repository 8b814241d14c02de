#include "cuda/blas.hpp"

#include <limits>

#include "cuda/device.hpp"
#include "cuthresh/error.hpp"

#if !defined(CTH_INTERPRETED)
#include "cuda/shared_library.hpp"
#endif

namespace cuthresh::cuda {
namespace {

#if defined(CTH_INTERPRETED)

// tests/simt brings its own cuBLAS, linked.
BlasLibrary load() {
  return {&cublasCreate_v2,       &cublasDestroy_v2,      &cublasSetStream_v2,
          &cublasSetWorkspace_v2, &cublasSetMathMode,     &cublasSgemm_v2,
          &cublasGetVersion_v2,   &cublasGetStatusString, {}};
}

#else

BlasLibrary load() {
  BlasLibrary blas;
  const std::string soname = "libcublas.so." + std::to_string(CUBLAS_VER_MAJOR);
  const SharedLibrary library = SharedLibrary::open({soname.c_str()}, blas.missing);
  library.find("cublasCreate_v2", blas.create, blas.missing);
  library.find("cublasDestroy_v2", blas.destroy, blas.missing);
  library.find("cublasSetStream_v2", blas.set_stream, blas.missing);
  library.find("cublasSetWorkspace_v2", blas.set_workspace, blas.missing);
  library.find("cublasSetMathMode", blas.set_math_mode, blas.missing);
  library.find("cublasSgemm_v2", blas.sgemm, blas.missing);
  library.find("cublasGetVersion_v2", blas.get_version, blas.missing);
  library.find("cublasGetStatusString", blas.status_string, blas.missing);
  return blas;
}

#endif

/// cuBLAS counts in int.
int narrow(std::int64_t extent, const char* name) {
  if (extent <= std::numeric_limits<int>::max()) return static_cast<int>(extent);
  throw InternalError({"cublasSgemm",
                       std::string(name) + " of a matrix product is above cuBLAS's limit, " +
                           std::to_string(std::numeric_limits<int>::max()),
                       std::to_string(extent), "use smaller batches or narrower layers"});
}

}  // namespace

const BlasLibrary& blas_library() {
  static const BlasLibrary library = load();  // addresses only; handles belong to a context
  return library;
}

std::string blas_description() {
  const BlasLibrary& library = blas_library();
  int version = 0;  // of the library; no handle is needed
  if (!library.missing.empty() || library.get_version(nullptr, &version) != CUBLAS_STATUS_SUCCESS) {
    return "no cuBLAS";
  }
  return "cuBLAS " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100);
}

Blas::Blas(Health& health, int device, StreamView stream, void* workspace,
           std::size_t workspace_bytes, Precision precision)
    : health_(health),
      device_(device),
      library_(blas_library()),
      workspace_(workspace),
      workspace_bytes_(workspace_bytes) {
  if (!library_.missing.empty()) {
    throw InternalError({"cuBLAS", "not available", library_.missing,
                         "install CUDA's cuBLAS, or use device = \"cpu\""});
  }
  check(library_.create(&handle_), "cublasCreate");
  try {
    set_stream(stream);
    check(library_.set_math_mode(handle_, precision == Precision::kTf32 ? CUBLAS_TF32_TENSOR_OP_MATH
                                                                        : CUBLAS_DEFAULT_MATH),
          "cublasSetMathMode");
  } catch (...) {
    (void)library_.destroy(handle_);
    throw;
  }
}

Blas::~Blas() {
  (void)library_.destroy(handle_);
}

void Blas::set_stream(StreamView stream) {
  // The stream first: setting it takes a workspace back.
  check(library_.set_stream(handle_, stream.get()), "cublasSetStream");
  check(library_.set_workspace(handle_, workspace_, workspace_bytes_), "cublasSetWorkspace");
}

// A row-major matrix is the transpose of a column-major one with the same bytes, so cuBLAS is asked
// for cᵀ = op(b)ᵀ·op(a)ᵀ: the factors change places and keep their flags.
void Blas::multiply(const MatrixProduct& p) {
  health_.require_usable("cublasSgemm");
  const OnDevice current(health_, device_);
  const int m = narrow(p.n, "a column count");
  const int n = narrow(p.m, "a row count");
  const int k = narrow(p.k, "an inner extent");
  const float one = 1.0f;
  const float beta = p.accumulate ? 1.0f : 0.0f;
  check(library_.sgemm(handle_, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                       p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, m, n, k, &one, p.b,
                       p.transpose_b ? k : m, p.a, p.transpose_a ? n : k, &beta, p.c, m),
        "cublasSgemm");
}

void Blas::check(cublasStatus_t status, const char* call) const {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  // A sticky CUDA error shows up here as "execution failed": say what is behind it.
  health_.check(cudaPeekAtLastError(), call);
  throw InternalError({std::string("CUDA, ") + call, "a cuBLAS call failed",
                       std::string(library_.status_string(status)) + " (" +
                           std::to_string(static_cast<int>(status)) + ")",
                       "check driver, device and memory with nvidia-smi"});
}

}  // namespace cuthresh::cuda
