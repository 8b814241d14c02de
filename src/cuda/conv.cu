#include "backend/checks_conv.hpp"
#include "cuda/backend_impl.hpp"
#include "cuda/dense_epilogue.hpp"
#include "cuda/launch.hpp"
#include "kernels/block/conv_filter.cuh"

namespace cuthresh::cuda {
namespace {

constexpr std::uint32_t kConvThreads = 256;

std::size_t conv_bytes(std::int64_t count) {
  return static_cast<std::size_t>(count) * sizeof(float);
}

float* conv_scratch(Context& context, Scratch which, std::int64_t count) {
  return static_cast<float*>(context.scratch(which, conv_bytes(count)));
}

/// The output as the matrix that an epilogue sees.
DenseShape conv_matrix(const ConvShape& s) {
  return {s.rows * s.out().positions(), s.in.channels, s.out_channels, s.activation, s.leaky_slope};
}

/// The weights in cuDNN's order. One buffer serves all passes: they follow each other on one
/// stream.
const float* conv_filter(Context& context, const ConvShape& s, const float* w) {
  float* filter = conv_scratch(context, Scratch::kConvFilter, s.weights());
  launch(context,
         {"conv_filter_kernel", conv_filter_tiles(s.weights(), kConvThreads), kConvThreads},
         conv_filter_kernel<kConvThreads>, filter, w, s.out_channels, s.in.channels,
         s.window.elements());
  return filter;
}

void conv_run(Context& context, DnnPass pass, const ConvShape& s, const float* first,
              const float* second, float* to) {
  const DnnConvolution& convolution = context.dnn().prepare(pass, s);
  context.dnn().run(convolution, first, second, to,
                    context.scratch(Scratch::kConvWorkspace, convolution.workspace));
}

}  // namespace

void CudaBackend::conv_forward(const ConvForward& args) {
  check_conv(args);
  const ConvShape& s = args.shape;
  if (s.rows == 0) return;
  conv_run(context_, DnnPass::kForward, s, args.x, conv_filter(context_, s, args.w), args.y);
  if (args.b == nullptr && s.activation == Activation::kIdentity) return;
  const float* bias = args.b;
  if (bias == nullptr) {
    float* zeros = conv_scratch(context_, Scratch::kConvBias, s.out_channels);
    context_.zero(zeros, conv_bytes(s.out_channels));
    bias = zeros;
  }
  enqueue_bias_activation(context_, conv_matrix(s), bias, args.z, args.y);
}

void CudaBackend::conv_backward(const ConvBackward& args) {
  check_conv(args);
  const ConvShape& s = args.shape;
  if (s.rows == 0) {
    if (args.accumulate) return;
    context_.zero(args.dw, conv_bytes(s.weights()));
    if (args.db != nullptr) context_.zero(args.db, conv_bytes(s.out_channels));
    return;
  }
  if (args.db != nullptr || s.activation != Activation::kIdentity) {
    const float* kept = needs_preactivation(s.activation) ? args.z : args.y;
    // Without a bias its gradient is summed all the same, for nobody.
    float* db =
        args.db != nullptr ? args.db : conv_scratch(context_, Scratch::kConvBias, s.out_channels);
    enqueue_activation_backward(context_, conv_matrix(s), kept, args.dy, db,
                                args.accumulate && args.db != nullptr);
  }
  float* gradient = conv_scratch(context_, Scratch::kConvFilter, s.weights());
  conv_run(context_, DnnPass::kFilter, s, args.x, args.dy, gradient);
  launch(
      context_,
      {"conv_filter_gradient_kernel", conv_filter_tiles(s.weights(), kConvThreads), kConvThreads},
      conv_filter_gradient_kernel<kConvThreads>, args.dw, gradient, s.out_channels, s.in.channels,
      s.window.elements(), args.accumulate);
  if (args.dx == nullptr) return;
  conv_run(context_, DnnPass::kData, s, args.dy, conv_filter(context_, s, args.w), args.dx);
}

}  // namespace cuthresh::cuda
