#include "cpu/backend_impl.hpp"

namespace cuthresh::cpu {

template <class Block>
void CpuBackend::run_loss(const LossArgs& args, std::int64_t rows, std::int64_t block_rows,
                          Block block) {
  const std::int64_t blocks = (rows + block_rows - 1) / block_rows;
  loss_partials_.assign(static_cast<std::size_t>(blocks), LossSum{});
  threads_.ranges(blocks, 1, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t first = i * block_rows;
      const std::int64_t count = first + block_rows < rows ? block_rows : rows - first;
      loss_partials_[static_cast<std::size_t>(i)] = block(first, count);
    }
  });
  if (args.sum == nullptr) return;
  LossSum sum = args.accumulate ? *args.sum : LossSum{};
  for (const LossSum& part : loss_partials_) {
    sum.loss += part.loss;
    sum.correct += part.correct;
  }
  *args.sum = sum;
}

void CpuBackend::mse(const LossArgs& args) {
  run_loss(args, args.rows * args.columns, 8192, [&](std::int64_t first, std::int64_t count) {
    float* gradient = args.gradient == nullptr ? nullptr : args.gradient + first;
    return LossSum{loops_.mse(args.prediction + first, args.target + first, gradient,
                              args.gradient_scale, count),
                   0};
  });
}

void CpuBackend::softmax_cross_entropy(const LossArgs& args) {
  run_loss(args, args.rows, 256, [&](std::int64_t first, std::int64_t count) {
    LossSum sum;
    const std::int64_t at = first * args.columns;
    float* gradient = args.gradient == nullptr ? nullptr : args.gradient + at;
    sum.loss = loops_.softmax(args.prediction + at, args.label + first, gradient,
                              args.gradient_scale, count, args.columns, &sum.correct);
    return sum;
  });
}

}  // namespace cuthresh::cpu
