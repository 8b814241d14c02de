// cuDNN's convolutions for the interpreted room: plain loops in float64 over whatever strides the
// descriptors name. Its rankings begin with what a careful caller leaves out: algorithms that this
// device lacks, that give other bits in every run, that round to TF32.

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "simt/fake_cuda/state.hpp"
#include "src/cuda/dnn_api.hpp"

struct cudnnContext {
  cudaStream_t stream = nullptr;
};
struct cudnnTensorStruct {
  int extent[4] = {};  // n, c, h, w
  int stride[4] = {};
};
struct cudnnFilterStruct {
  cudnnTensorFormat_t format = CUDNN_TENSOR_NCHW;
  int extent[4] = {};  // out, in, h, w
};
struct cudnnConvolutionStruct {
  int pad[2] = {};
  int stride[2] = {};
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
};

using cuthresh::simt::Call;
using cuthresh::simt::CallKind;
using namespace cuthresh::simt::fake;

namespace {

constexpr auto kBadParameter = static_cast<cudnnStatus_t>(2000);
constexpr auto kUnsupported = static_cast<cudnnStatus_t>(3000);
constexpr auto kNoMemory = static_cast<cudnnStatus_t>(4004);
constexpr auto kFailed = static_cast<cudnnStatus_t>(5000);
constexpr int kNondeterministic = 0;  // algorithm 0 of both backward passes

std::set<cudnnHandle_t>& dnn_handles() {
  static std::set<cudnnHandle_t> live;
  return live;
}

cudnnStatus_t to_dnn_status(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return CUDNN_STATUS_SUCCESS;
    case cudaErrorMemoryAllocation:
      return kNoMemory;
    case cudaErrorInvalidValue:
    case cudaErrorInvalidResourceHandle:
      return kBadParameter;
    case cudaErrorNotSupported:
      return kUnsupported;
    default:
      return kFailed;
  }
}

template <class F>
cudnnStatus_t dnn_api(const char* name, CallKind kind, cudnnHandle_t handle, F body) {
  Call call;
  call.name = name;
  call.kind = kind;
  const bool live = handle != nullptr && dnn_handles().count(handle) != 0;
  if (live) call.stream = handle->stream;
  const bool work = kind == CallKind::kBlas;
  // Statuses are cuDNN's own: cudaGetLastError does not show what only it saw.
  const cudaError_t before = cudaPeekAtLastError();
  const cudaError_t status = api(call, {Capture::kAllowed, work}, [&](Call& c) {
    if (!live && work) return cudaErrorInvalidResourceHandle;
    return body(c);
  });
  if (state().devices >= 0 && state().sticky == cudaSuccess) set_last_error(before);
  return to_dnn_status(status);
}

template <class T>
cudnnStatus_t make_descriptor(const char* name, T** descriptor) {
  return dnn_api(name, CallKind::kHandle, nullptr, [&](Call&) {
    *descriptor = new T;
    return cudaSuccess;
  });
}
template <class T>
cudnnStatus_t end_descriptor(const char* name, T* descriptor) {
  return dnn_api(name, CallKind::kHandle, nullptr, [&](Call&) {
    delete descriptor;
    return cudaSuccess;
  });
}

struct Convolution {
  cudnnTensorStruct x;
  cudnnFilterStruct w;
  cudnnConvolutionStruct how;
  cudnnTensorStruct y;

  bool fits() const {
    for (int side = 0; side < 2; ++side) {
      const int room = x.extent[2 + side] + 2 * how.pad[side] - w.extent[2 + side];
      if (how.stride[side] < 1 || room < 0 || room / how.stride[side] + 1 != y.extent[2 + side]) {
        return false;
      }
    }
    return x.extent[0] == y.extent[0] && x.extent[1] == w.extent[1] && y.extent[1] == w.extent[0] &&
           w.format == CUDNN_TENSOR_NHWC && x.stride[1] == 1 && y.stride[1] == 1;
  }
  std::size_t workspace() const { return 512 + 64 * static_cast<std::size_t>(x.extent[0]); }
  bool rounds() const { return how.math != CUDNN_FMA_MATH; }

