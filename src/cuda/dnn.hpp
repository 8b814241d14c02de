#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "backend/image_ops.hpp"
#include "cuda/check.hpp"
#include "cuda/cuda_backend.hpp"
#include "cuda/dnn_api.hpp"
#include "cuda/stream.hpp"

namespace cuthresh::cuda {

/// What is used of cuDNN, by address: loaded on first use, as cuBLAS is (blas.hpp).
struct DnnLibrary {
  decltype(&cudnnGetVersion) get_version = nullptr;
  decltype(&cudnnGetErrorString) error_string = nullptr;
  decltype(&cudnnCreate) create = nullptr;
  decltype(&cudnnDestroy) destroy = nullptr;
  decltype(&cudnnSetStream) set_stream = nullptr;
  decltype(&cudnnCreateTensorDescriptor) create_tensor = nullptr;
  decltype(&cudnnDestroyTensorDescriptor) destroy_tensor = nullptr;
  decltype(&cudnnSetTensor4dDescriptorEx) set_tensor = nullptr;
  decltype(&cudnnCreateFilterDescriptor) create_filter = nullptr;
  decltype(&cudnnDestroyFilterDescriptor) destroy_filter = nullptr;
  decltype(&cudnnSetFilter4dDescriptor) set_filter = nullptr;
  decltype(&cudnnCreateConvolutionDescriptor) create_convolution = nullptr;
  decltype(&cudnnDestroyConvolutionDescriptor) destroy_convolution = nullptr;
  decltype(&cudnnSetConvolution2dDescriptor) set_convolution = nullptr;
  decltype(&cudnnSetConvolutionMathType) set_math_type = nullptr;
  decltype(&cudnnGetConvolutionForwardAlgorithm_v7) forward_algorithms = nullptr;
  decltype(&cudnnGetConvolutionForwardWorkspaceSize) forward_workspace = nullptr;
  decltype(&cudnnConvolutionForward) forward = nullptr;
  decltype(&cudnnGetConvolutionBackwardDataAlgorithm_v7) data_algorithms = nullptr;
  decltype(&cudnnGetConvolutionBackwardDataWorkspaceSize) data_workspace = nullptr;
  decltype(&cudnnConvolutionBackwardData) backward_data = nullptr;
  decltype(&cudnnGetConvolutionBackwardFilterAlgorithm_v7) filter_algorithms = nullptr;
  decltype(&cudnnGetConvolutionBackwardFilterWorkspaceSize) filter_workspace = nullptr;
  decltype(&cudnnConvolutionBackwardFilter) backward_filter = nullptr;
  std::string missing;  ///< why there is no cuDNN; empty when there is one
};

/// Loads cuDNN at the first call.
const DnnLibrary& dnn_library();
/// "cuDNN 9.19", or "no cuDNN".
std::string dnn_description();

enum class DnnPass : std::uint8_t { kForward, kData, kFilter };

/// One pass of one shape, ready to run: descriptors, and the algorithm that was chosen.
class DnnConvolution {
 public:
  DnnConvolution(const DnnLibrary& dnn, DnnPass which) : library(dnn), pass(which) {}
  ~DnnConvolution();
  DnnConvolution(const DnnConvolution&) = delete;
  DnnConvolution& operator=(const DnnConvolution&) = delete;

  const DnnLibrary& library;
  DnnPass pass;
  cudnnTensorDescriptor_t x = nullptr;
  cudnnTensorDescriptor_t y = nullptr;
  cudnnFilterDescriptor_t w = nullptr;
  cudnnConvolutionDescriptor_t convolution = nullptr;
  int algorithm = -1;
  std::size_t workspace = 0;  ///< bytes
};

/// A cuDNN handle on one stream at a time, and what it has prepared. Images and weights are
/// channels-last, [rows, height, width, channels] and [out, height, width, in]: the one combination
/// in which cuDNN documents all three passes for float32. Algorithms are deterministic.
class Dnn {
 public:
  Dnn(Health& health, int device, StreamView stream, Precision precision);
  ~Dnn();
  Dnn(const Dnn&) = delete;
  Dnn& operator=(const Dnn&) = delete;

  void set_stream(StreamView stream);
  /// Prepared at the first call for a shape (activation aside), then only looked up.
  const DnnConvolution& prepare(DnnPass pass, const ConvShape& shape);
  /// kForward: y from x and w; kData: dx from dy and w; kFilter: dw from x and dy. `workspace`
  /// holds the bytes that the convolution asks for.
  void run(const DnnConvolution& convolution, const float* first, const float* second, float* to,
           void* workspace);

 private:
  using Key = std::pair<DnnPass, ConvShape>;
  void describe(DnnConvolution& convolution, const ConvShape& shape);
  void choose(DnnConvolution& convolution, const ConvShape& shape);
  void check(cudnnStatus_t status, const char* call) const;

  Health& health_;
  int device_;
  const DnnLibrary& library_;
  Precision precision_;
  cudnnHandle_t handle_ = nullptr;
  std::map<Key, std::unique_ptr<DnnConvolution>> prepared_;
};

}  // namespace cuthresh::cuda
