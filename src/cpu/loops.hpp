#pragma once

#include <cstdint>

#include "backend/backend.hpp"
#include "cpu/image_loops.hpp"
#include "kernels/math/keep_largest.hpp"
#include "kernels/platform.hpp"

namespace cuthresh::cpu {

struct StepCounts {
  std::int64_t nonzero = 0;
  std::int64_t nonfinite = 0;
};

struct KktKeys {
  std::uint32_t on_nonzero = 0;  ///< magnitude_key of the largest residual; NaN orders above ∞
  std::uint32_t on_zero = 0;
};

/// Keys (kernels/math/bracket.hpp) from `first` to `last`, both of them included.
struct KeyRange {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  CTH_HD bool contains(std::uint32_t key) const { return key - first <= last - first; }
};

struct KeyCounts {
  std::int64_t inside = 0;
  std::int64_t below = 0;
  std::int64_t among = 0;
  KeyCounts& operator+=(const KeyCounts& other) {
    inside += other.inside;
    below += other.below;
    among += other.among;
    return *this;
  }
};

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

  /// g and v are used by steps of kinds that read them.
  StepCounts (*prox_step)(StepKind kind, float* w, const float* g, float* v, std::int64_t n,
                          const StepRate& rate, float threshold);
  /// The same without a threshold; where the bit of an entry is 0 in `bits`, w becomes 0.
  StepCounts (*frozen_step)(StepKind kind, float* w, const float* g, float* v, std::int64_t n,
                            const StepRate& rate, const std::uint32_t* bits);
  /// What a step counts, without one.
  StepCounts (*count_entries)(const float* w, std::int64_t n);
  /// w ← keep(w); returns the nonzeros. Entries equal to keep.least stay up to index `ties_end`.
  std::int64_t (*keep_largest)(float* w, std::int64_t n, const KeepLargest& keep,
                               std::int64_t ties_end);
  std::int64_t (*count_nonzero)(const float* w, std::int64_t n);
  KktKeys (*kkt)(const float* w, const float* g, std::int64_t n, float lambda);

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

  /// Of the keys of x: how many are in `range`, in it below `wanted`, which lies inside it, and in
  /// `wanted`. keys, where not null, gets those in `wanted`, in order; it has room for n.
  KeyCounts (*select_keys)(const float* x, std::int64_t n, KeyRange range, KeyRange wanted,
                           std::uint32_t* keys);
  /// bins[(key >> shift) − (range.first >> shift)] += 1 for every key of x in the range.
  void (*histogram)(const float* x, std::int64_t n, KeyRange range, std::uint32_t shift,
                    std::uint64_t* bins);

  LayerLoops layers;
};

extern const Loops kLoopsBaseline;
extern const Loops kLoopsAvx2;
extern const Loops kLoopsAvx512;

/// The best loops this processor runs; `name` ("baseline", "avx2", "avx512") asks for others, for
/// tests. Null when the processor or the build lacks them.
const Loops* find_loops(const char* name = nullptr);

}  // namespace cuthresh::cpu
