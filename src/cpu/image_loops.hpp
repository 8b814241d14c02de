#pragma once

#include <cstdint>

#include "backend/image_ops.hpp"
#include "kernels/math/batch_norm.hpp"
#include "kernels/math/dropout.hpp"
#include "kernels/math/pool.hpp"

namespace cuthresh::cpu {

/// The serial loops of pools, batch normalisation, element-wise layers and dropout, compiled once
/// per instruction set from image_loops.inl. Matrices are dense [rows, channels].
struct LayerLoops {
  // Pools work on lines: rows of output positions (forward) or of input entries (backward),
  // numbered through all samples. winner may be null.
  void (*max_pool)(const PoolGeometry& g, const float* x, float* y, std::uint8_t* winner,
                   std::int64_t first, std::int64_t end);
  void (*average_pool)(const PoolGeometry& g, const float* x, float* y, std::int64_t first,
                       std::int64_t end);
  void (*max_pool_backward)(const PoolGeometry& g, const float* dy, const std::uint8_t* winner,
                            float* dx, std::int64_t first, std::int64_t end);
  void (*average_pool_backward)(const PoolGeometry& g, const float* dy, float* dx,
                                std::int64_t first, std::int64_t end);

  /// sum[c] = the sum of x over the rows, one by one.
  void (*column_sums)(const float* x, std::int64_t rows, std::int64_t channels, float* sum);
  /// The same of (x − mean)².
  void (*deviation_sums)(const float* x, const float* mean, std::int64_t rows,
                         std::int64_t channels, float* sum);
  /// total[c] = the sum over `blocks` rows of partials, in groups of kNormGroupBlocks.
  void (*add_blocks)(const float* partials, std::int64_t blocks, std::int64_t channels,
                     float* total);
  /// y = act(batch_norm(x)); z where the activation keeps it.
  void (*normalise)(const BatchNormShape& shape, const float* x, const float* mean,
                    const float* inverse_std, const float* gamma, const float* beta, float* z,
                    float* y, std::int64_t rows);
  /// dy ← dz = dy·act'(kept); sums over the rows of dz and of dz·x̂.
  void (*norm_sums)(const BatchNormShape& shape, const float* kept, float* dy, const float* x,
                    const float* mean, const float* inverse_std, std::int64_t rows, float* sum_dz,
                    float* sum_dz_shape);
  /// dx, which may be dz, from dz and its sums over all shape.rows rows, for `rows` of them.
  void (*norm_gradient)(const BatchNormShape& shape, const float* dz, const float* x,
                        const float* mean, const float* inverse_std, const float* gamma,
                        const float* sum_dz, const float* sum_dz_shape, float* dx,
                        std::int64_t rows);

  // y may be an operand.
  void (*pointwise)(const PointwiseForward& args, std::int64_t begin, std::int64_t end);
  void (*pointwise_backward)(const PointwiseBackward& args, std::int64_t begin, std::int64_t end);
  /// `begin` is a multiple of 4; to may be from.
  void (*dropout)(const DropoutMask& mask, const float* from, float* to, std::int64_t begin,
                  std::int64_t end);
  /// to [columns, lines] = from [lines, columns] transposed, for columns [begin, end).
  void (*transpose)(const float* from, std::int64_t lines, std::int64_t columns, std::int64_t begin,
                    std::int64_t end, float* to);
};

}  // namespace cuthresh::cpu
