#include "backend/activations.hpp"
#include "backend/checks_conv.hpp"
#include "cuda/backend_impl.hpp"
#include "cuda/launch.hpp"
#include "kernels/block/conv_filter.cuh"
#include "kernels/block/dense_bias.cuh"

namespace cuthresh::cuda {
namespace {

constexpr std::uint32_t kConvThreads = 256;

std::size_t conv_bytes(std::int64_t count) {
  return static_cast<std::size_t>(count) * sizeof(float);
}

float* conv_scratch(Context& context, Scratch which, std::int64_t count) {
  return static_cast<float*>(context.scratch(which, conv_bytes(count)));
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
  const std::int64_t rows = s.rows * s.out().positions();
  with_activation(s, [&]<class A>(A act) {
    launch(context_,
           {"bias_activation_kernel", bias_activation_tiles(rows, s.out_channels), kConvThreads},
           bias_activation_kernel<A, kConvThreads>, act, bias, args.z, args.y, rows,
           s.out_channels);
  });
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
    const std::int64_t rows = s.rows * s.out().positions();
    const float* kept = needs_preactivation(s.activation) ? args.z : args.y;
    // Without a bias its gradient is summed all the same, for nobody.
    float* db =
        args.db != nullptr ? args.db : conv_scratch(context_, Scratch::kConvBias, s.out_channels);
    const bool accumulate = args.accumulate && args.db != nullptr;
    float* partials = conv_scratch(context_, Scratch::kBiasPartials,
                                   activation_backward_partials(rows, s.out_channels));
    std::uint32_t* tickets = context_.tickets(activation_backward_tickets(s.out_channels));
    with_activation(s, [&]<class A>(A act) {
      launch(context_,
             {"activation_backward_kernel", activation_backward_tiles(rows, s.out_channels),
              kConvThreads},
             activation_backward_kernel<A, kConvThreads>, act, kept, args.dy, db, partials, tickets,
             rows, s.out_channels, accumulate);
    });
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
