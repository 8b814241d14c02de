#pragma once

#include "backend/image_ops.hpp"
#include "kernels/math/pool.hpp"

namespace cuthresh {

/// A pool's shape as loops and kernels take it.
inline PoolGeometry pool_geometry(const PoolShape& shape) {
  const Window& w = shape.window;
  const ImageShape out = shape.out();
  return {{shape.in.height, out.height, w.height, w.stride_height, w.pad_height},
          {shape.in.width, out.width, w.width, w.stride_width, w.pad_width},
          shape.in.channels};
}

}  // namespace cuthresh
