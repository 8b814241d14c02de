// cuBLAS's matrix product for the interpreted room.

#include <cublas_v2.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "simt/fake_cuda/state.hpp"

struct cublasContext {
  cudaStream_t stream = nullptr;
  bool own_workspace = false;  // the caller's, that is
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
  cublasPointerMode_t pointer_mode = CUBLAS_POINTER_MODE_HOST;
};

using cuthresh::simt::Call;
using cuthresh::simt::CallKind;
using namespace cuthresh::simt::fake;

namespace {

struct Product {
  bool transpose_a, transpose_b;
  int m, n, k;
  const void* alpha;
  const float* a;
  int lda;
  const float* b;
  int ldb;
  const void* beta;
  float* c;
  int ldc;
  bool tf32;
};

std::set<cublasHandle_t>& handles() {
  static std::set<cublasHandle_t> live;
  return live;
}

// The driver's errors in cuBLAS's terms.
cublasStatus_t to_status(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return CUBLAS_STATUS_SUCCESS;
    case cudaErrorMemoryAllocation:
      return CUBLAS_STATUS_ALLOC_FAILED;
    case cudaErrorInvalidValue:
      return CUBLAS_STATUS_INVALID_VALUE;
    case cudaErrorInvalidResourceHandle:
    case cudaErrorInsufficientDriver:
    case cudaErrorNoDevice:
      return CUBLAS_STATUS_NOT_INITIALIZED;
    case cudaErrorNotSupported:
      return CUBLAS_STATUS_NOT_SUPPORTED;
    default:
      return CUBLAS_STATUS_EXECUTION_FAILED;
  }
}

template <class F>
cublasStatus_t blas_api(const char* name, CallKind kind, cublasHandle_t handle,
                        const Traits& traits, F body) {
  Call call;
  call.name = name;
  call.kind = kind;
  const bool live = handle != nullptr && handles().count(handle) != 0;
  if (live) call.stream = handle->stream;
  // cuBLAS keeps its own statuses: cudaGetLastError does not show what only it saw.
  const cudaError_t before = cudaPeekAtLastError();
  const cudaError_t status = api(call, traits, [&](Call& c) {
    if (!live && kind == CallKind::kBlas) return cudaErrorInvalidResourceHandle;
    return body(c);
  });
  if (state().devices >= 0 && state().sticky == cudaSuccess) set_last_error(before);
  return to_status(status);
}

// sum[i] ← fma(a[i], b, sum[i]): the same bits with and without the instruction.
#if defined(__x86_64__)
__attribute__((target("avx2,fma"), optimize("O3"))) void add_column_fma(float* sum, const float* a,
                                                                        float b, std::size_t m) {
  for (std::size_t i = 0; i < m; ++i) sum[i] = __builtin_fmaf(a[i], b, sum[i]);
}
#endif
void add_column_plain(float* sum, const float* a, float b, std::size_t m) {
  for (std::size_t i = 0; i < m; ++i) sum[i] = std::fmaf(a[i], b, sum[i]);
}
auto* choose_add_column() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0) {
    return &add_column_fma;
  }
#endif
  return &add_column_plain;
}

/// Dense column-major copy of op(matrix), rows × columns.
std::vector<float> pack(const float* matrix, int ld, bool transpose, std::size_t rows,
                        std::size_t columns, bool tf32) {
  std::vector<float> packed(rows * columns);
  const auto stride = static_cast<std::size_t>(ld);
  for (std::size_t j = 0; j < columns; ++j) {
    for (std::size_t i = 0; i < rows; ++i) {
      const float x = transpose ? matrix[i * stride + j] : matrix[j * stride + i];
      packed[j * rows + i] = tf32 ? to_tf32(x) : x;
    }
  }
  return packed;
}

