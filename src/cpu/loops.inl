// The serial loops of the CPU room. Included once per instruction set by loops_<isa>.cpp, which
// differ in their compiler options only. Nothing here may call an inline function that other files
// call too, unless it is forced inline (CTH_HD): the linker keeps one copy of the others, and it
// could be the one for AVX-512.

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <cstdint>

#include "cpu/loops.hpp"
#include "kernels/math/activations.hpp"
#include "kernels/math/bracket.hpp"
#include "kernels/math/image.hpp"
#include "kernels/math/keep_largest.hpp"
#include "kernels/math/kkt.hpp"
#include "kernels/math/loss.hpp"
#include "kernels/math/penalty.hpp"
#include "kernels/math/philox.hpp"
#include "kernels/math/step.hpp"

namespace cuthresh::cpu {
namespace CTH_LOOPS_NAMESPACE {
namespace {

using std::int32_t;
using std::int64_t;
using std::uint32_t;
using std::uint64_t;
using std::uint8_t;

// Counters inside a strip are 32-bit, so that they vectorise beside 32-bit data.
constexpr int64_t kStrip = 1 << 16;

/// g and v are read and written by steps that have them only.
template <class Step, class Penalty>
StepCounts step_tensor(Step step, float* __restrict w, const float* __restrict g,
                       float* __restrict v, int64_t n, Penalty penalty) {
  StepCounts counts;
  for (int64_t first = 0; first < n; first += kStrip) {
    const int64_t end = first + kStrip < n ? first + kStrip : n;
    int32_t nonzero = 0;
    int32_t nonfinite = 0;
    for (int64_t i = first; i < end; ++i) {
      float z;
      if constexpr (Step::kMomentum) {
        z = step(w[i], g[i], v[i]);
      } else if constexpr (Step::kGradient) {
        z = step(w[i], g[i]);
      } else {
        z = step(w[i]);
      }
      const float y = penalty(z, i);
      w[i] = y;
      nonzero += is_nonzero(y) ? 1 : 0;
      nonfinite += is_finite(y) ? 0 : 1;
    }
    counts.nonzero += nonzero;
    counts.nonfinite += nonfinite;
  }
  return counts;
}

template <class Penalty>
StepCounts any_step(StepKind kind, float* w, const float* g, float* v, int64_t n,
                    const StepRate& rate, Penalty penalty) {
  switch (kind) {
    case StepKind::kPlain:
      break;
    case StepKind::kMomentum:
      return step_tensor(MomentumStep<float>{rate}, w, g, v, n, penalty);
    case StepKind::kNesterov:
      return step_tensor(NesterovStep<float>{rate}, w, g, v, n, penalty);
    case StepKind::kThreshold:
      return step_tensor(ThresholdStep<float>{rate}, w, nullptr, nullptr, n, penalty);
  }
  return step_tensor(PlainStep<float>{rate}, w, g, nullptr, n, penalty);
}

StepCounts prox_step(StepKind kind, float* w, const float* g, float* v, int64_t n,
                     const StepRate& rate, float threshold) {
  return any_step(kind, w, g, v, n, rate, L1Penalty<float>::OnTile{threshold});
}

StepCounts frozen_step(StepKind kind, float* w, const float* g, float* v, int64_t n,
                       const StepRate& rate, const uint32_t* bits) {
  return any_step(kind, w, g, v, n, rate, FrozenSupport<float>::OnTile{bits});
}

StepCounts count_entries(const float* w, int64_t n) {
  StepCounts counts;
  for (int64_t first = 0; first < n; first += kStrip) {
    const int64_t end = first + kStrip < n ? first + kStrip : n;
    int32_t nonzero = 0;
    int32_t nonfinite = 0;
    for (int64_t i = first; i < end; ++i) {
      nonzero += is_nonzero(w[i]) ? 1 : 0;
      nonfinite += is_finite(w[i]) ? 0 : 1;
    }
    counts.nonzero += nonzero;
    counts.nonfinite += nonfinite;
  }
  return counts;
}

int64_t keep_largest(float* w, int64_t n, const KeepLargest& keep, int64_t ties_end) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) {
    w[i] = keep(w[i], i < ties_end);
    count += is_nonzero(w[i]) ? 1 : 0;
  }
  return count;
}

int64_t count_nonzero(const float* w, int64_t n) {
  int64_t count = 0;
  for (int64_t first = 0; first < n; first += kStrip) {
    const int64_t end = first + kStrip < n ? first + kStrip : n;
    int32_t nonzero = 0;
    for (int64_t i = first; i < end; ++i) nonzero += is_nonzero(w[i]) ? 1 : 0;
    count += nonzero;
  }
  return count;
}

KktKeys kkt(const float* w, const float* g, int64_t n, float lambda) {
  const KktResidual<float> residual{lambda};
  // Both keys of a block first, their maxima after that: in one loop with its branch on w, which
  // cannot be predicted, nothing vectorises, and it takes five times as long.
  constexpr int64_t kBlock = 512;
  uint32_t nonzero_keys[kBlock];
  uint32_t zero_keys[kBlock];
  uint32_t on_nonzero = 0;
  uint32_t on_zero = 0;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t size = n - begin < kBlock ? n - begin : kBlock;
    for (int64_t i = 0; i < size; ++i) {
      const float value = w[begin + i];
      const float gradient = g[begin + i];
      const uint32_t live = is_nonzero(value) ? ~0U : 0U;
      nonzero_keys[i] = magnitude_key(residual.on_nonzero(value, gradient)) & live;
      zero_keys[i] = magnitude_key(residual.on_zero(gradient)) & ~live;
    }
    for (int64_t i = 0; i < size; ++i) {
      on_nonzero = nonzero_keys[i] > on_nonzero ? nonzero_keys[i] : on_nonzero;
      on_zero = zero_keys[i] > on_zero ? zero_keys[i] : on_zero;
    }
  }
  return {on_nonzero, on_zero};
}

