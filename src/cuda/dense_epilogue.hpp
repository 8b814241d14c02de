#pragma once

#include "backend/backend.hpp"
#include "cuda/context.hpp"

namespace cuthresh::cuda {

// The launches around a product whose result is a matrix [shape.rows, shape.out], for layers of all
// kinds (kernels/block/dense_bias.cuh); shape.in is not looked at. At least one row. Defined in
// dense.cu.

/// y ← act(y + b); z, where the activation needs it, gets y + b.
void enqueue_bias_activation(Context& context, const DenseShape& shape, const float* b, float* z,
                             float* y);
/// dy ← dy·act′(kept), kept being z or y; db is set to the column sums, or they are added to it.
void enqueue_activation_backward(Context& context, const DenseShape& shape, const float* kept,
                                 float* dy, float* db, bool accumulate);

}  // namespace cuthresh::cuda
