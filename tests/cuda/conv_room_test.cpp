// What a convolution asks of CUDA and cuDNN, and what the room says when they refuse.

#include <gmock/gmock.h>

#include "cuda/room.hpp"

namespace cuthresh::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

/// Forward and backward of one layer.
class ConvStep {
 public:
  ConvStep(Backend& backend, std::int64_t rows, Activation activation, bool bias = true)
      : backend_(backend), bias_(bias) {
    shape_ = {rows, {6, 5, 3}, 8, {3, 3, 1, 1, 1, 1}, activation, 0.01f};
    Random random(19);
    const auto make = [&](std::int64_t size) {
      return Array<float>(backend, std::span<const float>(
                                       random.vector(static_cast<std::size_t>(size), -1.0f, 1.0f)));
    };
    const std::int64_t in = rows * shape_.in.elements();
    const std::int64_t out = rows * shape_.out().elements();
    x_ = make(in);
    w_ = make(shape_.weights());
    b_ = make(8);
    y_ = make(out);
    z_ = make(out);
    dy_ = make(out);
    dw_ = make(shape_.weights());
    db_ = make(8);
    dx_ = make(in);
  }

  void forward(std::int64_t rows) {
    ConvShape s = shape_;
    s.rows = rows;
    backend_.conv_forward(
        {s, x_.data(), w_.data(), bias_ ? b_.data() : nullptr, z_.data(), y_.data()});
  }
  void backward(std::int64_t rows) {
    ConvShape s = shape_;
    s.rows = rows;
    backend_.conv_backward({s, x_.data(), w_.data(), y_.data(), z_.data(), dy_.data(), dw_.data(),
                            bias_ ? db_.data() : nullptr, dx_.data(), false});
  }
  void step(std::int64_t rows) {
    forward(rows);
    backward(rows);
  }
  const Array<float>& y() const { return y_; }
  const Array<float>& dw() const { return dw_; }
  Array<float>& dy() { return dy_; }

 private:
  Backend& backend_;
  bool bias_;
  ConvShape shape_;
  Array<float> x_, w_, b_, y_, z_, dy_, dw_, db_, dx_;
};

std::string conv_violations() {
  std::string text;
  for (const std::string& violation : simt::recording().violations()) text += violation + "\n";
  return text;
}

TEST(ConvLaunchPath, NeitherWaitsNorAllocatesAfterTheFirstOfItsShapes) {
  CudaRoom room;
  ConvStep conv(*room.backend, 7, Activation::kGelu);
  conv.step(7);
  conv.step(3);  // a last short batch prepares its own
  simt::recording().clear();
  simt::recording().declare_capturing(true);
  for (int i = 0; i < 2; ++i) conv.step(7);
  conv.step(3);
  simt::recording().declare_capturing(false);
  EXPECT_EQ(simt::recording().synchronizations(), 0U);
  EXPECT_EQ(simt::recording().allocations(), 0U);
  EXPECT_EQ(simt::recording().frees(), 0U);
  EXPECT_EQ(simt::recording().count(simt::CallKind::kHandle), 0U);
  EXPECT_EQ(simt::recording().count(simt::CallKind::kHostMemory), 0U);
  EXPECT_EQ(simt::recording().bytes_to_host() + simt::recording().bytes_to_device(), 0U);
  EXPECT_EQ(simt::recording().default_stream_uses(), 0U);
  EXPECT_EQ(conv_violations(), "");
  // Weights reordered and an epilogue; back an epilogue, the gradient reordered, weights reordered.
  EXPECT_EQ(simt::recording().launches(), 3U * (2 + 3));
  EXPECT_EQ(simt::recording().count(simt::CallKind::kBlas), 3U * 3);
}

TEST(ConvLaunchPath, WithoutBiasAndActivationThereIsNoEpilogue) {
  CudaRoom room;
  ConvStep conv(*room.backend, 2, Activation::kIdentity, false);
  conv.step(2);
  simt::recording().clear();
  conv.step(2);
  EXPECT_EQ(simt::recording().launches(), 1U + 2U);
}

TEST(ConvLaunchPath, ACapturedStepRepeats) {
  CudaRoom room;
  ConvStep conv(*room.backend, 4, Activation::kRelu);
  conv.step(4);
  const std::vector<float> y = conv.y().to_host();
  cudaStream_t stream = nullptr;
  for (const simt::Call& call : simt::recording().calls()) {
    if (call.kind == simt::CallKind::kLaunch) stream = call.stream;
  }
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), cudaSuccess);
  conv.step(4);
  cudaGraph_t graph{};
  cudaGraphExec_t exec{};
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess) << conv_violations();
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
  conv.dy().zero();
  ASSERT_EQ(cudaGraphLaunch(exec, stream), cudaSuccess);
  EXPECT_EQ(conv.y().to_host(), y);
  EXPECT_THAT(conv.dw().to_host(), ::testing::Each(0.0f));
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
}

