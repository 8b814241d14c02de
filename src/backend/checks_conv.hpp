#pragma once

#include <string>

#include "backend/image_ops.hpp"

namespace cuthresh {

/// "128 images of 28 x 28 with 1 channels to 32 channels, window 3 x 3, stride …", for messages.
std::string conv_text(const ConvShape& shape);

/// Extents, their products, a window that fits, pointers that are needed.
void check_conv(const ConvForward& args);
void check_conv(const ConvBackward& args);

}  // namespace cuthresh
