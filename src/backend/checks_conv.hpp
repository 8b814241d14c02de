#pragma once

#include "backend/image_ops.hpp"

namespace cuthresh {

/// Extents, their products, a window that fits, pointers that are needed.
void check_conv(const ConvForward& args);
void check_conv(const ConvBackward& args);

}  // namespace cuthresh
