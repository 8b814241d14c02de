#include "backend/checks_layers.hpp"
#include "cuda/backend_impl.hpp"
#include "cuda/launch.hpp"
#include "kernels/block/batch_norm.cuh"
#include "kernels/math/activations.hpp"

namespace cuthresh::cuda {
namespace {

constexpr std::uint32_t kThreads = 256;

/// Scratch for column sums: that of bias gradients, which are some too. No sum is alive from one
/// call to the next.
float* column_scratch(Context& context, std::int64_t floats) {
  return static_cast<float*>(
      context.scratch(Scratch::kBiasPartials, static_cast<std::size_t>(floats) * sizeof(float)));
}

}  // namespace

void CudaBackend::batch_norm_forward(const BatchNormForward& args) {
  check_batch_norm(args);
  const BatchNormShape& s = args.shape;
  if (s.rows == 0) return;
  NormConstants constants{args.running_mean, nullptr,    args.running_var,
                          s.epsilon,         args.gamma, args.beta};
  if (args.pass != Pass::kEvaluate) {
    const bool trains = args.pass == Pass::kTrain;
    const BatchStatistics statistics{
        {static_cast<float>(s.rows), static_cast<float>(s.rows - 1), s.epsilon, args.momentum},
        args.mean,
        args.inverse_std,
        trains ? args.running_mean : nullptr,
        trains ? args.running_var : nullptr,
        trains ? header_of(args.plan) : nullptr};
    const std::int64_t tiles = column_sums_tiles(s.rows, s.channels);
    float* partials = column_scratch(context_, column_sums_partials(s.rows, s.channels));
    std::uint32_t* tickets = context_.tickets(column_sums_tickets(s.channels));
    launch(context_, {"batch_mean_kernel", tiles, kThreads}, batch_mean_kernel<kThreads>,
           statistics, args.x, s.rows, s.channels, partials, tickets);
    launch(context_, {"batch_deviation_kernel", tiles, kThreads}, batch_deviation_kernel<kThreads>,
           statistics, args.x, s.rows, s.channels, partials, tickets);
    constants.mean = args.mean;
    constants.inverse_std = args.inverse_std;
  }
  with_activation(s, [&]<class A>(A act) {
    launch(context_, {"normalise_kernel", normalise_tiles(s.rows, s.channels), kThreads},
           normalise_kernel<A, kThreads>, act, constants, args.x, args.z, args.y, s.rows,
           s.channels);
  });
}

void CudaBackend::batch_norm_backward(const BatchNormBackward& args) {
  check_batch_norm(args);
  const BatchNormShape& s = args.shape;
  const float* kept = needs_preactivation(s.activation) ? args.z : args.y;
  const std::int64_t partial_floats = 2 * column_sums_partials(s.rows, s.channels);
  float* partials = column_scratch(context_, partial_floats + 2 * s.channels);
  float* sums = partials + partial_floats;
  std::uint32_t* tickets = context_.tickets(column_sums_tickets(s.channels));
  with_activation(s, [&]<class A>(A act) {
    const device::GradientSums<A> element{act, kept, args.dy, args.x, args.mean, args.inverse_std};
    launch(context_, {"norm_sums_kernel", column_sums_tiles(s.rows, s.channels), kThreads},
           norm_sums_kernel<A, kThreads>, element, sums, args.dgamma, args.dbeta, args.accumulate,
           s.rows, s.channels, partials, tickets);
  });
  if (args.dx == nullptr) return;
  launch(context_, {"norm_gradient_kernel", normalise_tiles(s.rows, s.channels), kThreads},
         norm_gradient_kernel<kThreads>, sums, args.mean, args.inverse_std, args.gamma, args.x,
         args.dy, args.dx, s.rows, s.channels);
}

}  // namespace cuthresh::cuda
