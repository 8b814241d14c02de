#pragma once

#include <cstdint>

#include "kernels/math/philox.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

/// A byte of an image as a network's input. With scale = 1/(255·std) and shift = −mean/std that is
/// (byte/255 − mean)/std, rounded once.
struct NormaliseByte {
  float scale;
  float shift;
  CTH_HD float operator()(std::uint8_t byte) const {
    return __builtin_fmaf(static_cast<float>(byte), scale, shift);
  }
};

/// How one image is moved before it is used: pixel (y, x) of what comes out is pixel (row(y),
/// column(x)) of the image, or black where the image has none. That is a crop at random out of the
/// image with a black border, then a mirror image left to right.
struct ImageMove {
  std::int32_t down = 0;
  std::int32_t right = 0;
  std::int32_t width = 0;
  bool mirrored = false;

  /// Row `row` of training step `step`: words 0, 1 and 2 of one Philox block are the two offsets,
  /// uniform on −crop … crop to 2^−31·crop, and whether it is mirrored. An image has fewer than
  /// 2^31 elements and crop is below both extents, so nothing here leaves 32 bits.
  CTH_HD static ImageMove draw(std::uint64_t seed, std::uint32_t step, std::int64_t row,
                               std::int32_t width, std::int32_t crop, bool flip) {
    const Philox random =
        Philox::block(seed, std::uint64_t{step} << 32 | static_cast<std::uint64_t>(row), 0,
                      RandomPurpose::kAugmentation);
    const std::uint64_t places = 2 * static_cast<std::uint64_t>(crop) + 1;
    ImageMove move;
    move.down = static_cast<std::int32_t>(random.words[0] * places >> 32) - crop;
    move.right = static_cast<std::int32_t>(random.words[1] * places >> 32) - crop;
    move.width = width;
    move.mirrored = flip && random.words[2] >> 31 != 0;
    return move;
  }

  CTH_HD std::int32_t row(std::int32_t y) const { return y + down; }
  CTH_HD std::int32_t column(std::int32_t x) const {
    return (mirrored ? width - 1 - x : x) + right;
  }
};

}  // namespace cuthresh
