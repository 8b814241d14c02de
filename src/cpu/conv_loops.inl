// Direct convolutions, part of loops.inl. Sixteen channels of a result are worked on together, each
// one chain of fused multiply-adds in a fixed order: the same bits on every instruction set.

constexpr int64_t kConvLanes = kConvBlock;

struct ConvLanes {
#if defined(__AVX512F__) || defined(__AVX2__)
  static constexpr int kVectors = static_cast<int>(kConvLanes) / Lanes::kWidth;
  Lanes::Vector value[kVectors];

  CTH_HD void clear() {
    for (int v = 0; v < kVectors; ++v) value[v] = Lanes::zero();
  }
  /// value += factor·from[0 … 16).
  CTH_HD void add(const float* factor, const float* from) {
    const Lanes::Vector f = Lanes::broadcast(factor);
    for (int v = 0; v < kVectors; ++v) {
      value[v] = Lanes::multiply_add(f, Lanes::load(from + v * Lanes::kWidth), value[v]);
    }
  }
  CTH_HD void store(float* to) const {
    for (int v = 0; v < kVectors; ++v) Lanes::store_whole(to + v * Lanes::kWidth, value[v]);
  }
#else
  float value[kConvLanes];

  CTH_HD void clear() {
    for (int64_t j = 0; j < kConvLanes; ++j) value[j] = 0.0f;
  }
  CTH_HD void add(const float* factor, const float* from) {
    for (int64_t j = 0; j < kConvLanes; ++j) {
      value[j] = fused_multiply_add(*factor, from[j], value[j]);
    }
  }
  CTH_HD void store(float* to) const {
    for (int64_t j = 0; j < kConvLanes; ++j) to[j] = value[j];
  }
#endif
};

// Where tap `tap` of the result at `at` reads along one side; −1: in the padding, or (backward) at
// none of the window's positions.
template <bool kBackward>
CTH_HD int64_t conv_source(int64_t at, int64_t tap, int64_t stride, int64_t pad, int64_t extent) {
  if constexpr (kBackward) {
    int64_t t = at + pad - tap;
    if (t < 0) return -1;
    if (stride != 1) {
      if (t % stride != 0) return -1;
      t /= stride;
    }
    return t < extent ? t : -1;
  } else {
    const int64_t t = at * stride - pad + tap;
    return t < extent ? (t < 0 ? -1 : t) : -1;
  }
}

// One pixel of the result, kBlocks blocks of 16 channels: Σ over taps and channels of from, in
// order.
template <bool kBackward, int kBlocks>
void conv_pixel(const Window& window, const ImageShape& source, const float* image, int64_t line,
                int64_t column, const float* packed, int64_t block_stride, float* to,
                int64_t to_channels) {
  ConvLanes sum[kBlocks];
  for (int b = 0; b < kBlocks; ++b) sum[b].clear();
  const int64_t channels = source.channels;
  for (int64_t ky = 0; ky < window.height; ++ky) {
    const int64_t iy =
        conv_source<kBackward>(line, ky, window.stride_height, window.pad_height, source.height);
    if (iy < 0) continue;
    for (int64_t kx = 0; kx < window.width; ++kx) {
      const int64_t ix =
          conv_source<kBackward>(column, kx, window.stride_width, window.pad_width, source.width);
      if (ix < 0) continue;
      const float* from = image + (iy * source.width + ix) * channels;
      const float* w = packed + (ky * window.width + kx) * channels * kConvLanes;
      for (int64_t c = 0; c < channels; ++c) {
        for (int b = 0; b < kBlocks; ++b) sum[b].add(from + c, w + b * block_stride);
        w += kConvLanes;
      }
    }
  }
  for (int b = 0; b < kBlocks; ++b) {
    const int64_t left = to_channels - b * kConvLanes;
    if (left >= kConvLanes) {
      sum[b].store(to + b * kConvLanes);
    } else {
      alignas(64) float rest[kConvLanes];
      sum[b].store(rest);
      for (int64_t j = 0; j < left; ++j) to[b * kConvLanes + j] = rest[j];
    }
  }
}

template <bool kBackward>
void conv_lines(const Window& window, const ImageShape& source, const ImageShape& result,
                const float* from, const float* packed, float* to, int64_t begin, int64_t end) {
  const int64_t block_stride = window.height * window.width * source.channels * kConvLanes;
  const int64_t blocks = (result.channels + kConvLanes - 1) / kConvLanes;
  for (int64_t i = begin; i < end; ++i) {
    const float* image = from + i / result.height * source.height * source.width * source.channels;
    const int64_t line = i % result.height;
    // Blocks outside pixels: the weights of a block stay in the cache for a whole line.
    for (int64_t b = 0; b < blocks;) {
      const float* w = packed + b * block_stride;
      const int64_t first = b * kConvLanes;
      const int64_t at_once = blocks - b >= 4 ? 4 : (blocks - b >= 2 ? 2 : 1);
      for (int64_t column = 0; column < result.width; ++column) {
        float* pixel = to + (i * result.width + column) * result.channels + first;
        const int64_t channels = result.channels - first;
        if (at_once == 4) {
          conv_pixel<kBackward, 4>(window, source, image, line, column, w, block_stride, pixel,
                                   channels);
        } else if (at_once == 2) {
          conv_pixel<kBackward, 2>(window, source, image, line, column, w, block_stride, pixel,
                                   channels);
        } else {
          conv_pixel<kBackward, 1>(window, source, image, line, column, w, block_stride, pixel,
                                   channels);
        }
      }
      b += at_once;
    }
  }
}

