#pragma once

#include <cublas_v2.h>

#include <cstdint>
#include <string>

#include "cuda/check.hpp"
#include "cuda/cuda_backend.hpp"
#include "cuda/stream.hpp"

namespace cuthresh::cuda {

/// What is used of cuBLAS, by address: the library is loaded on first use, so that the program
/// starts at once and also where there is none.
struct BlasLibrary {
  decltype(&cublasCreate_v2) create = nullptr;
  decltype(&cublasDestroy_v2) destroy = nullptr;
  decltype(&cublasSetStream_v2) set_stream = nullptr;
  decltype(&cublasSetWorkspace_v2) set_workspace = nullptr;
  decltype(&cublasSetMathMode) set_math_mode = nullptr;
  decltype(&cublasSgemm_v2) sgemm = nullptr;
  decltype(&cublasGetVersion_v2) get_version = nullptr;
  decltype(&cublasGetStatusString) status_string = nullptr;
  std::string missing;  ///< why there is no cuBLAS; empty when there is one
};

/// Loads cuBLAS at the first call.
const BlasLibrary& blas_library();
/// "cuBLAS 13.1", or "no cuBLAS".
std::string blas_description();

/// c [m, n] = op(a)·op(b) (+ c when accumulating), all row-major and dense in device memory.
struct MatrixProduct {
  bool transpose_a = false;  ///< a is [k, m]
  bool transpose_b = false;  ///< b is [n, k]
  std::int64_t m = 0, n = 0, k = 0;
  const float* a = nullptr;
  const float* b = nullptr;
  bool accumulate = false;
  float* c = nullptr;
};

/// A cuBLAS handle on one stream at a time. Its workspace is ours: cuBLAS would otherwise allocate,
/// which a captured graph cannot hold, and results would depend on which stream came first.
class Blas {
 public:
  Blas(Health& health, int device, StreamView stream, void* workspace, std::size_t workspace_bytes,
       Precision precision);
  ~Blas();
  Blas(const Blas&) = delete;
  Blas& operator=(const Blas&) = delete;

  void set_stream(StreamView stream);
  void multiply(const MatrixProduct& product);

 private:
  void check(cublasStatus_t status, const char* call) const;

  Health& health_;
  int device_;
  const BlasLibrary& library_;
  void* workspace_;
  std::size_t workspace_bytes_;
  cublasHandle_t handle_ = nullptr;
};

}  // namespace cuthresh::cuda
