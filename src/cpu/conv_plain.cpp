#include <algorithm>
#include <vector>

#include "cpu/conv.hpp"

namespace cuthresh::cpu {
namespace {

// Below this many multiply-adds a fork costs more than it saves (dense.cpp).
constexpr std::int64_t kConvWorthAThread = 1 << 16;

std::int64_t conv_grain(std::int64_t work_per_unit) {
  return kConvWorthAThread / std::max<std::int64_t>(1, work_per_unit) + 1;
}

std::int64_t rounded_up(std::int64_t n, std::int64_t unit) {
  return (n + unit - 1) / unit;
}

class PlainConv final : public Conv {
 public:
  explicit PlainConv(const Loops& loops) : loops_(loops) {}

  void forward(const ConvForward& args, const Threads& threads) override {
    const ConvShape& s = args.shape;
    const ImageShape out = s.out();
    const float* packed = pack(s, args.w, false);
    const float* bias = args.b;
    if (bias == nullptr) {
      zeros_.resize(static_cast<std::size_t>(s.out_channels), 0.0f);
      bias = zeros_.data();
    }
    const bool epilogue = args.b != nullptr || s.activation != Activation::kIdentity;
    const std::int64_t line = out.width * out.channels;
    const std::int64_t work = line * s.in.channels * s.window.elements();
    threads.ranges(
        s.rows * out.height, conv_grain(work), 1, [&](std::int64_t begin, std::int64_t end) {
          loops_.conv_forward(s, args.x, packed, args.y, begin, end);
          if (!epilogue) return;
          loops_.bias_activation(
              epilogue_shape(s), bias, args.z == nullptr ? nullptr : args.z + begin * line,
              args.y + begin * line, (end - begin) * out.width, out.channels, out.channels);
        });
  }

  void backward(const ConvBackward& args, const Threads& threads) override {
    const ConvShape& s = args.shape;
    backward_activation(args, threads);
    if (args.dx != nullptr) {
      const float* packed = pack(s, args.w, true);
      const std::int64_t work = s.in.width * s.in.channels * s.out_channels * s.window.elements();
      threads.ranges(s.rows * s.in.height, conv_grain(work), 1,
                     [&](std::int64_t begin, std::int64_t end) {
                       loops_.conv_backward_data(s, args.dy, packed, args.dx, begin, end);
                     });
    }
    if (!args.accumulate) std::fill(args.dw, args.dw + s.weights(), 0.0f);
    const std::int64_t units = rounded_up(s.out_channels, kConvBlock) *
                               rounded_up(s.in.channels, kConvInputs) * s.window.elements();
    const std::int64_t work = s.rows * s.out().positions() * kConvBlock * kConvInputs;
    threads.ranges(units, conv_grain(work), 1, [&](std::int64_t begin, std::int64_t end) {
      loops_.conv_backward_weights(s, args.x, args.dy, args.dw, begin, end);
    });
  }

 private:
  const float* pack(const ConvShape& s, const float* w, bool backward) {
    const std::int64_t results = backward ? s.in.channels : s.out_channels;
    const std::int64_t sources = backward ? s.out_channels : s.in.channels;
    const std::int64_t size =
        rounded_up(results, kConvBlock) * kConvBlock * sources * s.window.elements();
    if (packed_.size() < static_cast<std::size_t>(size)) {
      packed_.resize(static_cast<std::size_t>(size));
    }
    loops_.conv_pack(s, w, backward, packed_.data());
    return packed_.data();
  }

  // dy ← ∂L/∂z and db, over the matrix [rows·positions, out_channels], as a dense layer's.
  void backward_activation(const ConvBackward& args, const Threads& threads) {
    const ConvShape& s = args.shape;
    if (s.activation == Activation::kIdentity && args.db == nullptr) return;
    const std::int64_t columns = s.out_channels;
    const std::int64_t rows = s.rows * s.out().positions();
    const std::int64_t blocks = rounded_up(rows, kSumBlockRows);
    partials_.resize(static_cast<std::size_t>(blocks * columns));
    const float* kept = needs_preactivation(s.activation) ? args.z : args.y;
    threads.ranges(blocks, conv_grain(kSumBlockRows * columns * 8), 1,
                   [&](std::int64_t begin, std::int64_t end) {
                     for (std::int64_t i = begin; i < end; ++i) {
                       const std::int64_t first = i * kSumBlockRows;
                       loops_.activation_backward(
                           epilogue_shape(s), kept + first * columns, args.dy + first * columns,
                           partials_.data() + i * columns, nullptr,
                           std::min(kSumBlockRows, rows - first), columns, columns);
                     }
                   });
    if (args.db == nullptr) return;
    for (std::int64_t c = 0; c < columns; ++c) {
      float sum = args.accumulate ? args.db[c] : 0.0f;
      for (std::int64_t i = 0; i < blocks; ++i) {
        sum += partials_[static_cast<std::size_t>(i * columns + c)];
      }
      args.db[c] = sum;
    }
  }

  const Loops& loops_;
  std::vector<float> packed_;
  std::vector<float> zeros_;
  std::vector<float> partials_;  // [blocks, out_channels]
};

}  // namespace

std::unique_ptr<Conv> make_plain_conv(const Loops& loops) {
  return std::make_unique<PlainConv>(loops);
}

}  // namespace cuthresh::cpu
