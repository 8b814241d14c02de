#include "backend/activations.hpp"
#include "backend/checks.hpp"
#include "cuda/backend_impl.hpp"
#include "cuda/launch.hpp"
#include "kernels/block/dense_bias.cuh"

namespace cuthresh::cuda {
namespace {

constexpr std::uint32_t kThreads = 256;

std::size_t float_bytes(std::int64_t count) {
  return static_cast<std::size_t>(count) * sizeof(float);
}

}  // namespace

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
  with_activation(s, [&]<class A>(A act) {
    launch(context_, {"bias_activation_kernel", bias_activation_tiles(s.rows, s.out), kThreads},
           bias_activation_kernel<A, kThreads>, act, args.b, args.z, args.y, s.rows, s.out);
  });
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
  auto* partials = static_cast<float*>(context_.scratch(
      Scratch::kBiasPartials, float_bytes(activation_backward_partials(s.rows, s.out))));
  std::uint32_t* tickets = context_.tickets(activation_backward_tickets(s.out));
  with_activation(s, [&]<class A>(A act) {
    launch(context_,
           {"activation_backward_kernel", activation_backward_tiles(s.rows, s.out), kThreads},
           activation_backward_kernel<A, kThreads>, act, kept, args.dy, args.db, partials, tickets,
           s.rows, s.out, args.accumulate);
  });
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