void multiply(const Product& p) {
  const auto m = static_cast<std::size_t>(p.m);
  const auto n = static_cast<std::size_t>(p.n);
  const auto k = static_cast<std::size_t>(p.k);
  float alpha = 0.0f;
  float beta = 0.0f;
  std::memcpy(&alpha, p.alpha, sizeof alpha);
  std::memcpy(&beta, p.beta, sizeof beta);
  const std::vector<float> a = pack(p.a, p.lda, p.transpose_a, m, k, p.tf32);
  const std::vector<float> b = pack(p.b, p.ldb, p.transpose_b, k, n, p.tf32);
  static auto* const add_column = choose_add_column();
  std::vector<float> sum(m);
  for (std::size_t j = 0; j < n; ++j) {
    std::fill(sum.begin(), sum.end(), 0.0f);
    for (std::size_t l = 0; l < k; ++l) add_column(sum.data(), &a[l * m], b[j * k + l], m);
    float* c = p.c + j * static_cast<std::size_t>(p.ldc);
    for (std::size_t i = 0; i < m; ++i) {
      c[i] = beta == 0.0f ? alpha * sum[i] : alpha * sum[i] + beta * c[i];
    }
  }
}

// Bytes from a matrix's first to its last element.
std::size_t extent(int rows, int columns, int ld) {
  if (rows == 0 || columns == 0) return 0;
  return (static_cast<std::size_t>(columns - 1) * static_cast<std::size_t>(ld) +
          static_cast<std::size_t>(rows)) *
         sizeof(float);
}

void require_device(const void* pointer, std::size_t bytes, const char* what) {
  if (bytes == 0 || is_device_memory(pointer, bytes)) return;
  throw cuthresh::simt::Fault(std::string("cuBLAS product: ") + what + " (" +
                              std::to_string(bytes) + " bytes) is not inside device memory");
}

cudaError_t check(const Product& p) {
  const int a_rows = p.transpose_a ? p.k : p.m;
  const int b_rows = p.transpose_b ? p.n : p.k;
  if (p.m < 0 || p.n < 0 || p.k < 0 || p.lda < std::max(1, a_rows) || p.ldb < std::max(1, b_rows) ||
      p.ldc < std::max(1, p.m) || p.alpha == nullptr || p.beta == nullptr) {
    return cudaErrorInvalidValue;
  }
  require_device(p.a, extent(a_rows, p.transpose_a ? p.m : p.k, p.lda), "A");
  require_device(p.b, extent(b_rows, p.transpose_b ? p.k : p.n, p.ldb), "B");
  require_device(p.c, extent(p.m, p.n, p.ldc), "C");
  return cudaSuccess;
}

cublasStatus_t run_product(const char* name, cublasHandle_t handle, Product p) {
  return blas_api(name, CallKind::kBlas, handle, {Capture::kAllowed, true}, [&](Call& call) {
    const cudaError_t status = check(p);
    if (status != cudaSuccess) return status;
    if (!handle->own_workspace && (any_capture() || state().recording.declared_capturing())) {
      state().recording.add_violation(std::string(call.name) +
                                      " without a workspace of the caller's during capture");
    }
    // Scalars on the host are read now, those on the device when it runs.
    if (handle->pointer_mode == CUBLAS_POINTER_MODE_DEVICE) {
      require_device(p.alpha, sizeof(float), "alpha");
      require_device(p.beta, sizeof(float), "beta");
      enqueue(call.stream, [p] { multiply(p); });
      return cudaSuccess;
    }
    float scalars[2];
    std::memcpy(&scalars[0], p.alpha, sizeof(float));
    std::memcpy(&scalars[1], p.beta, sizeof(float));
    enqueue(call.stream, [p, alpha = scalars[0], beta = scalars[1]]() {
      Product now = p;
      now.alpha = &alpha;
      now.beta = &beta;
      multiply(now);
    });
    return cudaSuccess;
  });
}

}  // namespace

