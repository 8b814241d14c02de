// The serial loops of the CPU room. Included once per instruction set by loops_<isa>.cpp, which
// differ in their compiler options only. Nothing here may call an inline function that other files
// call too, unless it is forced inline (CTH_HD): the linker keeps one copy of the others, and it
// could be the one for AVX-512.

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <cstdint>
#include <type_traits>

#include "cpu/loops.hpp"
#include "kernels/math/activations.hpp"
#include "kernels/math/bracket.hpp"
#include "kernels/math/image.hpp"
#include "kernels/math/keep_largest.hpp"
#include "kernels/math/kkt.hpp"
#include "kernels/math/loss.hpp"
#include "kernels/math/penalty.hpp"
#include "kernels/math/philox.hpp"
#include "kernels/math/refresh.hpp"
#include "kernels/math/step.hpp"

namespace cuthresh::cpu {
namespace CTH_LOOPS_NAMESPACE {
namespace {

using std::int32_t;
using std::int64_t;
using std::uint32_t;
using std::uint64_t;
using std::uint8_t;

#include "cpu/list_loops.inl"

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

}  // namespace
}  // namespace CTH_LOOPS_NAMESPACE

namespace ns = CTH_LOOPS_NAMESPACE;
const Loops CTH_LOOPS_TABLE = {CTH_LOOPS_NAME,
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
                               ns::list_loops<float>(),
                               ns::list_loops<double>(),
                               ns::list_loops<Bf16>(),
                               ns::list_loops<Fp16>(),
                               ns::kLayers};

}  // namespace cuthresh::cpu
