#include <algorithm>

#include "cpu/backend_impl.hpp"

namespace cuthresh::cpu {
namespace {

// Below this many multiply-adds a fork costs more than it saves (about 1 µs against 60 GFLOP/s a
// core).
constexpr std::int64_t kWorthAThread = 1 << 16;

}  // namespace

void CpuBackend::dense_forward(const DenseForward& args) {
  const DenseShape& s = args.shape;
  // Each thread multiplies its rows (or, for batches smaller than a few rows a thread, its columns)
  // and applies bias and activation while they are still in its cache.
  const bool by_rows = s.rows >= 8 * threads_.count() || s.rows >= s.out;
  const std::int64_t extent = by_rows ? s.rows : s.out;
  const std::int64_t per_unit =
      std::max<std::int64_t>(1, s.rows * s.in * s.out / std::max<std::int64_t>(1, extent));
  threads_.ranges(extent, kWorthAThread / per_unit + 1, by_rows ? 1 : 16,
                  [&](std::int64_t begin, std::int64_t end) {
                    const std::int64_t row = by_rows ? begin : 0;
                    const std::int64_t column = by_rows ? 0 : begin;
                    const std::int64_t rows = by_rows ? end - begin : s.rows;
                    const std::int64_t columns = by_rows ? s.out : end - begin;
                    float* y = args.y + row * s.out + column;
                    float* z = args.z == nullptr ? nullptr : args.z + row * s.out + column;
                    (*gemm_)({.transpose_b = true,
                              .m = rows,
                              .n = columns,
                              .k = s.in,
                              .a = args.x + row * s.in,
                              .lda = s.in,
                              .b = args.w + column * s.in,
                              .ldb = s.in,
                              .c = y,
                              .ldc = s.out});
                    loops_.bias_activation(s, args.b + column, z, y, rows, columns, s.out);
                  });
}

void CpuBackend::dense_backward(const DenseBackward& args) {
  const DenseShape& s = args.shape;
  // 1. ∂L/∂z and ∂L/∂b: in blocks of rows that do not depend on the thread count, so neither does
  // the order
  //    of the bias sums; 2. ∂L/∂x of the same rows while they are in cache.
  constexpr std::int64_t kBlockRows = 128;
  const std::int64_t blocks = (s.rows + kBlockRows - 1) / kBlockRows;
  bias_partials_.resize(static_cast<std::size_t>(blocks * s.out));
  const float* kept = needs_preactivation(s.activation) ? args.z : args.y;
  const std::int64_t block_work =
      std::min(s.rows, kBlockRows) * s.out * (args.dx != nullptr ? s.in : 8);
  threads_.ranges(blocks, kWorthAThread / std::max<std::int64_t>(1, block_work) + 1, 1,
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t i = begin; i < end; ++i) {
                      const std::int64_t row = i * kBlockRows;
                      loops_.activation_backward(s, kept + row * s.out, args.dy + row * s.out,
                                                 bias_partials_.data() + i * s.out,
                                                 std::min(kBlockRows, s.rows - row), s.out, s.out);
                    }
                    if (args.dx == nullptr) return;
                    const std::int64_t row = begin * kBlockRows;
                    const std::int64_t rows = std::min(end * kBlockRows, s.rows) - row;
                    (*gemm_)({.m = rows,
                              .n = s.in,
                              .k = s.out,
                              .a = args.dy + row * s.out,
                              .lda = s.out,
                              .b = args.w,
                              .ldb = s.in,
                              .c = args.dx + row * s.in,
                              .ldc = s.in});
                  });

  for (std::int64_t c = 0; c < s.out; ++c) {
    float sum = args.accumulate ? args.db[c] : 0.0f;
    for (std::int64_t i = 0; i < blocks; ++i)
      sum += bias_partials_[static_cast<std::size_t>(i * s.out + c)];
    args.db[c] = sum;
  }

  // 3. ∂L/∂W: rows of W to the threads; each sums over the whole batch by itself.
  const std::int64_t per_output = std::max<std::int64_t>(1, s.rows * s.in);
  threads_.ranges(s.out, kWorthAThread / per_output + 1, 1,
                  [&](std::int64_t begin, std::int64_t end) {
                    (*gemm_)({.transpose_a = true,
                              .m = end - begin,
                              .n = s.in,
                              .k = s.rows,
                              .a = args.dy + begin,
                              .lda = s.out,
                              .b = args.x,
                              .ldb = s.in,
                              .accumulate = args.accumulate,
                              .c = args.dw + begin * s.in,
                              .ldc = s.in});
                  });
}

}  // namespace cuthresh::cpu