TEST(ConvLaunchPath, EverythingIsGivenBack) {
  const simt::DeviceScope machine(1);
  const std::size_t memory = simt::live_allocations();
  {
    const auto backend = cuda::make_cuda_backend(cuda::Precision::kTf32);
    ConvStep conv(*backend, 2, Activation::kRelu, false);
    conv.step(2);
    EXPECT_GT(simt::live_allocations(), memory);
  }
  EXPECT_EQ(simt::live_allocations(), memory);
  EXPECT_EQ(simt::live_streams(), 0U);
}

TEST(ConvLaunchPath, OnlyTf32RoundsTheFactors) {
  const simt::DeviceScope machine(1);
  std::vector<float> results[2];
  for (const bool tf32 : {false, true}) {
    const auto backend =
        cuda::make_cuda_backend(tf32 ? cuda::Precision::kTf32 : cuda::Precision::kFp32);
    const std::vector<float> value = {1.0f + 0x1p-20f};
    const Array<float> x(*backend, std::span<const float>(value));
    const Array<float> w(*backend, std::span<const float>(value));
    Array<float> y(*backend, 1);
    backend->conv_forward({{1, {1, 1, 1}, 1, {}}, x.data(), w.data(), nullptr, nullptr, y.data()});
    EXPECT_EQ(y.to_host()[0], tf32 ? 1.0f : value[0] * value[0]);
  }
}

TEST(ConvErrors, AFailedCallNamesItAndTheLibrary) {
  CudaRoom room;
  ConvStep conv(*room.backend, 2, Activation::kRelu);
  EXPECT_EQ(room.backend->unsupported(Operation::kConv), "");
  for (const char* call : {"cudnnConvolutionForward", "cudnnConvolutionBackwardFilter",
                           "cudnnConvolutionBackwardData"}) {
    simt::fail_next(call, cudaErrorLaunchOutOfResources);
    EXPECT_THAT(error_of([&] { conv.step(2); }),
                AllOf(HasSubstr(call), HasSubstr("cuDNN 9.19"), Not(HasSubstr("unusable"))));
    conv.step(2);  // it concerned one call
  }
}

TEST(ConvErrors, NoHandleIsAnErrorOfThatCallOnly) {
  CudaRoom room;
  ConvStep conv(*room.backend, 2, Activation::kRelu);
  simt::fail_next("cudnnCreate", cudaErrorMemoryAllocation);
  EXPECT_THAT(error_of([&] { conv.forward(2); }), HasSubstr("cudnnCreate"));
  simt::fail_next("cudnnSetStream", cudaErrorInvalidValue);
  EXPECT_THAT(error_of([&] { conv.forward(2); }), HasSubstr("cudnnSetStream"));
  conv.forward(2);
}

TEST(ConvErrors, NoAlgorithmNamesShapeAndVersion) {
  CudaRoom room;
  ConvStep conv(*room.backend, 2, Activation::kRelu);
  for (int i = 0; i < 2; ++i) {  // the ranked one, then the plain one
    simt::fail_next("cudnnGetConvolutionForwardWorkspaceSize", cudaErrorNotSupported);
  }
  EXPECT_THAT(error_of([&] { conv.forward(2); }),
              AllOf(HasSubstr("cuDNN 9.19"), HasSubstr("2 images of 6 x 5 with 3 channels"),
                    HasSubstr("window 3 x 3"), HasSubstr("512 MiB")));
  conv.forward(2);
}

TEST(ConvErrors, WithoutARankingThePlainAlgorithmIsTaken) {
  CudaRoom room;
  ConvStep conv(*room.backend, 2, Activation::kRelu);
  simt::fail_next("cudnnGetConvolutionForwardAlgorithm_v7", cudaErrorNotSupported);
  simt::fail_next("cudnnGetConvolutionBackwardDataAlgorithm_v7", cudaErrorNotSupported);
  simt::fail_next("cudnnGetConvolutionBackwardFilterAlgorithm_v7", cudaErrorNotSupported);
  conv.step(2);
}

TEST(ConvErrors, ExtentsBeyondCuDnnsAreRefused) {
  CudaRoom room;
  Array<float> memory(*room.backend, 16);
  ConvForward args{{1, {4, 4, 1}, 1, {1, 1, 1, 1}},
                   memory.data(),
                   memory.data(),
                   nullptr,
                   nullptr,
                   memory.data()};
  args.shape.rows = std::int64_t{1} << 31;
  EXPECT_THAT(error_of([&] { room.backend->conv_forward(args); }),
              AllOf(HasSubstr("the batch is above cuDNN's limit"), HasSubstr("2147483648")));
}

}  // namespace
}  // namespace cuthresh::testing
