#include <algorithm>

#include "backend/checks_layers.hpp"
#include "cpu/backend_impl.hpp"

namespace cuthresh::cpu {
namespace {

std::int64_t norm_grain(std::int64_t channels) {
  return (1 << 14) / (std::min(channels, std::int64_t{1} << 14) * kSumBlockRows) + 1;
}

std::int64_t norm_blocks(std::int64_t rows) {
  return (rows + kSumBlockRows - 1) / kSumBlockRows;
}

/// f(first row, rows, number) for every block of rows that is one partial sum: they do not depend
/// on the thread count, so neither do the sums.
template <class F>
void for_norm_blocks(const Threads& threads, const BatchNormShape& shape, F f) {
  threads.ranges(norm_blocks(shape.rows), norm_grain(shape.channels), 1,
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     const std::int64_t row = i * kSumBlockRows;
                     f(row, std::min(kSumBlockRows, shape.rows - row), i);
                   }
                 });
}

}  // namespace

// Three passes over x and one over y with statistics of the batch, one over each without.
// bias_partials_ is the room's scratch for column sums: [blocks, channels], then what the sums are.
void CpuBackend::batch_norm_forward(const BatchNormForward& args) {
  check_batch_norm(args);
  const BatchNormShape& s = args.shape;
  const std::int64_t blocks = norm_blocks(s.rows);
  const std::int64_t channels = s.channels;
  bias_partials_.resize(static_cast<std::size_t>((blocks + 1) * channels));
  float* partials = bias_partials_.data();
  float* total = partials + blocks * channels;
  const float* mean = args.running_mean;
  const float* inverse_std = total;
  if (args.pass == Pass::kEvaluate) {
    for (std::int64_t c = 0; c < channels && s.rows > 0; ++c) {
      total[c] = inverse_deviation(args.running_var[c], s.epsilon);
    }
  } else {
    const BatchMoments moments{static_cast<float>(s.rows), static_cast<float>(s.rows - 1),
                               s.epsilon, args.momentum};
    const bool moves =
        args.pass == Pass::kTrain && (args.plan == nullptr || !known_to_have_stopped(*args.plan));
    for_norm_blocks(threads_, s, [&](std::int64_t row, std::int64_t rows, std::int64_t i) {
      loops_.layers.column_sums(args.x + row * channels, rows, channels, partials + i * channels);
    });
    loops_.layers.add_blocks(partials, blocks, channels, total);
    for (std::int64_t c = 0; c < channels; ++c) args.mean[c] = moments.mean(total[c]);
    for_norm_blocks(threads_, s, [&](std::int64_t row, std::int64_t rows, std::int64_t i) {
      loops_.layers.deviation_sums(args.x + row * channels, args.mean, rows, channels,
                                   partials + i * channels);
    });
    loops_.layers.add_blocks(partials, blocks, channels, total);
    for (std::int64_t c = 0; c < channels; ++c) {
      args.inverse_std[c] = moments.inverse_std(total[c]);
      if (!moves) continue;
      args.running_mean[c] = moments.moved(args.running_mean[c], args.mean[c]);
      args.running_var[c] = moments.moved(args.running_var[c], moments.unbiased(total[c]));
    }
    mean = args.mean;
    inverse_std = args.inverse_std;
  }
  for_norm_blocks(threads_, s, [&](std::int64_t row, std::int64_t rows, std::int64_t) {
    const std::int64_t at = row * channels;
    loops_.layers.normalise(s, args.x + at, mean, inverse_std, args.gamma, args.beta,
                            args.z == nullptr ? nullptr : args.z + at, args.y + at, rows);
  });
}

void CpuBackend::batch_norm_backward(const BatchNormBackward& args) {
  check_batch_norm(args);
  const BatchNormShape& s = args.shape;
  const std::int64_t blocks = norm_blocks(s.rows);
  const std::int64_t channels = s.channels;
  const float* kept = needs_preactivation(s.activation) ? args.z : args.y;
  // Partial sums of dz and of dz·x̂, then both sums.
  bias_partials_.resize(static_cast<std::size_t>((2 * blocks + 2) * channels));
  float* plain = bias_partials_.data();
  float* shaped = plain + blocks * channels;
  float* total = shaped + blocks * channels;
  for_norm_blocks(threads_, s, [&](std::int64_t row, std::int64_t rows, std::int64_t i) {
    const std::int64_t at = row * channels;
    loops_.layers.norm_sums(s, kept + at, args.dy + at, args.x + at, args.mean, args.inverse_std,
                            rows, plain + i * channels, shaped + i * channels);
  });
  loops_.layers.add_blocks(plain, blocks, channels, total);
  loops_.layers.add_blocks(shaped, blocks, channels, total + channels);
  for (std::int64_t c = 0; c < channels; ++c) {
    args.dbeta[c] = args.accumulate ? args.dbeta[c] + total[c] : total[c];
    args.dgamma[c] = args.accumulate ? args.dgamma[c] + total[channels + c] : total[channels + c];
  }
  if (args.dx == nullptr) return;
  for_norm_blocks(threads_, s, [&](std::int64_t row, std::int64_t rows, std::int64_t) {
    const std::int64_t at = row * channels;
    loops_.layers.norm_gradient(s, args.dy + at, args.x + at, args.mean, args.inverse_std,
                                args.gamma, total, total + channels, args.dx + at, rows);
  });
}

}  // namespace cuthresh::cpu
