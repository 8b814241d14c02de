#include "backend/checks.hpp"
#include "cuda/backend_impl.hpp"
#include "cuda/dense_epilogue.hpp"
#include "cuda/launch.hpp"
#include "kernels/block/dense_bias.cuh"
#include "kernels/math/activations.hpp"

namespace cuthresh::cuda {
namespace {

constexpr std::uint32_t kThreads = 256;

std::size_t float_bytes(std::int64_t count) {
  return static_cast<std::size_t>(count) * sizeof(float);
}

}  // namespace

void enqueue_bias_activation(Context& context, const DenseShape& s, const float* b, float* z,
                             float* y) {
  with_activation(s, [&]<class A>(A act) {
    launch(context, {"bias_activation_kernel", bias_activation_tiles(s.rows, s.out), kThreads},
           bias_activation_kernel<A, kThreads>, act, b, z, y, s.rows, s.out);
  });
}

void enqueue_activation_backward(Context& context, const DenseShape& s, const float* kept,
                                 float* dy, float* db, bool accumulate) {
  auto* partials = static_cast<float*>(context.scratch(
      Scratch::kBiasPartials, float_bytes(activation_backward_partials(s.rows, s.out))));
  std::uint32_t* tickets = context.tickets(activation_backward_tickets(s.out));
  with_activation(s, [&]<class A>(A act) {
    launch(context,
           {"activation_backward_kernel", activation_backward_tiles(s.rows, s.out), kThreads},
           activation_backward_kernel<A, kThreads>, act, kept, dy, db, partials, tickets, s.rows,
           s.out, accumulate);
  });
}

void CudaBackend::dense_forward(const DenseForward& args) {
  check_dense(args);
  const DenseShape& s = args.shape;
  if (s.rows == 0) return;
  context_.blas().multiply({.transpose_b = true,
                            .m = s.rows,
                            .n = s.out,
                            .k = s.in,
                            .a = args.x,
                            .b = args.w,
                            .c = args.y});
  enqueue_bias_activation(context_, s, args.b, args.z, args.y);
}

void CudaBackend::dense_backward(const DenseBackward& args) {
  check_dense(args);
  const DenseShape& s = args.shape;
  if (s.rows == 0) {
    if (args.accumulate) return;
    context_.zero(args.db, float_bytes(s.out));
    context_.zero(args.dw, float_bytes(s.out * s.in));
    return;
  }
  const float* kept = needs_preactivation(s.activation) ? args.z : args.y;
  enqueue_activation_backward(context_, s, kept, args.dy, args.db, args.accumulate);
  context_.blas().multiply({.transpose_a = true,
                            .m = s.out,
                            .n = s.in,
                            .k = s.rows,
                            .a = args.dy,
                            .b = args.x,
                            .accumulate = args.accumulate,
                            .c = args.dw});
  if (args.dx == nullptr) return;
  context_.blas().multiply(
      {.m = s.rows, .n = s.in, .k = s.out, .a = args.dy, .b = args.w, .c = args.dx});
}

}  // namespace cuthresh::cuda
