#include <algorithm>

#include "cpu/backend_impl.hpp"
#include "kernels/math/sum_order.hpp"

namespace cuthresh::cpu {
namespace {

// Below this many multiply-adds a fork costs more than it saves (about 1 µs against 60 GFLOP/s a
// core).
constexpr std::int64_t kWorthAThread = 1 << 16;

std::int64_t grain(std::int64_t work_per_unit) {
  return kWorthAThread / std::max<std::int64_t>(1, work_per_unit) + 1;
}

// Weights that l1 has emptied come in whole rows and columns: a neuron that nothing reads or that
// reads nothing. Leaving them out of a product changes no value (their terms are exact zeros), at
// most the sign of a zero. Below three quarters the packing pays; a scan of W costs rows/1000 of
// the product, so with fewer than 32 rows of data there is none.
constexpr std::int64_t kRowsWorthAScan = 32;

bool worth_packing(std::size_t live, std::int64_t all) {
  return 4 * static_cast<std::int64_t>(live) <= 3 * all;
}

}  // namespace

void CpuBackend::find_live_columns(const float* matrix, std::int64_t rows, std::int64_t columns,
                                   std::vector<std::int32_t>& live) {
  marks_.assign(static_cast<std::size_t>(columns), 0U);
  loops_.mark_columns(matrix, rows, columns, marks_.data());
  collect_marks(columns, live);
}

void CpuBackend::collect_marks(std::int64_t columns, std::vector<std::int32_t>& live) const {
  live.clear();
  for (std::int64_t c = 0; c < columns; ++c) {
    if (marks_[static_cast<std::size_t>(c)] != 0) live.push_back(static_cast<std::int32_t>(c));
  }
}

void CpuBackend::dense_forward(const DenseForward& args) {
  const DenseShape& s = args.shape;
  if (s.rows >= kRowsWorthAScan) {
    live_outputs_.clear();
    for (std::int64_t o = 0; o < s.out; ++o) {
      if (loops_.float32.count_nonzero(args.w + o * s.in, s.in) > 0) {
        live_outputs_.push_back(static_cast<std::int32_t>(o));
      }
    }
    find_live_columns(args.w, s.out, s.in, live_inputs_);
    if (worth_packing(live_outputs_.size() * live_inputs_.size(), s.in * s.out)) {
      forward_live(args);
      return;
    }
  }
  // Each thread multiplies its rows (or, for batches smaller than a few rows a thread, its columns)
  // and applies bias and activation while they are still in its cache.
  const bool by_rows = s.rows >= 8 * threads_.count() || s.rows >= s.out;
  const std::int64_t extent = by_rows ? s.rows : s.out;
  const std::int64_t work = s.rows * s.in * s.out / std::max<std::int64_t>(1, extent);
  threads_.ranges(extent, grain(work), by_rows ? 1 : 16, [&](std::int64_t begin, std::int64_t end) {
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

// The live rows and columns of W as a small dense matrix; x packed alike, the result spread out.
void CpuBackend::forward_live(const DenseForward& args) {
  const DenseShape& s = args.shape;
  const auto in = static_cast<std::int64_t>(live_inputs_.size());
  const auto out = static_cast<std::int64_t>(live_outputs_.size());
  packed_w_.resize(static_cast<std::size_t>(out * in));
  for (std::int64_t o = 0; o < out; ++o) {
    loops_.pack_columns(args.w + live_outputs_[static_cast<std::size_t>(o)] * s.in, 1, s.in,
                        live_inputs_.data(), in, packed_w_.data() + o * in);
  }
  packed_x_.resize(static_cast<std::size_t>(s.rows * in));
  packed_y_.resize(static_cast<std::size_t>(s.rows * out));
  const std::int64_t work = in * out + 4 * s.out;
  threads_.ranges(s.rows, grain(work), 1, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t rows = end - begin;
    float* x = packed_x_.data() + begin * in;
    float* product = packed_y_.data() + begin * out;
    float* y = args.y + begin * s.out;
    if (in > 0 && out > 0) {
      loops_.pack_columns(args.x + begin * s.in, rows, s.in, live_inputs_.data(), in, x);
      (*gemm_)({.transpose_b = true,
                .m = rows,
                .n = out,
                .k = in,
                .a = x,
                .lda = in,
                .b = packed_w_.data(),
                .ldb = in,
                .c = product,
                .ldc = out});
    }
    loops_.spread_columns(product, rows, live_outputs_.data(), out, y, s.out);
    loops_.bias_activation(s, args.b, args.z == nullptr ? nullptr : args.z + begin * s.out, y, rows,
                           s.out, s.out);
  });
}

void CpuBackend::dense_backward(const DenseBackward& args) {
  const DenseShape& s = args.shape;
  // 1. ∂L/∂z and ∂L/∂b, in blocks of rows that do not depend on the thread count, so neither does
  //    the order of the bias sums.
  const std::int64_t blocks = (s.rows + kSumBlockRows - 1) / kSumBlockRows;
  bias_partials_.resize(static_cast<std::size_t>(blocks * s.out));
  const float* kept = needs_preactivation(s.activation) ? args.z : args.y;
  const bool scan = s.rows >= kRowsWorthAScan;
  block_marks_.assign(static_cast<std::size_t>(scan ? blocks * s.out : 0), 0U);
  threads_.ranges(blocks, grain(std::min(s.rows, kSumBlockRows) * s.out * 8), 1,
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t i = begin; i < end; ++i) {
                      const std::int64_t row = i * kSumBlockRows;
                      const std::int64_t rows = std::min(kSumBlockRows, s.rows - row);
                      float* dz = args.dy + row * s.out;
                      loops_.activation_backward(
                          s, kept + row * s.out, dz, bias_partials_.data() + i * s.out,
                          scan ? block_marks_.data() + i * s.out : nullptr, rows, s.out, s.out);
                    }
                  });
  for (std::int64_t c = 0; c < s.out; ++c) {
    float sum = args.accumulate ? args.db[c] : 0.0f;
    for (std::int64_t i = 0; i < blocks; ++i) {
      sum += bias_partials_[static_cast<std::size_t>(i * s.out + c)];
    }
    args.db[c] = sum;
  }

  // 2. The rows of W whose output has a gradient; the others' gradients are zero and pass nothing
  // on.
  const float* dz = args.dy;
  const float* w = args.w;
  std::int64_t out = s.out;
  bool packed = false;
  if (scan) {
    marks_.assign(static_cast<std::size_t>(s.out), 0U);
    for (std::int64_t i = 0; i < blocks; ++i) {
      for (std::int64_t c = 0; c < s.out; ++c) {
        marks_[static_cast<std::size_t>(c)] |=
            block_marks_[static_cast<std::size_t>(i * s.out + c)];
      }
    }
    collect_marks(s.out, live_outputs_);
    packed = worth_packing(live_outputs_.size(), s.out);
  }
  if (packed) {
    out = static_cast<std::int64_t>(live_outputs_.size());
    packed_y_.resize(static_cast<std::size_t>(s.rows * out));
    dz = packed_y_.data();
    if (args.dx != nullptr) {
      packed_w_.resize(static_cast<std::size_t>(out * s.in));
      for (std::int64_t o = 0; o < out; ++o) {
        const float* row = args.w + live_outputs_[static_cast<std::size_t>(o)] * s.in;
        std::copy(row, row + s.in, packed_w_.begin() + o * s.in);
      }
      w = packed_w_.data();
    }
  }

  // 3. ∂L/∂x, by rows.
  if (packed || args.dx != nullptr) {
    const std::int64_t work = args.dx != nullptr ? out * s.in + s.out : s.out;
    threads_.ranges(s.rows, grain(work), 1, [&](std::int64_t begin, std::int64_t end) {
      if (packed) {
        loops_.pack_columns(args.dy + begin * s.out, end - begin, s.out, live_outputs_.data(), out,
                            packed_y_.data() + begin * out);
      }
      if (args.dx == nullptr) return;
      if (out == 0) {
        std::fill(args.dx + begin * s.in, args.dx + end * s.in, 0.0f);
        return;
      }
      (*gemm_)({.m = end - begin,
                .n = s.in,
                .k = out,
                .a = dz + begin * out,
                .lda = out,
                .b = w,
                .ldb = s.in,
                .c = args.dx + begin * s.in,
                .ldc = s.in});
    });
  }

  // 4. ∂L/∂W.
  if (packed) {
    backward_weights_live(args, dz);
  } else {
    backward_weights(s.rows, s.in, s.out, args.x, args.dy, args.accumulate, args.dw);
  }
}

// dw [out, in] (+)= dzᵀ·x, as the sum of two halves of the rows whatever the thread count. A thread
// then reads mostly the rows that it wrote before: lines that both cores hold cost each writer a
// message to the other, about 100 µs of a Mackey-Glass step's 900 on two Cascade Lake cores.
void CpuBackend::backward_weights(std::int64_t rows, std::int64_t in, std::int64_t out,
                                  const float* x, const float* dz, bool accumulate, float* dw) {
  if (out == 0) return;
  const std::int64_t half =
      rows < 2 * kSumBlockRows ? rows : (rows / kSumBlockRows + 1) / 2 * kSumBlockRows;
  const std::int64_t halves = half < rows ? 2 : 1;
  if (halves == 2) dw_second_.resize(static_cast<std::size_t>(out * in));
  // Each half in so many ranges of outputs that every thread has one.
  const std::int64_t pieces = std::min((threads_.count() + halves - 1) / halves, out);
  threads_.ranges(halves * pieces, grain(rows * in * out / (halves * pieces)), 1,
                  [&](std::int64_t first, std::int64_t last) {
                    for (std::int64_t i = first; i < last; ++i) {
                      const std::int64_t second = i / pieces;
                      const std::int64_t begin = out * (i % pieces) / pieces;
                      const std::int64_t end = out * (i % pieces + 1) / pieces;
                      const std::int64_t row = second * half;
                      (*gemm_)({.transpose_a = true,
                                .m = end - begin,
                                .n = in,
                                .k = second == 1 ? rows - half : half,
                                .a = dz + row * out + begin,
                                .lda = out,
                                .b = x + row * in,
                                .ldb = in,
                                .accumulate = accumulate && second == 0,
                                .c = (second == 1 ? dw_second_.data() : dw) + begin * in,
                                .ldc = in});
                    }
                  });
  if (halves == 2) {
    threads_.ranges(out * in, kWorthAThread, 16, [&](std::int64_t begin, std::int64_t end) {
      loops_.add(dw_second_.data() + begin, end - begin, dw + begin);
    });
  }
}

// dz is packed: [rows, live outputs]. The product goes to a buffer and from there to its rows of
// dw.
void CpuBackend::backward_weights_live(const DenseBackward& args, const float* dz) {
  const DenseShape& s = args.shape;
  const auto out = static_cast<std::int64_t>(live_outputs_.size());
  const auto row_of = [&](std::int64_t o) {
    return args.dw + live_outputs_[static_cast<std::size_t>(o)] * s.in;
  };
  packed_w_.resize(static_cast<std::size_t>(out * s.in));
  if (args.accumulate) {
    for (std::int64_t o = 0; o < out; ++o) {
      std::copy(row_of(o), row_of(o) + s.in, packed_w_.begin() + o * s.in);
    }
  } else {
    std::fill(args.dw, args.dw + s.out * s.in, 0.0f);
  }
  backward_weights(s.rows, s.in, out, args.x, dz, args.accumulate, packed_w_.data());
  for (std::int64_t o = 0; o < out; ++o) {
    const float* from = packed_w_.data() + o * s.in;
    std::copy(from, from + s.in, row_of(o));
  }
}

}  // namespace cuthresh::cpu