template <class A>
void bias_activation_rows(A act, const float* __restrict b, float* __restrict z,
                          float* __restrict y, int64_t rows, int64_t columns, int64_t stride) {
  for (int64_t r = 0; r < rows; ++r) {
    float* __restrict row = y + r * stride;
    if constexpr (A::kNeedsInput) {
      float* __restrict kept = z + r * stride;
      for (int64_t c = 0; c < columns; ++c) {
        const float t = row[c] + b[c];
        kept[c] = t;
        row[c] = act(t);
      }
    } else {
      for (int64_t c = 0; c < columns; ++c) row[c] = act(row[c] + b[c]);
    }
  }
}

void bias_activation(const DenseShape& shape, const float* b, float* z, float* y, int64_t rows,
                     int64_t columns, int64_t stride) {
  with_activation(shape,
                  [&](auto act) { bias_activation_rows(act, b, z, y, rows, columns, stride); });
}

template <class A, bool mark>
void activation_backward_rows(A act, const float* __restrict kept, float* __restrict dy,
                              float* __restrict db, uint32_t* __restrict marks, int64_t rows,
                              int64_t columns, int64_t stride) {
  for (int64_t c = 0; c < columns; ++c) db[c] = 0.0f;
  for (int64_t r = 0; r < rows; ++r) {
    float* __restrict grad = dy + r * stride;
    const float* __restrict k = kept + r * stride;
    for (int64_t c = 0; c < columns; ++c) {
      const float dz = grad[c] * act.derivative(k[c]);
      grad[c] = dz;
      db[c] += dz;
      if constexpr (mark) marks[c] |= magnitude_key(dz);
    }
  }
}

void activation_backward(const DenseShape& shape, const float* kept, float* dy, float* db,
                         uint32_t* marks, int64_t rows, int64_t columns, int64_t stride) {
  with_activation(shape, [&](auto act) {
    if (marks != nullptr) {
      activation_backward_rows<decltype(act), true>(act, kept, dy, db, marks, rows, columns,
                                                    stride);
    } else {
      activation_backward_rows<decltype(act), false>(act, kept, dy, db, marks, rows, columns,
                                                     stride);
    }
  });
}

