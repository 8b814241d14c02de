#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "backend/checks_images.hpp"
#include "cpu/backend_impl.hpp"
#include "kernels/math/image.hpp"

namespace cuthresh::cpu {
namespace {

/// Line y of an image as it comes out of a move; black where the image has no pixel.
void move_line(const ImageMove& move, const ImageShape& shape, const std::uint8_t* image,
               std::int32_t y, std::uint8_t* line) {
  const std::int64_t width = shape.width;
  const std::int64_t channels = shape.channels;
  const auto bytes = [channels](std::int64_t pixels) {
    return static_cast<std::size_t>(pixels * channels);
  };
  const std::int32_t row = move.row(y);
  if (row < 0 || row >= shape.height) {
    std::memset(line, 0, bytes(width));
    return;
  }
  const std::uint8_t* from = image + row * width * channels;
  if (move.mirrored) {
    for (std::int32_t x = 0; x < move.width; ++x) {
      const std::int64_t column = move.column(x);
      const bool inside = column >= 0 && column < width;
      for (std::int64_t c = 0; c < channels; ++c) {
        line[x * channels + c] = inside ? from[column * channels + c] : std::uint8_t{0};
      }
    }
    return;
  }
  const std::int64_t first = std::clamp<std::int64_t>(-move.right, 0, width);
  const std::int64_t end = std::clamp<std::int64_t>(width - move.right, first, width);
  std::memset(line, 0, bytes(first));
  if (first < end) {
    std::memcpy(line + first * channels, from + (first + move.right) * channels,
                bytes(end - first));
  }
  std::memset(line + end * channels, 0, bytes(width - end));
}

}  // namespace

void CpuBackend::gather_images(const GatherImages& args) {
  check_images(args);
  if (args.rows == 0) return;
  const ImageShape& s = args.shape;
  const std::int64_t elements = s.elements();
  // Scale and shift an element, for as many pixels as are done in one go: one loop for any number
  // of channels.
  constexpr std::int64_t kPixels = 1024;
  const std::int64_t strip = std::min(s.positions(), kPixels) * s.channels;
  image_scale_.resize(static_cast<std::size_t>(strip));
  image_shift_.resize(static_cast<std::size_t>(strip));
  for (std::int64_t i = 0; i < strip; i += s.channels) {
    std::copy_n(args.scale, s.channels, image_scale_.begin() + i);
    std::copy_n(args.shift, s.channels, image_shift_.begin() + i);
  }
  const bool moves = args.crop > 0 || args.flip;
  const auto step = static_cast<std::uint32_t>(step_number(args.of_step.plan, args.of_step.step));
  const std::int64_t* const index =
      args.index == nullptr ? nullptr : args.index + first_row(args.of_step);
  constexpr std::int64_t kElementsWorthAThread = 16384;
  const std::int64_t grain = std::max<std::int64_t>(1, kElementsWorthAThread / elements);
  threads_.ranges(args.rows, grain, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::uint8_t> moved(moves ? static_cast<std::size_t>(elements) : 0);
    for (std::int64_t r = begin; r < end; ++r) {
      const std::uint8_t* image = args.from + (index == nullptr ? r : index[r]) * elements;
      if (moves) {
        const ImageMove move =
            ImageMove::draw(args.seed, step, r, static_cast<std::int32_t>(s.width),
                            static_cast<std::int32_t>(args.crop), args.flip);
        for (std::int32_t y = 0; y < s.height; ++y) {
          move_line(move, s, image, y, moved.data() + y * s.width * s.channels);
        }
        image = moved.data();
      }
      float* to = args.to + r * elements;
      for (std::int64_t i = 0; i < elements; i += strip) {
        loops_.normalise(image + i, std::min(strip, elements - i), image_scale_.data(),
                         image_shift_.data(), to + i);
      }
    }
  });
}

}  // namespace cuthresh::cpu
