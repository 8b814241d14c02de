#include "cuda/dnn.hpp"

#include <limits>
#include <span>
#include <utility>

#include "backend/checks_conv.hpp"
#include "cuda/device.hpp"
#include "cuthresh/error.hpp"

#if !defined(CTH_INTERPRETED)
#include "cuda/shared_library.hpp"
#endif

namespace cuthresh::cuda {
namespace {

// Larger ones are left to algorithms that need less: several layers share a device with the data.
constexpr std::size_t kMostWorkspace = std::size_t{512} << 20;

#if defined(CTH_INTERPRETED)

// tests/simt brings its own cuDNN, linked.
#define CTH_DNN_FUNCTION(member, name) dnn.member = &name
constexpr int open_dnn(DnnLibrary&) {
  return 0;
}

#else

#define CTH_DNN_FUNCTION(member, name) library.find(#name, dnn.member, dnn.missing)

SharedLibrary open_dnn(DnnLibrary& dnn) {
  return SharedLibrary::open({"libcudnn.so.9", "libcudnn.so.8"}, dnn.missing);
}

#endif

DnnLibrary load_dnn() {
  DnnLibrary dnn;
  [[maybe_unused]] const auto library = open_dnn(dnn);
  CTH_DNN_FUNCTION(get_version, cudnnGetVersion);
  CTH_DNN_FUNCTION(error_string, cudnnGetErrorString);
  CTH_DNN_FUNCTION(create, cudnnCreate);
  CTH_DNN_FUNCTION(destroy, cudnnDestroy);
  CTH_DNN_FUNCTION(set_stream, cudnnSetStream);
  CTH_DNN_FUNCTION(create_tensor, cudnnCreateTensorDescriptor);
  CTH_DNN_FUNCTION(destroy_tensor, cudnnDestroyTensorDescriptor);
  CTH_DNN_FUNCTION(set_tensor, cudnnSetTensor4dDescriptorEx);
  CTH_DNN_FUNCTION(create_filter, cudnnCreateFilterDescriptor);
  CTH_DNN_FUNCTION(destroy_filter, cudnnDestroyFilterDescriptor);
  CTH_DNN_FUNCTION(set_filter, cudnnSetFilter4dDescriptor);
  CTH_DNN_FUNCTION(create_convolution, cudnnCreateConvolutionDescriptor);
  CTH_DNN_FUNCTION(destroy_convolution, cudnnDestroyConvolutionDescriptor);
  CTH_DNN_FUNCTION(set_convolution, cudnnSetConvolution2dDescriptor);
  CTH_DNN_FUNCTION(set_math_type, cudnnSetConvolutionMathType);
  CTH_DNN_FUNCTION(forward_algorithms, cudnnGetConvolutionForwardAlgorithm_v7);
  CTH_DNN_FUNCTION(forward_workspace, cudnnGetConvolutionForwardWorkspaceSize);
  CTH_DNN_FUNCTION(forward, cudnnConvolutionForward);
  CTH_DNN_FUNCTION(data_algorithms, cudnnGetConvolutionBackwardDataAlgorithm_v7);
  CTH_DNN_FUNCTION(data_workspace, cudnnGetConvolutionBackwardDataWorkspaceSize);
  CTH_DNN_FUNCTION(backward_data, cudnnConvolutionBackwardData);
  CTH_DNN_FUNCTION(filter_algorithms, cudnnGetConvolutionBackwardFilterAlgorithm_v7);
  CTH_DNN_FUNCTION(filter_workspace, cudnnGetConvolutionBackwardFilterWorkspaceSize);
  CTH_DNN_FUNCTION(backward_filter, cudnnConvolutionBackwardFilter);
  return dnn;
}

#undef CTH_DNN_FUNCTION

/// cuDNN counts in int.
int narrow_dnn(std::int64_t extent, const char* name, const ConvShape& s) {
  if (extent <= std::numeric_limits<int>::max()) return static_cast<int>(extent);
  throw InternalError({"cuDNN convolution",
                       std::string(name) + " is above cuDNN's limit, " +
                           std::to_string(std::numeric_limits<int>::max()) + ", for " +
                           conv_text(s),
                       std::to_string(extent), "use smaller batches or images"});
}

}  // namespace

const DnnLibrary& dnn_library() {
  static const DnnLibrary library = load_dnn();  // addresses only; handles belong to a context
  return library;
}

std::string dnn_description() {
  const DnnLibrary& library = dnn_library();
  if (!library.missing.empty()) return "no cuDNN";
  const std::size_t version = library.get_version();
  const bool old = version < 10000;  // 8902: 8.9; 91900: 9.19
  return "cuDNN " + std::to_string(old ? version / 1000 : version / 10000) + "." +
         std::to_string(version / 100 % (old ? 10 : 100));
}

DnnConvolution::~DnnConvolution() {
  if (convolution != nullptr) (void)library.destroy_convolution(convolution);
  if (w != nullptr) (void)library.destroy_filter(w);
  if (y != nullptr) (void)library.destroy_tensor(y);
  if (x != nullptr) (void)library.destroy_tensor(x);
}

Dnn::Dnn(Health& health, int device, StreamView stream, Precision precision)
    : health_(health), device_(device), library_(dnn_library()), precision_(precision) {
  if (!library_.missing.empty()) {
    throw InternalError({"cuDNN", "not available", library_.missing,
                         "install cuDNN 9 or 8 for CUDA, or use device = \"cpu\""});
  }
  check(library_.create(&handle_), "cudnnCreate");
  try {
    set_stream(stream);
  } catch (...) {
    (void)library_.destroy(handle_);
    throw;
  }
}

void Dnn::set_stream(StreamView stream) {
  check(library_.set_stream(handle_, stream.get()), "cudnnSetStream");
}

Dnn::~Dnn() {
  prepared_.clear();
  (void)library_.destroy(handle_);
}

const DnnConvolution& Dnn::prepare(DnnPass pass, const ConvShape& s) {
  const Key key = {pass, s.linear()};
  const auto found = prepared_.find(key);
  if (found != prepared_.end()) return *found->second;
  health_.require_usable("cudnnGetConvolutionForwardAlgorithm_v7");
  const OnDevice current(health_, device_);
  auto made = std::make_unique<DnnConvolution>(library_, pass);
  describe(*made, s);
  choose(*made, s);
  return *prepared_.emplace(key, std::move(made)).first->second;
}

void Dnn::describe(DnnConvolution& made, const ConvShape& s) {
  const auto tensor = [&](cudnnTensorDescriptor_t& to, const ImageShape& image) {
    check(library_.create_tensor(&to), "cudnnCreateTensorDescriptor");
    const int channels = narrow_dnn(image.channels, "the channels", s);
    const int row = narrow_dnn(image.width * image.channels, "a line of an image", s);
    const int all = narrow_dnn(image.elements(), "an image", s);
    check(library_.set_tensor(to, CUDNN_DATA_FLOAT, narrow_dnn(s.rows, "the batch", s), channels,
                              narrow_dnn(image.height, "the height", s),
                              narrow_dnn(image.width, "the width", s), all, 1, row, channels),
          "cudnnSetTensor4dDescriptorEx");
  };
  tensor(made.x, s.in);
  tensor(made.y, s.out());
  const Window& w = s.window;
  check(library_.create_filter(&made.w), "cudnnCreateFilterDescriptor");
  check(library_.set_filter(made.w, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NHWC,
                            narrow_dnn(s.out_channels, "the output channels", s),
                            narrow_dnn(s.in.channels, "the channels", s),
                            narrow_dnn(w.height, "the window's height", s),
                            narrow_dnn(w.width, "the window's width", s)),
        "cudnnSetFilter4dDescriptor");
  check(library_.create_convolution(&made.convolution), "cudnnCreateConvolutionDescriptor");
  check(library_.set_convolution(made.convolution, narrow_dnn(w.pad_height, "the padding", s),
                                 narrow_dnn(w.pad_width, "the padding", s),
                                 narrow_dnn(w.stride_height, "the stride", s),
                                 narrow_dnn(w.stride_width, "the stride", s), 1, 1,
                                 CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
        "cudnnSetConvolution2dDescriptor");
  // The default would round to TF32 on Ampere and later.
  check(
      library_.set_math_type(
          made.convolution, precision_ == Precision::kTf32 ? CUDNN_TENSOR_OP_MATH : CUDNN_FMA_MATH),
      "cudnnSetConvolutionMathType");
}

/// The first algorithm of cuDNN's ranking that gives the same bits in every run, keeps the
/// precision and needs a bearable workspace; else the plain one that always has done so.
void Dnn::choose(DnnConvolution& made, const ConvShape& s) {
  const auto take = [&](int algorithm, auto workspace_of) {
    std::size_t bytes = 0;
    if (workspace_of(algorithm, &bytes) != CUDNN_STATUS_SUCCESS || bytes > kMostWorkspace) {
      return false;
    }
    made.algorithm = algorithm;
    made.workspace = bytes;
    return true;
  };
  const auto pick = [&]<class Perf>(Perf* results, auto rank, auto workspace_of, int plain,
                                    int most) {
    int returned = 0;
    if (rank(most, &returned, results) == CUDNN_STATUS_SUCCESS) {
      for (int i = 0; i < returned; ++i) {
        const Perf& perf = results[i];
        const bool rounds = perf.mathType == CUDNN_TENSOR_OP_MATH ||
                            perf.mathType == CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION;
        if (perf.status != CUDNN_STATUS_SUCCESS || perf.determinism != CUDNN_DETERMINISTIC ||
            perf.mathType == CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION ||
            (rounds && precision_ == Precision::kFp32)) {
          continue;
        }
        if (precision_ == Precision::kTf32) {
          check(library_.set_math_type(made.convolution, perf.mathType),
                "cudnnSetConvolutionMathType");
        }
        if (take(static_cast<int>(perf.algo), workspace_of)) return true;
      }
    }
    return take(plain, workspace_of);
  };
  bool found = false;
  if (made.pass == DnnPass::kForward) {
    using Algorithm = cudnnConvolutionFwdAlgo_t;
    cudnnConvolutionFwdAlgoPerf_t results[CUDNN_CONVOLUTION_FWD_ALGO_COUNT] = {};
    found = pick(
        results,
        [&](int most, int* returned, auto* to) {
          return library_.forward_algorithms(handle_, made.x, made.w, made.convolution, made.y,
                                             most, returned, to);
        },
        [&](int algorithm, std::size_t* bytes) {
          return library_.forward_workspace(handle_, made.x, made.w, made.convolution, made.y,
                                            static_cast<Algorithm>(algorithm), bytes);
        },
        CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, CUDNN_CONVOLUTION_FWD_ALGO_COUNT);
  } else if (made.pass == DnnPass::kData) {
    using Algorithm = cudnnConvolutionBwdDataAlgo_t;
    cudnnConvolutionBwdDataAlgoPerf_t results[CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT] = {};
    found = pick(
        results,
        [&](int most, int* returned, auto* to) {
          return library_.data_algorithms(handle_, made.w, made.y, made.convolution, made.x, most,
                                          returned, to);
        },
        [&](int algorithm, std::size_t* bytes) {
          return library_.data_workspace(handle_, made.w, made.y, made.convolution, made.x,
                                         static_cast<Algorithm>(algorithm), bytes);
        },
        CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT);
  } else {
    using Algorithm = cudnnConvolutionBwdFilterAlgo_t;
    cudnnConvolutionBwdFilterAlgoPerf_t results[CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT] = {};
    found = pick(
        results,
        [&](int most, int* returned, auto* to) {
          return library_.filter_algorithms(handle_, made.x, made.y, made.convolution, made.w, most,
                                            returned, to);
        },
        [&](int algorithm, std::size_t* bytes) {
          return library_.filter_workspace(handle_, made.x, made.y, made.convolution, made.w,
                                           static_cast<Algorithm>(algorithm), bytes);
        },
        CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT);
  }
  if (found) return;
  health_.check(cudaPeekAtLastError(), "cudnnGetConvolutionForwardWorkspaceSize");
  throw InternalError({"CUDA, convolution",
                       dnn_description() + " offers no deterministic algorithm with at most " +
                           std::to_string(kMostWorkspace >> 20) + " MiB of workspace",
                       conv_text(s), "use smaller batches, another window, or device = \"cpu\""});
}

void Dnn::run(const DnnConvolution& c, const float* first, const float* second, float* to,
              void* workspace) {
  const OnDevice current(health_, device_);
  const float one = 1.0f;
  const float zero = 0.0f;
  switch (c.pass) {
    case DnnPass::kForward:
      health_.require_usable("cudnnConvolutionForward");
      check(library_.forward(handle_, &one, c.x, first, c.w, second, c.convolution,
                             static_cast<cudnnConvolutionFwdAlgo_t>(c.algorithm), workspace,
                             c.workspace, &zero, c.y, to),
            "cudnnConvolutionForward");
      return;
    case DnnPass::kData:
      health_.require_usable("cudnnConvolutionBackwardData");
      check(library_.backward_data(handle_, &one, c.w, second, c.y, first, c.convolution,
                                   static_cast<cudnnConvolutionBwdDataAlgo_t>(c.algorithm),
                                   workspace, c.workspace, &zero, c.x, to),
            "cudnnConvolutionBackwardData");
      return;
    case DnnPass::kFilter:
      health_.require_usable("cudnnConvolutionBackwardFilter");
      check(library_.backward_filter(handle_, &one, c.x, first, c.y, second, c.convolution,
                                     static_cast<cudnnConvolutionBwdFilterAlgo_t>(c.algorithm),
                                     workspace, c.workspace, &zero, c.w, to),
            "cudnnConvolutionBackwardFilter");
      return;
  }
}

void Dnn::check(cudnnStatus_t status, const char* call) const {
  if (status == CUDNN_STATUS_SUCCESS) return;
  // A sticky CUDA error shows up here as "execution failed": say what is behind it.
  health_.check(cudaPeekAtLastError(), call);
  throw InternalError({std::string("CUDA, ") + call, "a call of " + dnn_description() + " failed",
                       std::string(library_.error_string(status)) + " (" +
                           std::to_string(static_cast<int>(status)) + ")",
                       "check driver, device and memory with nvidia-smi"});
}

}  // namespace cuthresh::cuda