// Written out: ConvShape's own functions are inline, and the linker keeps one copy of those.
CTH_HD ImageShape conv_result(const ConvShape& s) {
  return {(s.in.height + 2 * s.window.pad_height - s.window.height) / s.window.stride_height + 1,
          (s.in.width + 2 * s.window.pad_width - s.window.width) / s.window.stride_width + 1,
          s.out_channels};
}

void conv_forward(const ConvShape& shape, const float* x, const float* packed, float* y,
                  int64_t begin, int64_t end) {
  conv_lines<false>(shape.window, shape.in, conv_result(shape), x, packed, y, begin, end);
}

void conv_backward_data(const ConvShape& shape, const float* dz, const float* packed, float* dx,
                        int64_t begin, int64_t end) {
  conv_lines<true>(shape.window, conv_result(shape), shape.in, dz, packed, dx, begin, end);
}

// packed[block, tap, channel, 16]: 16 channels of the result side by side, zeros behind the last.
void conv_pack(const ConvShape& shape, const float* w, bool backward, float* packed) {
  const int64_t in = shape.in.channels;
  const int64_t out = shape.out_channels;
  const int64_t taps = shape.window.height * shape.window.width;
  const int64_t results = backward ? in : out;
  const int64_t sources = backward ? out : in;
  for (int64_t first = 0; first < results; first += kConvLanes) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int64_t c = 0; c < sources; ++c) {
        for (int64_t j = 0; j < kConvLanes; ++j) {
          const int64_t r = first + j;
          const int64_t o = backward ? c : r;
          const int64_t i = backward ? r : c;
          *packed++ = r < results ? w[(o * in + i) * taps + tap] : 0.0f;
        }
      }
    }
  }
}

// The positions of the window, along one side, whose tap `tap` lies in the image: [begin, end).
struct ConvRange {
  int64_t begin;
  int64_t end;
};
CTH_HD ConvRange conv_range(int64_t tap, int64_t stride, int64_t pad, int64_t extent,
                            int64_t positions) {
  const int64_t first = pad > tap ? (pad - tap + stride - 1) / stride : 0;
  const int64_t room = extent + pad - tap;  // at·stride < room
  const int64_t last = room <= 0 ? 0 : (room + stride - 1) / stride;
  return {first, last < positions ? last : positions};
}

// dw of kInputs input channels, at most 16 output channels and one tap += one sample's sum.
template <int kInputs>
void conv_weights_tap(const ConvShape& shape, const ImageShape& out, const float* x,
                      const float* dz, int64_t count, int64_t ky, int64_t kx, float* dw,
                      int64_t out_stride, int64_t in_stride) {
  const Window& window = shape.window;
  const ConvRange lines =
      conv_range(ky, window.stride_height, window.pad_height, shape.in.height, out.height);
  const ConvRange columns =
      conv_range(kx, window.stride_width, window.pad_width, shape.in.width, out.width);
  ConvLanes sum[kInputs];
  for (int i = 0; i < kInputs; ++i) sum[i].clear();
  for (int64_t oy = lines.begin; oy < lines.end; ++oy) {
    const int64_t iy = oy * window.stride_height - window.pad_height + ky;
    for (int64_t ox = columns.begin; ox < columns.end; ++ox) {
      const int64_t ix = ox * window.stride_width - window.pad_width + kx;
      const float* from = x + (iy * shape.in.width + ix) * shape.in.channels;
      const float* gradient = dz + (oy * out.width + ox) * out.channels;
      if (count == kConvLanes) {
        for (int i = 0; i < kInputs; ++i) sum[i].add(from + i, gradient);
      } else {
        alignas(64) float rest[kConvLanes] = {};
        for (int64_t j = 0; j < count; ++j) rest[j] = gradient[j];
        for (int i = 0; i < kInputs; ++i) sum[i].add(from + i, rest);
      }
    }
  }
  for (int i = 0; i < kInputs; ++i) {
    alignas(64) float total[kConvLanes];
    sum[i].store(total);
    for (int64_t j = 0; j < count; ++j) dw[j * out_stride + i * in_stride] += total[j];
  }
}

// Units [begin, end) of dw: unit = (block of 16 output channels, 4 input channels, tap). A sample's
// sum first, then samples in order.
void conv_backward_weights(const ConvShape& shape, const float* x, const float* dz, float* dw,
                           int64_t begin, int64_t end) {
  const ImageShape out = conv_result(shape);
  const int64_t taps = shape.window.height * shape.window.width;
  const int64_t in = shape.in.channels;
  const int64_t groups = (in + kConvInputs - 1) / kConvInputs;
  for (int64_t row = 0; row < shape.rows; ++row) {
    const float* image = x + row * shape.in.height * shape.in.width * in;
    const float* gradient = dz + row * out.height * out.width * out.channels;
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t tap = unit % taps;
      const int64_t channel = unit / taps % groups * kConvInputs;
      const int64_t first = unit / taps / groups * kConvLanes;
      const int64_t count = out.channels - first < kConvLanes ? out.channels - first : kConvLanes;
      const int64_t ky = tap / shape.window.width;
      const int64_t kx = tap % shape.window.width;
      float* to = dw + (first * in + channel) * taps + tap;
      if (in - channel >= kConvInputs) {
        conv_weights_tap<kConvInputs>(shape, out, image + channel, gradient + first, count, ky, kx,
                                      to, in * taps, taps);
      } else {
        for (int64_t i = 0; i < in - channel; ++i) {
          conv_weights_tap<1>(shape, out, image + channel + i, gradient + first, count, ky, kx,
                              to + i * taps, in * taps, taps);
        }
      }
    }
  }
}