void add(const float* __restrict from, int64_t n, float* __restrict to) {
  for (int64_t i = 0; i < n; ++i) to[i] += from[i];
}

void mark_columns(const float* __restrict matrix, int64_t rows, int64_t columns,
                  uint32_t* __restrict marks) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* __restrict row = matrix + r * columns;
    for (int64_t c = 0; c < columns; ++c) marks[c] |= magnitude_key(row[c]);
  }
}

void pack_columns(const float* __restrict from, int64_t rows, int64_t ld,
                  const int32_t* __restrict index, int64_t count, float* __restrict to) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < count; ++i) to[r * count + i] = from[r * ld + index[i]];
  }
}

void spread_columns(const float* __restrict from, int64_t rows, const int32_t* __restrict index,
                    int64_t count, float* __restrict to, int64_t columns) {
  for (int64_t r = 0; r < rows; ++r) {
    float* __restrict row = to + r * columns;
    for (int64_t c = 0; c < columns; ++c) row[c] = 0.0f;
    for (int64_t i = 0; i < count; ++i) row[index[i]] = from[r * count + i];
  }
}

void gemm_plain(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row, int64_t a_column,
                const float* __restrict b, int64_t b_row, int64_t b_column, bool accumulate,
                float* __restrict c, int64_t ldc) {
  for (int64_t i = 0; i < m; ++i) {
    float* __restrict row = c + i * ldc;
    if (!accumulate) {
      for (int64_t j = 0; j < n; ++j) row[j] = 0.0f;
    }
    for (int64_t p = 0; p < k; ++p) {
      const float factor = a[i * a_row + p * a_column];
      const float* __restrict from = b + p * b_row;
      if (b_column == 1) {
        for (int64_t j = 0; j < n; ++j) row[j] = fused_multiply_add(factor, from[j], row[j]);
      } else {
        for (int64_t j = 0; j < n; ++j) {
          row[j] = fused_multiply_add(factor, from[j * b_column], row[j]);
        }
      }
    }
  }
}

#include "cpu/gemm_tile.inl"
#include "cpu/image_loops.inl"

#include "cpu/conv_loops.inl"

double mse(const float* prediction, const float* target, float* gradient, float scale, int64_t n) {
  const SquaredError error{scale};
  double sum = 0.0;
  for (int64_t i = 0; i < n; ++i) sum += error.loss(prediction[i], target[i]);
  if (gradient != nullptr) {
    for (int64_t i = 0; i < n; ++i) gradient[i] = error.gradient(prediction[i], target[i]);
  }
  return sum;
}

double softmax(const float* logits, const int32_t* label, float* gradient, float scale,
               int64_t rows, int64_t columns, uint64_t* correct) {
  const SoftmaxCrossEntropy entropy{scale};
  double total = 0.0;
  uint64_t hits = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const float* z = logits + r * columns;
    int64_t largest = 0;
    for (int64_t j = 1; j < columns; ++j) largest = z[j] > z[largest] ? j : largest;
    const float top = z[largest];
    float sum = 0.0f;
    for (int64_t j = 0; j < columns; ++j) sum += exp_float(z[j] - top);
    const int32_t wanted = label[r];
    total += static_cast<double>(log_float(sum)) - static_cast<double>(z[wanted] - top);
    hits += largest == wanted ? 1U : 0U;
    if (gradient != nullptr) {
      float* to = gradient + r * columns;
      for (int64_t j = 0; j < columns; ++j)
        to[j] = entropy.gradient(exp_float(z[j] - top), sum, j == wanted);
    }
  }
  *correct += hits;
  return total;
}

void uniform(float* to, int64_t first, int64_t end, float bound, uint64_t seed, uint32_t stream) {
  for (int64_t i = first; i < end;) {
    const Philox words =
        Philox::block(seed, static_cast<uint64_t>(i) / 4, stream, RandomPurpose::kInitialisation);
    for (int64_t lane = i % 4; lane < 4 && i < end; ++lane, ++i) {
      to[i] = uniform_symmetric(words.words[lane], bound);
    }
  }
}

