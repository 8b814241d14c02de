#pragma once

#include "backend/image_ops.hpp"

namespace cuthresh {

/// gather_images: extents from 1, fewer than 2^31 elements an image, pointers that are needed, a
/// crop smaller than the image, fewer than 2^32 rows where something is drawn a row. Throws
/// InternalError.
void check_images(const GatherImages& args);

}  // namespace cuthresh
