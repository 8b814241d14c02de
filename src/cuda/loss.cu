#include "backend/checks.hpp"
#include "cuda/backend_impl.hpp"
#include "cuda/launch.hpp"
#include "kernels/block/loss.cuh"

namespace cuthresh::cuda {
namespace {

constexpr std::uint32_t kThreads = 256;
constexpr std::uint32_t kNarrowThreads = 128;

LossTarget target_of(const LossArgs& args) {
  if (args.sum == nullptr) return {nullptr, nullptr, false};
  return {&args.sum->loss, &args.sum->correct, args.accumulate};
}

template <class T>
T* scratch(Context& context, Scratch which, std::int64_t count) {
  return static_cast<T*>(context.scratch(which, static_cast<std::size_t>(count) * sizeof(T)));
}

/// Without rows there is nothing to launch; the sum is what it was, or zero.
void sum_nothing(Context& context, const LossArgs& args) {
  if (args.sum != nullptr && !args.accumulate) context.zero(args.sum, sizeof(LossSum));
}

}  // namespace

void CudaBackend::mse(const LossArgs& args) {
  check_loss(args, Loss::kMse);
  const std::int64_t size = args.rows * args.columns;
  if (size == 0) return sum_nothing(context_, args);
  const SquaredError error{args.gradient_scale};
  if (args.gradient != nullptr) {
    const std::int64_t blocks = squared_error_gradient_tiles(size, kThreads);
    launch(context_, {"squared_error_gradient_kernel", blocks, kThreads},
           squared_error_gradient_kernel<kThreads>, error, args.prediction, args.target,
           args.gradient, size);
  }
  if (args.sum == nullptr) return;
  const std::int64_t partials = squared_error_partials(size);
  const LossScratch memory{scratch<double>(context_, Scratch::kLossPartials, partials), nullptr,
                           nullptr, context_.tickets(1)};
  launch(context_, {"squared_error_sum_kernel", partials, kThreads},
         squared_error_sum_kernel<kThreads>, error, args.prediction, args.target, size, memory,
         target_of(args));
}

void CudaBackend::softmax_cross_entropy(const LossArgs& args) {
  check_loss(args, Loss::kSoftmaxCrossEntropy);
  if (args.rows == 0) return sum_nothing(context_, args);
  if (args.sum == nullptr && args.gradient == nullptr) return;
  LossScratch memory{};
  if (args.sum != nullptr) {
    memory = {scratch<double>(context_, Scratch::kLossPartials, softmax_partials(args.rows)),
              scratch<double>(context_, Scratch::kLossRows, args.rows),
              scratch<std::uint32_t>(context_, Scratch::kLossHits, args.rows), context_.tickets(1)};
  }
  const SoftmaxCrossEntropy entropy{args.gradient_scale};
  if (args.columns <= kNarrowColumns) {
    const std::int64_t blocks = softmax_narrow_tiles(args.rows, kNarrowThreads);
    launch(context_, {"softmax_narrow_kernel", blocks, kNarrowThreads},
           softmax_narrow_kernel<kNarrowThreads>, entropy, args.prediction, args.label,
           args.gradient, args.rows, args.columns, memory, target_of(args));
  } else {
    launch(context_, {"softmax_wide_kernel", softmax_wide_tiles(args.rows), kThreads},
           softmax_wide_kernel<kThreads>, entropy, args.prediction, args.label, args.gradient,
           args.rows, args.columns, memory, target_of(args));
  }
}

}  // namespace cuthresh::cuda
