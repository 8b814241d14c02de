#include "backend/checks_layers.hpp"
#include "cuda/backend_impl.hpp"
#include "cuda/launch.hpp"
#include "kernels/block/dropout.cuh"
#include "kernels/block/pointwise.cuh"
#include "kernels/block/transpose.cuh"
#include "kernels/math/activations.hpp"

namespace cuthresh::cuda {
namespace {

constexpr std::uint32_t kThreads = 256;

}  // namespace

void CudaBackend::pointwise_forward(const PointwiseForward& args) {
  check_pointwise(args);
  if (args.size == 0) return;
  with_activation(args, [&]<class A>(A act) {
    launch(context_, {"pointwise_kernel", pointwise_tiles(args.size, kThreads), kThreads},
           pointwise_kernel<A, kThreads>, act, args.a, args.b, args.z, args.y, args.size);
  });
}

void CudaBackend::pointwise_backward(const PointwiseBackward& args) {
  check_pointwise(args);
  // The derivative of the identity is 1: nothing changes.
  if (args.size == 0 || args.activation == Activation::kIdentity) return;
  const float* kept = needs_preactivation(args.activation) ? args.z : args.y;
  with_activation(args, [&]<class A>(A act) {
    launch(context_, {"pointwise_backward_kernel", pointwise_tiles(args.size, kThreads), kThreads},
           pointwise_backward_kernel<A, kThreads>, act, kept, args.dy, args.size);
  });
}

void CudaBackend::dropout(const Dropout& args) {
  check_dropout(args);
  if (args.size == 0) return;
  if (args.rate == 0.0f) {
    if (args.to != args.from) {
      context_.copy(args.to, args.from, static_cast<std::size_t>(args.size) * sizeof(float));
    }
    return;
  }
  constexpr std::int64_t kElementsABlock = 4 * static_cast<std::int64_t>(kThreads);
  const DropoutMask mask = DropoutMask::of(args.seed, args.stream, args.step, args.rate);
  launch(context_,
         {"dropout_kernel", (args.size + kElementsABlock - 1) / kElementsABlock, kThreads},
         dropout_kernel<kThreads>, mask, step_number(args.plan, args.step), args.from, args.to,
         args.size);
}

void CudaBackend::add(float* to, const float* from, std::int64_t size) {
  check_add(to, from, size);
  if (size == 0) return;
  launch(context_, {"pointwise_kernel", pointwise_tiles(size, kThreads), kThreads},
         pointwise_kernel<IdentityActivation, kThreads>, IdentityActivation{}, to, from, nullptr,
         to, size);
}

void CudaBackend::transpose_samples(float* to, const float* from, std::int64_t rows,
                                    std::int64_t lines, std::int64_t columns) {
  check_transpose(to, from, rows, lines, columns);
  if (rows == 0) return;
  launch(context_, {"transpose_kernel", transpose_tiles(rows, lines, columns), kThreads},
         transpose_kernel<kThreads>, to, from, rows, lines, columns);
}

}  // namespace cuthresh::cuda