void normalise(const uint8_t* __restrict from, int64_t n, const float* __restrict scale,
               const float* __restrict shift, float* __restrict to) {
  for (int64_t i = 0; i < n; ++i) to[i] = NormaliseByte{scale[i], shift[i]}(from[i]);
}

/// keys gets those of x that are in `wanted`; it has room for n.
void append_keys(const float* x, int64_t n, KeyRange wanted, uint32_t* keys) {
  int64_t count = 0;
  int64_t i = 0;
#if defined(__AVX512F__)
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  const __m512i first = _mm512_set1_epi32(static_cast<int32_t>(wanted.first));
  const __m512i width = _mm512_set1_epi32(static_cast<int32_t>(wanted.last - wanted.first));
  for (; i + 16 <= n; i += 16) {
    const __m512i key = _mm512_and_epi32(_mm512_loadu_si512(x + i), magnitude);
    const __mmask16 in = _mm512_cmple_epu32_mask(_mm512_sub_epi32(key, first), width);
    if (in == 0) continue;
    // All sixteen, of which the next overwrites those that are not wanted: count is at most i, and
    // a masked compressing store takes a hundred cycles on some processors.
    _mm512_storeu_si512(keys + count, _mm512_maskz_compress_epi32(in, key));
    count += __builtin_popcount(in);
  }
#endif
  for (; i < n; ++i) {
    const uint32_t key = magnitude_key(x[i]);
    keys[count] = key;  // without a branch, which would be mispredicted
    count += wanted.contains(key) ? 1 : 0;
  }
}

KeyCounts select_keys(const float* x, int64_t n, KeyRange range, KeyRange wanted, uint32_t* keys) {
  constexpr int64_t kBlock = 4096;  // read twice, from the nearest cache
  const uint32_t below_width = wanted.first - range.first;
  int64_t inside = 0;
  int64_t below = 0;
  int64_t among = 0;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = begin + kBlock < n ? begin + kBlock : n;
    int32_t in_range = 0;
    int32_t in_below = 0;
    int32_t in_wanted = 0;
    for (int64_t i = begin; i < end; ++i) {
      const uint32_t key = magnitude_key(x[i]);
      in_range += range.contains(key) ? 1 : 0;
      in_below += key - range.first < below_width ? 1 : 0;
      in_wanted += wanted.contains(key) ? 1 : 0;
    }
    if (keys != nullptr && in_wanted > 0) append_keys(x + begin, end - begin, wanted, keys + among);
    inside += in_range;
    below += in_below;
    among += in_wanted;
  }
  return {inside, below, among};
}

void histogram(const float* x, int64_t n, KeyRange range, uint32_t shift, uint64_t* bins) {
  const uint32_t base = range.first >> shift;
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t key = magnitude_key(x[i]);
    if (range.contains(key)) ++bins[(key >> shift) - base];
  }
}

}  // namespace
}  // namespace CTH_LOOPS_NAMESPACE

namespace ns = CTH_LOOPS_NAMESPACE;
const Loops CTH_LOOPS_TABLE = {CTH_LOOPS_NAME,
                               ns::prox_step,
                               ns::frozen_step,
                               ns::count_entries,
                               ns::keep_largest,
                               ns::count_nonzero,
                               ns::kkt,
                               ns::bias_activation,
                               ns::activation_backward,
                               ns::add,
                               ns::mark_columns,
                               ns::pack_columns,
                               ns::spread_columns,
                               ns::gemm_plain,
                               ns::gemm_tiled,
                               ns::conv_pack,
                               ns::conv_forward,
                               ns::conv_backward_data,
                               ns::conv_backward_weights,
                               ns::mse,
                               ns::softmax,
                               ns::uniform,
                               ns::normalise,
                               ns::select_keys,
                               ns::histogram,
                               ns::kLayers};

}  // namespace cuthresh::cpu