  /// f(x index, w index, y index) for every product.
  template <class F>
  void products(F f) const {
    const auto at = [](const cudnnTensorStruct& t, int n, int c, int h, int i) {
      return static_cast<std::size_t>(n) * static_cast<std::size_t>(t.stride[0]) +
             static_cast<std::size_t>(c * t.stride[1] + h * t.stride[2] + i * t.stride[3]);
    };
    for (int n = 0; n < y.extent[0]; ++n) {
      for (int h = 0; h < y.extent[2]; ++h) {
        for (int i = 0; i < y.extent[3]; ++i) {
          for (int kh = 0; kh < w.extent[2]; ++kh) {
            const int xh = h * how.stride[0] - how.pad[0] + kh;
            for (int kw = 0; kw < w.extent[3] && xh >= 0 && xh < x.extent[2]; ++kw) {
              const int xw = i * how.stride[1] - how.pad[1] + kw;
              if (xw < 0 || xw >= x.extent[3]) continue;
              for (int o = 0; o < w.extent[0]; ++o) {
                for (int c = 0; c < w.extent[1]; ++c) {
                  const int wi = ((o * w.extent[2] + kh) * w.extent[3] + kw) * w.extent[1] + c;
                  f(at(x, n, c, xh, xw), static_cast<std::size_t>(wi), at(y, n, o, h, i));
                }
              }
            }
          }
        }
      }
    }
  }
};

std::size_t size_of(const cudnnTensorStruct& t) {
  return static_cast<std::size_t>(t.extent[0]) * static_cast<std::size_t>(t.stride[0]);
}
std::size_t size_of(const cudnnFilterStruct& f) {
  return static_cast<std::size_t>(f.extent[0] * f.extent[1]) *
         static_cast<std::size_t>(f.extent[2] * f.extent[3]);
}

enum class Result : std::uint8_t { kX, kW, kY };

/// The result of one pass from the two other arrays.
cudnnStatus_t convolve(const char* name, cudnnHandle_t handle, const Convolution& conv,
                       Result which, int algorithm, const void* alpha, const void* beta,
                       const void* x, const void* w, const void* y, void* workspace,
                       std::size_t bytes) {
  return dnn_api(name, CallKind::kBlas, handle, [&](Call& call) {
    if (!conv.fits() || bytes < conv.workspace() || alpha == nullptr || beta == nullptr) {
      return cudaErrorInvalidValue;
    }
    if (which != Result::kY && algorithm == kNondeterministic) {
      throw cuthresh::simt::Fault(std::string(name) + ": a nondeterministic algorithm");
    }
    const auto require = [&](const void* pointer, std::size_t size, const char* what) {
      if (is_device_memory(pointer, size)) return;
      throw cuthresh::simt::Fault(std::string(name) + ": " + what + " (" + std::to_string(size) +
                                  " bytes) is not inside device memory");
    };
    require(x, size_of(conv.x) * sizeof(float), "x");
    require(w, size_of(conv.w) * sizeof(float), "w");
    require(y, size_of(conv.y) * sizeof(float), "y");
    require(workspace, conv.workspace(), "the workspace");
    const float scale = *static_cast<const float*>(alpha);
    const float keep = *static_cast<const float*>(beta);
    enqueue(call.stream, [=] {
      std::fill_n(static_cast<unsigned char*>(workspace), conv.workspace(), 0xA5);
      const auto* px = static_cast<const float*>(x);
      const auto* pw = static_cast<const float*>(w);
      const auto* py = static_cast<const float*>(y);
      const bool tf32 = conv.rounds();
      const auto load = [tf32](float v) { return static_cast<double>(tf32 ? to_tf32(v) : v); };
      const auto sum_up = [&](const float* result, std::size_t size, auto add) {
        std::vector<double> sums(size, 0.0);
        add(sums);
        auto* to = const_cast<float*>(result);
        for (std::size_t i = 0; i < size; ++i) {
          const float sum = scale * static_cast<float>(sums[i]);
          to[i] = keep == 0.0f ? sum : sum + keep * to[i];
        }
      };
      if (which == Result::kY) {
        sum_up(py, size_of(conv.y), [&](std::vector<double>& sums) {
          conv.products([&](std::size_t xi, std::size_t wi, std::size_t yi) {
            sums[yi] += load(px[xi]) * load(pw[wi]);
          });
        });
      } else if (which == Result::kX) {
        sum_up(px, size_of(conv.x), [&](std::vector<double>& sums) {
          conv.products([&](std::size_t xi, std::size_t wi, std::size_t yi) {
            sums[xi] += load(py[yi]) * load(pw[wi]);
          });
        });
      } else {
        sum_up(pw, size_of(conv.w), [&](std::vector<double>& sums) {
          conv.products([&](std::size_t xi, std::size_t wi, std::size_t yi) {
            sums[wi] += load(py[yi]) * load(px[xi]);
          });
        });
      }
    });
    return cudaSuccess;
  });
}

