#pragma once

#include <cstdint>
#include <type_traits>

#include "backend/backend.hpp"
#include "cpu/image_loops.hpp"
#include "cpu/list_loops.hpp"
#include "kernels/platform.hpp"

namespace cuthresh::cpu {

/// Floats that gemm_tiled works in.
inline constexpr std::int64_t kGemmScratch = 40448;

/// Channels that the loops of a direct convolution work on together: of its result, and input
/// channels of a weight gradient.
inline constexpr std::int64_t kConvBlock = 16;
inline constexpr int kConvInputs = 4;

/// The serial loops of this room, compiled once per instruction set from loops.inl. Each works on
/// one thread's share; rows are `stride` elements apart.
struct Loops {
  const char* name;

  /// y holds x·Wᵀ and becomes act(y + b); z, where not null, gets y + b.
  void (*bias_activation)(const DenseShape& shape, const float* b, float* z, float* y,
                          std::int64_t rows, std::int64_t columns, std::int64_t stride);
  /// dy ← dy·act'(kept), db[c] = sum over the rows of dy; marks, where not null, as mark_columns of
  /// dy.
  void (*activation_backward)(const DenseShape& shape, const float* kept, float* dy, float* db,
                              std::uint32_t* marks, std::int64_t rows, std::int64_t columns,
                              std::int64_t stride);
  /// to[i] += from[i].
  void (*add)(const float* from, std::int64_t n, float* to);

  /// marks[c] becomes nonzero where column c of the dense [rows, columns] matrix has an entry that
  /// is not ±0; marks are only added to.
  void (*mark_columns)(const float* matrix, std::int64_t rows, std::int64_t columns,
                       std::uint32_t* marks);
  /// to[r, i] = from[r, index[i]]: from has rows ld apart, to is dense [rows, count].
  void (*pack_columns)(const float* from, std::int64_t rows, std::int64_t ld,
                       const std::int32_t* index, std::int64_t count, float* to);
  /// The reverse: to is dense [rows, columns], 0 where no index points.
  void (*spread_columns)(const float* from, std::int64_t rows, const std::int32_t* index,
                         std::int64_t count, float* to, std::int64_t columns);

  /// c[m, n] = (accumulate ? c : 0) + Σ_k a(i, k)·b(k, j), k in order, one fused multiply-add each:
  /// the same bits whatever the instruction set. a(i, k) = a[i·a_row + k·a_column], b(k, j) =
  /// b[k·b_row + j·b_column], one of each pair being 1; c's rows are ldc apart.
  void (*gemm_plain)(std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
                     std::int64_t a_row, std::int64_t a_column, const float* b, std::int64_t b_row,
                     std::int64_t b_column, bool accumulate, float* c, std::int64_t ldc);
  /// The same function, to the bit, with blocks of c held in registers; scratch: kGemmScratch
  /// floats.
  void (*gemm_tiled)(std::int64_t m, std::int64_t n, std::int64_t k, const float* a,
                     std::int64_t a_row, std::int64_t a_column, const float* b, std::int64_t b_row,
                     std::int64_t b_column, bool accumulate, float* c, std::int64_t ldc,
                     float* scratch);

  /// Weights for the two functions below: [blocks of 16 result channels, taps, source channels,
  /// 16].
  void (*conv_pack)(const ConvShape& shape, const float* w, bool backward, float* packed);
  /// Lines [begin, end) of y (rows·height of them) = w ∗ x, without bias; taps, then channels in
  /// order.
  void (*conv_forward)(const ConvShape& shape, const float* x, const float* packed, float* y,
                       std::int64_t begin, std::int64_t end);
  /// Lines [begin, end) of dx.
  void (*conv_backward_data)(const ConvShape& shape, const float* dz, const float* packed,
                             float* dx, std::int64_t begin, std::int64_t end);
  /// Adds to units [begin, end) of dw: blocks of 16 output channels times groups of 4 input
  /// channels times taps.
  void (*conv_backward_weights)(const ConvShape& shape, const float* x, const float* dz, float* dw,
                                std::int64_t begin, std::int64_t end);

  /// Σ (prediction − target)² over n elements; the gradient where it is not null.
  double (*mse)(const float* prediction, const float* target, float* gradient, float scale,
                std::int64_t n);
  /// Σ of the rows' losses; the gradient where it is not null; hits counted.
  double (*softmax)(const float* logits, const std::int32_t* label, float* gradient, float scale,
                    std::int64_t rows, std::int64_t columns, std::uint64_t* correct);

  void (*uniform)(float* to, std::int64_t first, std::int64_t end, float bound, std::uint64_t seed,
                  std::uint32_t stream);

  /// to[i] = from[i] normalised with scale[i] and shift[i].
  void (*normalise)(const std::uint8_t* from, std::int64_t n, const float* scale,
                    const float* shift, float* to);

  ListLoops<float> float32;
  ListLoops<double> float64;
  ListLoops<Bf16> bfloat16;
  ListLoops<Fp16> float16;

  LayerLoops layers;

  /// Those of the weights' dtype.
  template <class Storage>
  const ListLoops<Storage>& lists() const {
    if constexpr (std::is_same_v<Storage, double>) {
      return float64;
    } else if constexpr (std::is_same_v<Storage, Bf16>) {
      return bfloat16;
    } else if constexpr (std::is_same_v<Storage, Fp16>) {
      return float16;
    } else {
      return float32;
    }
  }
};

extern const Loops kLoopsBaseline;
extern const Loops kLoopsAvx2;
extern const Loops kLoopsAvx512;

/// The best loops this processor runs; `name` ("baseline", "avx2", "avx512") asks for others, for
/// tests. Null when the processor or the build lacks them.
const Loops* find_loops(const char* name = nullptr);

}  // namespace cuthresh::cpu