extern "C" {

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  return blas_api("cublasCreate", CallKind::kHandle, nullptr, {Capture::kForbidden, false},
                  [&](Call&) {
                    *handle = new cublasContext;
                    handles().insert(*handle);
                    return cudaSuccess;
                  });
}
cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
  return blas_api("cublasDestroy", CallKind::kHandle, handle, {Capture::kForbidden, false},
                  [&](Call&) {
                    if (handles().erase(handle) == 0) return cudaErrorInvalidResourceHandle;
                    delete handle;
                    return cudaSuccess;
                  });
}
cublasStatus_t cublasGetVersion_v2(cublasHandle_t, int* version) {
  *version = CUBLAS_VER_MAJOR * 10000 + CUBLAS_VER_MINOR * 100 + CUBLAS_VER_PATCH;
  return CUBLAS_STATUS_SUCCESS;
}
const char* cublasGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_ARCH_MISMATCH:
      return "CUBLAS_STATUS_ARCH_MISMATCH";
    case CUBLAS_STATUS_MAPPING_ERROR:
      return "CUBLAS_STATUS_MAPPING_ERROR";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR:
      return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    case CUBLAS_STATUS_LICENSE_ERROR:
      return "CUBLAS_STATUS_LICENSE_ERROR";
  }
  return "CUBLAS_STATUS_UNKNOWN";
}
const char* cublasGetStatusString(cublasStatus_t status) {
  return cublasGetStatusName(status);
}
cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
  return blas_api("cublasSetStream", CallKind::kHandle, handle, {}, [&](Call& call) {
    if (handles().count(handle) == 0) return cudaErrorInvalidResourceHandle;
    handle->stream = stream;
    handle->own_workspace = false;  // as documented: back to cuBLAS's own
    call.stream = stream;
    return cudaSuccess;
  });
}
cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void* workspace, std::size_t bytes) {
  return blas_api("cublasSetWorkspace", CallKind::kHandle, handle, {}, [&](Call& call) {
    if (handles().count(handle) == 0) return cudaErrorInvalidResourceHandle;
    call.bytes = bytes;
    if (reinterpret_cast<std::uintptr_t>(workspace) % 256 != 0) return cudaErrorInvalidValue;
    require_device(workspace, bytes, "workspace");
    handle->own_workspace = bytes > 0;
    return cudaSuccess;
  });
}
cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  return blas_api("cublasSetMathMode", CallKind::kHandle, handle, {}, [&](Call&) {
    if (handles().count(handle) == 0) return cudaErrorInvalidResourceHandle;
    handle->math = mode;
    return cudaSuccess;
  });
}
cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t handle, cublasPointerMode_t mode) {
  return blas_api("cublasSetPointerMode", CallKind::kHandle, handle, {}, [&](Call&) {
    if (handles().count(handle) == 0) return cudaErrorInvalidResourceHandle;
    handle->pointer_mode = mode;
    return cudaSuccess;
  });
}
cublasStatus_t cublasSgemm_v2(cublasHandle_t handle, cublasOperation_t transa,
                              cublasOperation_t transb, int m, int n, int k, const float* alpha,
                              const float* a, int lda, const float* b, int ldb, const float* beta,
                              float* c, int ldc) {
  const bool tf32 = handle != nullptr && handle->math == CUBLAS_TF32_TENSOR_OP_MATH;
  return run_product("cublasSgemm", handle,
                     {transa != CUBLAS_OP_N, transb != CUBLAS_OP_N, m, n, k, alpha, a, lda, b, ldb,
                      beta, c, ldc, tf32});
}
cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transa,
                            cublasOperation_t transb, int m, int n, int k, const void* alpha,
                            const void* a, cudaDataType a_type, int lda, const void* b,
                            cudaDataType b_type, int ldb, const void* beta, void* c,
                            cudaDataType c_type, int ldc, cublasComputeType_t compute,
                            cublasGemmAlgo_t) {
  if (a_type != CUDA_R_32F || b_type != CUDA_R_32F || c_type != CUDA_R_32F) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  return run_product("cublasGemmEx", handle,
                     {transa != CUBLAS_OP_N, transb != CUBLAS_OP_N, m, n, k, alpha,
                      static_cast<const float*>(a), lda, static_cast<const float*>(b), ldb, beta,
                      static_cast<float*>(c), ldc, compute == CUBLAS_COMPUTE_32F_FAST_TF32});
}

}  // extern "C"