/// Four results: not supported, nondeterministic, with tensor cores, and one to take.
template <class Perf>
cudnnStatus_t rank(const char* name, const Convolution& conv, int requested, int* returned,
                   Perf* results, int plain) {
  return dnn_api(name, CallKind::kQuery, nullptr, [&](Call&) {
    if (!conv.fits()) return cudaErrorInvalidValue;
    const auto algorithm = [](int i) { return static_cast<decltype(Perf::algo)>(i); };
    const Perf all[] = {
        {algorithm(5), kUnsupported, -1.0f, 0, CUDNN_DETERMINISTIC, CUDNN_FMA_MATH, {}},
        {algorithm(0), CUDNN_STATUS_SUCCESS, 1.0f, 0, CUDNN_NON_DETERMINISTIC, CUDNN_FMA_MATH, {}},
        {algorithm(plain),
         CUDNN_STATUS_SUCCESS,
         2.0f,
         conv.workspace(),
         CUDNN_DETERMINISTIC,
         CUDNN_TENSOR_OP_MATH,
         {}},
        {algorithm(plain),
         CUDNN_STATUS_SUCCESS,
         3.0f,
         conv.workspace(),
         CUDNN_DETERMINISTIC,
         CUDNN_FMA_MATH,
         {}}};
    *returned = std::min(requested, 4);
    std::copy_n(all, *returned, results);
    return cudaSuccess;
  });
}

cudnnStatus_t ask_workspace(const char* name, const Convolution& conv, int algorithm,
                            std::size_t* bytes) {
  return dnn_api(name, CallKind::kQuery, nullptr, [&](Call&) {
    if (!conv.fits()) return cudaErrorInvalidValue;
    if (algorithm == 5) return cudaErrorNotSupported;
    *bytes = conv.workspace();
    return cudaSuccess;
  });
}

}  // namespace

