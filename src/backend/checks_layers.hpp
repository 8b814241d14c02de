#pragma once

// What every room refuses of pools, batch normalisation, element-wise layers and dropout, before it
// enqueues anything: extents, their products, pointers that are needed.

#include <cstdint>

#include "backend/backend.hpp"

namespace cuthresh {

void check_pool(const PoolForward& args);
void check_pool(const PoolBackward& args);
void check_batch_norm(const BatchNormForward& args);
void check_batch_norm(const BatchNormBackward& args);
void check_pointwise(const PointwiseForward& args);
void check_pointwise(const PointwiseBackward& args);
void check_dropout(const Dropout& args);
void check_add(const float* to, const float* from, std::int64_t size);
void check_transpose(const float* to, const float* from, std::int64_t rows, std::int64_t lines,
                     std::int64_t columns);

}  // namespace cuthresh
