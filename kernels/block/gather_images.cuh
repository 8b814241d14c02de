#pragma once

// to[r] = the bytes of image index[first + r] (r without an index) as float32, normalised by
// channel, and moved and mirrored at random where asked. 5 bytes moved an element (1 read, 4
// written) and 8 an image for the index; limiter: memory; a moved image costs one Philox block for
// every four elements. Four elements a thread, loaded as one word where nothing moves, where the
// image's elements divide by 4 and both arrays are aligned; else one. `to` overlaps nothing else.
// An image has fewer than 2^31 elements, so that places inside one are 32-bit; all images together
// may have any number. Equal to src/cpu/images.cpp to the bit. tests/kernels/gather_images_test.cpp

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/block/matrix_tile.cuh"
#include "kernels/math/image.hpp"
#include "kernels/math/step_number.hpp"
#include "kernels/pack.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

struct ImageGather {
  float* to;
  const std::uint8_t* from;
  const std::int64_t* index;  // null: images 0, 1, …
  const float* scale;         // a channel
  const float* shift;
  std::int64_t rows;
  std::int32_t height;
  std::int32_t width;
  std::int32_t channels;
  std::int32_t crop;
  std::uint64_t seed;
  RowsOfStep of_step;  // which part of the index, and which draws
  bool flip;

  CTH_HD std::int64_t elements() const { return std::int64_t{height} * width * channels; }
  CTH_HD bool moves() const { return crop > 0 || flip; }
};

namespace device {

template <int kUnit>
CTH_HD MatrixTiles gather_images_division(std::int64_t rows, std::int64_t elements) {
  return MatrixTiles::of_size(rows, elements / kUnit, 512);
}

/// kUnit neighbouring elements of an image: the same places in every image that a thread does.
template <int kUnit>
struct ImagePlace {
  NormaliseByte normalise[kUnit];
  std::int32_t y[kUnit];
  std::int32_t x[kUnit];
  std::int32_t channel[kUnit];

  CTH_DEVICE static ImagePlace of(const ImageGather& images, std::int64_t unit) {
    ImagePlace place;
    CTH_UNROLL
    for (int i = 0; i < kUnit; ++i) {
      const auto element = static_cast<std::uint32_t>(unit * kUnit + i);
      const auto channels = static_cast<std::uint32_t>(images.channels);
      const std::uint32_t pixel = element / channels;
      const std::uint32_t channel = element - pixel * channels;
      const std::uint32_t y = pixel / static_cast<std::uint32_t>(images.width);
      place.normalise[i] = {images.scale[channel], images.shift[channel]};
      place.y[i] = static_cast<std::int32_t>(y);
      place.x[i] = static_cast<std::int32_t>(pixel - y * static_cast<std::uint32_t>(images.width));
      place.channel[i] = static_cast<std::int32_t>(channel);
    }
    return place;
  }
};

template <int kUnit>
CTH_DEVICE void load_moved(const ImageGather& images, std::uint32_t step,
                           const ImagePlace<kUnit>& place, std::int64_t row,
                           const std::uint8_t* image, std::uint8_t* bytes) {
  const ImageMove move =
      ImageMove::draw(images.seed, step, row, images.width, images.crop, images.flip);
  CTH_UNROLL
  for (int i = 0; i < kUnit; ++i) {
    const std::int32_t y = move.row(place.y[i]);
    const std::int32_t x = move.column(place.x[i]);
    const bool inside = y >= 0 && y < images.height && x >= 0 && x < images.width;
    bytes[i] = inside ? image[(y * images.width + x) * images.channels + place.channel[i]]
                      : std::uint8_t{0};
  }
}

template <int kUnit>
CTH_DEVICE void load_in_place(const std::uint8_t* from, std::uint8_t* bytes) {
  if constexpr (kUnit == 4) {
    std::uint32_t word = 0;
    std::memcpy(&word, static_cast<const std::uint32_t*>(__builtin_assume_aligned(from, 4)), 4);
    CTH_UNROLL
    for (int i = 0; i < 4; ++i) bytes[i] = static_cast<std::uint8_t>(word >> (8 * i));
  } else {
    bytes[0] = *from;
  }
}

template <int kUnit, bool kMoves, std::uint32_t kThreads>
CTH_DEVICE void gather_images(const ImageGather& images) {
  const std::int64_t elements = images.elements();
  const std::int64_t* const index =
      images.index == nullptr ? nullptr : images.index + images.of_step.first();
  const auto step = static_cast<std::uint32_t>(images.of_step.step());
  const MatrixTiles tiles = gather_images_division<kUnit>(images.rows, elements);
  for (std::int64_t tile = block_index(); tile < tiles.count(); tile += block_count()) {
    const TileShare share = TileShare::of<kThreads>(tiles, tile);
    if (share.row >= share.end) continue;
    const auto place = ImagePlace<kUnit>::of(images, share.unit);
    for (std::int64_t row = share.row; row < share.end; row += share.step) {
      const std::int64_t which = index == nullptr ? row : index[row];
      const std::uint8_t* image = images.from + which * elements;
      std::uint8_t bytes[kUnit];
      if constexpr (kMoves) {
        load_moved<kUnit>(images, step, place, row, image, bytes);
      } else {
        load_in_place<kUnit>(image + share.unit * kUnit, bytes);
      }
      float* to = images.to + row * elements + share.unit * kUnit;
      if constexpr (kUnit == 4) {
        Pack<float> values;
        CTH_UNROLL
        for (int i = 0; i < 4; ++i) values.value[i] = place.normalise[i](bytes[i]);
        store_pack(to, values);
      } else {
        store_global(to, place.normalise[0](bytes[0]));
      }
    }
  }
}

}  // namespace device

/// Blocks that have work at most: more find nothing to do.
CTH_HD std::int64_t gather_images_tiles(std::int64_t rows, std::int64_t elements) {
  return device::gather_images_division<1>(rows, elements).count();
}

template <std::uint32_t kThreads>
CTH_KERNEL(kThreads)
gather_images_kernel(ImageGather images) {
  const bool words = is_pack_aligned(images.to) && images.elements() % 4 == 0 &&
                     reinterpret_cast<std::uintptr_t>(images.from) % 4 == 0;
  if (images.moves()) {
    if (words) {
      device::gather_images<4, true, kThreads>(images);
    } else {
      device::gather_images<1, true, kThreads>(images);
    }
  } else {
    if (words) {
      device::gather_images<4, false, kThreads>(images);
    } else {
      device::gather_images<1, false, kThreads>(images);
    }
  }
}

}  // namespace cuthresh