extern "C" {

std::size_t cudnnGetVersion(void) {
  return 91900;
}
const char* cudnnGetErrorString(cudnnStatus_t status) {
  if (status == CUDNN_STATUS_SUCCESS) return "CUDNN_STATUS_SUCCESS";
  if (status == kBadParameter) return "CUDNN_STATUS_BAD_PARAM";
  if (status == kUnsupported) return "CUDNN_STATUS_NOT_SUPPORTED";
  if (status == kNoMemory) return "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED";
  return "CUDNN_STATUS_EXECUTION_FAILED";
}
cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  return dnn_api("cudnnCreate", CallKind::kHandle, nullptr, [&](Call&) {
    *handle = new cudnnContext;
    dnn_handles().insert(*handle);
    return cudaSuccess;
  });
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  return dnn_api("cudnnDestroy", CallKind::kHandle, handle, [&](Call&) {
    if (dnn_handles().erase(handle) == 0) return cudaErrorInvalidResourceHandle;
    delete handle;
    return cudaSuccess;
  });
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  return dnn_api("cudnnSetStream", CallKind::kHandle, handle, [&](Call& call) {
    if (dnn_handles().count(handle) == 0) return cudaErrorInvalidResourceHandle;
    handle->stream = stream;
    call.stream = stream;
    return cudaSuccess;
  });
}

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* descriptor) {
  return make_descriptor("cudnnCreateTensorDescriptor", descriptor);
}
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t descriptor) {
  return end_descriptor("cudnnDestroyTensorDescriptor", descriptor);
}
cudnnStatus_t cudnnSetTensor4dDescriptorEx(cudnnTensorDescriptor_t descriptor, cudnnDataType_t,
                                           int n, int c, int h, int w, int n_stride, int c_stride,
                                           int h_stride, int w_stride) {
  return dnn_api("cudnnSetTensor4dDescriptorEx", CallKind::kHandle, nullptr, [&](Call&) {
    if (std::min({n, c, h, w}) < 1) return cudaErrorInvalidValue;
    *descriptor = {{n, c, h, w}, {n_stride, c_stride, h_stride, w_stride}};
    return cudaSuccess;
  });
}
cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* descriptor) {
  return make_descriptor("cudnnCreateFilterDescriptor", descriptor);
}
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t descriptor) {
  return end_descriptor("cudnnDestroyFilterDescriptor", descriptor);
}
cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t descriptor, cudnnDataType_t,
                                         cudnnTensorFormat_t format, int k, int c, int h, int w) {
  return dnn_api("cudnnSetFilter4dDescriptor", CallKind::kHandle, nullptr, [&](Call&) {
    if (std::min({k, c, h, w}) < 1) return cudaErrorInvalidValue;
    *descriptor = {format, {k, c, h, w}};
    return cudaSuccess;
  });
}
cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* descriptor) {
  return make_descriptor("cudnnCreateConvolutionDescriptor", descriptor);
}
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t descriptor) {
  return end_descriptor("cudnnDestroyConvolutionDescriptor", descriptor);
}
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t descriptor,
                                              int pad_height, int pad_width, int stride_height,
                                              int stride_width, int dilation_height,
                                              int dilation_width, cudnnConvolutionMode_t mode,
                                              cudnnDataType_t) {
  return dnn_api("cudnnSetConvolution2dDescriptor", CallKind::kHandle, nullptr, [&](Call&) {
    if (dilation_height != 1 || dilation_width != 1 || mode != CUDNN_CROSS_CORRELATION) {
      return cudaErrorNotSupported;
    }
    descriptor->pad[0] = pad_height;
    descriptor->pad[1] = pad_width;
    descriptor->stride[0] = stride_height;
    descriptor->stride[1] = stride_width;
    return cudaSuccess;
  });
}
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t descriptor,
                                          cudnnMathType_t math) {
  return dnn_api("cudnnSetConvolutionMathType", CallKind::kHandle, nullptr, [&](Call&) {
    descriptor->math = math;
    return cudaSuccess;
  });
}

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t, cudnnTensorDescriptor_t x,
                                                     cudnnFilterDescriptor_t w,
                                                     cudnnConvolutionDescriptor_t convolution,
                                                     cudnnTensorDescriptor_t y, int requested,
                                                     int* returned,
                                                     cudnnConvolutionFwdAlgoPerf_t* results) {
  return rank("cudnnGetConvolutionForwardAlgorithm_v7", {*x, *w, *convolution, *y}, requested,
              returned, results, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM);
}
cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t, cudnnTensorDescriptor_t x,
                                                      cudnnFilterDescriptor_t w,
                                                      cudnnConvolutionDescriptor_t convolution,
                                                      cudnnTensorDescriptor_t y,
                                                      cudnnConvolutionFwdAlgo_t algorithm,
                                                      std::size_t* bytes) {
  return ask_workspace("cudnnGetConvolutionForwardWorkspaceSize", {*x, *w, *convolution, *y},
                       algorithm, bytes);
}
cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void* alpha,
                                      cudnnTensorDescriptor_t x_descriptor, const void* x,
                                      cudnnFilterDescriptor_t w_descriptor, const void* w,
                                      cudnnConvolutionDescriptor_t convolution,
                                      cudnnConvolutionFwdAlgo_t algorithm, void* workspace,
                                      std::size_t workspace_bytes, const void* beta,
                                      cudnnTensorDescriptor_t y_descriptor, void* y) {
  return convolve("cudnnConvolutionForward", handle,
                  {*x_descriptor, *w_descriptor, *convolution, *y_descriptor}, Result::kY,
                  algorithm, alpha, beta, x, w, y, workspace, workspace_bytes);
}

cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(
    cudnnHandle_t, cudnnFilterDescriptor_t w, cudnnTensorDescriptor_t dy,
    cudnnConvolutionDescriptor_t convolution, cudnnTensorDescriptor_t dx, int requested,
    int* returned, cudnnConvolutionBwdDataAlgoPerf_t* results) {
  return rank("cudnnGetConvolutionBackwardDataAlgorithm_v7", {*dx, *w, *convolution, *dy},
              requested, returned, results, CUDNN_CONVOLUTION_BWD_DATA_ALGO_1);
}
cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(cudnnHandle_t, cudnnFilterDescriptor_t w,
                                                           cudnnTensorDescriptor_t dy,
                                                           cudnnConvolutionDescriptor_t convolution,
                                                           cudnnTensorDescriptor_t dx,
                                                           cudnnConvolutionBwdDataAlgo_t algorithm,
                                                           std::size_t* bytes) {
  return ask_workspace("cudnnGetConvolutionBackwardDataWorkspaceSize", {*dx, *w, *convolution, *dy},
                       algorithm, bytes);
}
cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void* alpha,
                                           cudnnFilterDescriptor_t w_descriptor, const void* w,
                                           cudnnTensorDescriptor_t dy_descriptor, const void* dy,
                                           cudnnConvolutionDescriptor_t convolution,
                                           cudnnConvolutionBwdDataAlgo_t algorithm, void* workspace,
                                           std::size_t workspace_bytes, const void* beta,
                                           cudnnTensorDescriptor_t dx_descriptor, void* dx) {
  return convolve("cudnnConvolutionBackwardData", handle,
                  {*dx_descriptor, *w_descriptor, *convolution, *dy_descriptor}, Result::kX,
                  algorithm, alpha, beta, dx, w, dy, workspace, workspace_bytes);
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(
    cudnnHandle_t, cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t dy,
    cudnnConvolutionDescriptor_t convolution, cudnnFilterDescriptor_t dw, int requested,
    int* returned, cudnnConvolutionBwdFilterAlgoPerf_t* results) {
  return rank("cudnnGetConvolutionBackwardFilterAlgorithm_v7", {*x, *dw, *convolution, *dy},
              requested, returned, results, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1);
}
cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(
    cudnnHandle_t, cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t dy,
    cudnnConvolutionDescriptor_t convolution, cudnnFilterDescriptor_t dw,
    cudnnConvolutionBwdFilterAlgo_t algorithm, std::size_t* bytes) {
  return ask_workspace("cudnnGetConvolutionBackwardFilterWorkspaceSize",
                       {*x, *dw, *convolution, *dy}, algorithm, bytes);
}
cudnnStatus_t cudnnConvolutionBackwardFilter(
    cudnnHandle_t handle, const void* alpha, cudnnTensorDescriptor_t x_descriptor, const void* x,
    cudnnTensorDescriptor_t dy_descriptor, const void* dy, cudnnConvolutionDescriptor_t convolution,
    cudnnConvolutionBwdFilterAlgo_t algorithm, void* workspace, std::size_t workspace_bytes,
    const void* beta, cudnnFilterDescriptor_t dw_descriptor, void* dw) {
  return convolve("cudnnConvolutionBackwardFilter", handle,
                  {*x_descriptor, *dw_descriptor, *convolution, *dy_descriptor}, Result::kW,
                  algorithm, alpha, beta, x, dw, dy, workspace, workspace_bytes);
}

}  // extern "C"
