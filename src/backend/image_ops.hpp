#pragma once

// Shapes and arguments of what convolutional networks add to a room: convolution, pooling, batch
// normalisation, dropout, element-wise pieces, and images read from bytes. backend.hpp has the
// calls.
//
// Images are channels-last in every room: [rows, height, width, channels], float32, no padding
// between them. So bias, normalisation and dropout see a matrix [rows·height·width, channels], the
// same element has the same place everywhere, and nothing is reordered between layers. Weights are
// PyTorch's: [out, in, kernel height, kernel width].

#include <compare>
#include <cstddef>
#include <cstdint>

#include "kernels/math/activation_kind.hpp"

namespace cuthresh {

struct ImageShape {
  std::int64_t height = 1;
  std::int64_t width = 1;
  std::int64_t channels = 1;

  constexpr std::int64_t positions() const { return height * width; }
  constexpr std::int64_t elements() const { return height * width * channels; }
  friend constexpr auto operator<=>(const ImageShape&, const ImageShape&) = default;
};

/// The window that a convolution or a pool moves over an image. Padding: the same on both sides.
struct Window {
  std::int64_t height = 1;
  std::int64_t width = 1;
  std::int64_t stride_height = 1;
  std::int64_t stride_width = 1;
  std::int64_t pad_height = 0;
  std::int64_t pad_width = 0;

  constexpr std::int64_t elements() const { return height * width; }
  /// Positions of the window in an image: ⌊(extent + 2·pad − window)/stride⌋ + 1. Less than one:
  /// the window does not fit.
  constexpr std::int64_t rows_over(std::int64_t image_height) const {
    const std::int64_t room = image_height + 2 * pad_height - height;
    return room < 0 ? 0 : room / stride_height + 1;
  }
  constexpr std::int64_t columns_over(std::int64_t image_width) const {
    const std::int64_t room = image_width + 2 * pad_width - width;
    return room < 0 ? 0 : room / stride_width + 1;
  }
  friend constexpr auto operator<=>(const Window&, const Window&) = default;
  constexpr ImageShape over(const ImageShape& image, std::int64_t channels) const {
    return {rows_over(image.height), columns_over(image.width), channels};
  }
};

/// y = act(w ∗ x + b), cross-correlation as in PyTorch, groups 1, dilation 1.
struct ConvShape {
  std::int64_t rows = 0;
  ImageShape in;
  std::int64_t out_channels = 0;
  Window window;
  Activation activation = Activation::kIdentity;
  float leaky_slope = 0.01f;

  constexpr ImageShape out() const { return window.over(in, out_channels); }
  constexpr std::int64_t weights() const { return out_channels * in.channels * window.elements(); }
  /// The linear part alone, for tables of what was prepared for a shape.
  constexpr ConvShape linear() const { return {rows, in, out_channels, window}; }
  friend constexpr auto operator<=>(const ConvShape&, const ConvShape&) = default;
};

struct ConvForward {
  ConvShape shape;
  const float* x = nullptr;
  const float* w = nullptr;  ///< [out_channels, in.channels, window.height, window.width]
  const float* b = nullptr;  ///< [out_channels]; null: no bias
  float* z = nullptr;        ///< like y, written when needs_preactivation(activation); else unused
  float* y = nullptr;
};

/// From ∂L/∂y to ∂L/∂w, ∂L/∂b and ∂L/∂x.
struct ConvBackward {
  ConvShape shape;
  const float* x = nullptr;
  const float* w = nullptr;
  const float* y = nullptr;
  const float* z = nullptr;
  float* dy = nullptr;      ///< like y; overwritten by ∂L/∂z
  float* dw = nullptr;      ///< like w
  float* db = nullptr;      ///< [out_channels]; null: no bias
  float* dx = nullptr;      ///< like x; null when it is not wanted
  bool accumulate = false;  ///< add to dw and db instead of setting them
};

enum class PoolKind : std::uint8_t {
  kMax,     ///< padding never wins; of equal entries the first in the window's order; NaN wins
  kAverage  ///< divided by the whole window, padding counted as zeros (PyTorch's default)
};

struct PoolShape {
  std::int64_t rows = 0;
  ImageShape in;
  Window window;  ///< at most 255 elements with kMax; pads at most half the window
  PoolKind kind = PoolKind::kMax;

  constexpr ImageShape out() const { return window.over(in, in.channels); }
};

struct PoolForward {
  PoolShape shape;
  const float* x = nullptr;
  float* y = nullptr;
  /// kMax: like y, which entry of its window each output is (row-major in the window); null when no
  /// backward pass follows.
  std::uint8_t* winner = nullptr;
};

struct PoolBackward {
  PoolShape shape;
  const float* dy = nullptr;
  const std::uint8_t* winner = nullptr;  ///< kMax: from the forward pass
  float* dx = nullptr;                   ///< set, not added to
};

/// What a pass over the network is for.
enum class Pass : std::uint8_t {
  kTrain,     ///< a step: dropout on; batch statistics, which also move the running ones
  kGradient,  ///< the gradient of the present network: no dropout; batch statistics, nothing moves
  kEvaluate   ///< no dropout; running statistics; no backward pass follows
};

class ProxPlan;

/// y = act(γ·(x − mean)/√(var + ε) + β) over a matrix [rows, channels], where rows counts samples
/// times positions. var is the biased variance; the running one takes the unbiased (Ioffe, Szegedy,
/// ICML 2015; PyTorch's BatchNorm2d). At least two rows unless the pass is kEvaluate.
struct BatchNormShape {
  std::int64_t rows = 0;
  std::int64_t channels = 0;
  float epsilon = 1e-5f;
  Activation activation = Activation::kIdentity;
  float leaky_slope = 0.01f;
};

struct BatchNormForward {
  BatchNormShape shape;
  Pass pass = Pass::kEvaluate;
  const float* x = nullptr;
  const float* gamma = nullptr;   ///< [channels]
  const float* beta = nullptr;    ///< [channels]
  float* running_mean = nullptr;  ///< [channels]: read by kEvaluate, moved by kTrain
  float* running_var = nullptr;   ///< [channels]
  float momentum = 0.1f;          ///< running ← (1 − momentum)·running + momentum·batch
  float* mean = nullptr;          ///< [channels]: of the batch, for the backward pass
  float* inverse_std = nullptr;   ///< [channels]: 1/√(var + ε) of the batch
  float* z = nullptr;             ///< like y, written when needs_preactivation(activation)
  float* y = nullptr;
  const ProxPlan* plan = nullptr;  ///< kTrain: once this plan has stopped, nothing running moves
};

/// After a forward pass with batch statistics.
struct BatchNormBackward {
  BatchNormShape shape;
  const float* x = nullptr;
  const float* gamma = nullptr;
  const float* mean = nullptr;
  const float* inverse_std = nullptr;
  const float* y = nullptr;
  const float* z = nullptr;
  float* dy = nullptr;      ///< [rows, channels]; overwritten by ∂L/∂z
  float* dgamma = nullptr;  ///< [channels]
  float* dbeta = nullptr;   ///< [channels]
  float* dx = nullptr;      ///< [rows, channels]; may be dy; null when it is not wanted
  bool accumulate = false;  ///< add to dgamma and dbeta instead of setting them
};

/// y = act(a + b), or act(a) without b.
struct PointwiseForward {
  std::int64_t size = 0;
  Activation activation = Activation::kIdentity;
  float leaky_slope = 0.01f;
  const float* a = nullptr;
  const float* b = nullptr;  ///< null: one operand
  float* z = nullptr;        ///< written when needs_preactivation(activation); else unused
  float* y = nullptr;
};

/// dy ← dy·act′: the gradient of either operand.
struct PointwiseBackward {
  std::int64_t size = 0;
  Activation activation = Activation::kIdentity;
  float leaky_slope = 0.01f;
  const float* y = nullptr;
  const float* z = nullptr;
  float* dy = nullptr;
};

/// The rows of a training step, and its draws: `batch` entries of an epoch's order from
/// batch·(s mod steps_an_epoch) on. s is the step that `plan` takes next, read when the work is
/// done, so that captured work follows it; without a plan, `step`.
struct StepRows {
  const ProxPlan* plan = nullptr;
  std::int64_t step = 0;
  std::int64_t batch = 0;  ///< 0: every step begins at the beginning
  std::int64_t steps_an_epoch = 1;
};

/// to[i] = from[i]·(kept ? 1/(1 − rate) : 0). Element i is kept by word i%4 of Philox block i/4 of
/// (seed, step, stream), so the backward pass is the same call on the gradient. to may be from.
struct Dropout {
  std::int64_t size = 0;
  float rate = 0.0f;  ///< probability of a zero, in [0, 1)
  std::uint64_t seed = 0;
  std::uint32_t stream = 0;  ///< which layer
  std::uint32_t step = 0;    ///< which step
  const float* from = nullptr;
  float* to = nullptr;
  const ProxPlan* plan = nullptr;  ///< the step is the one that it takes next, not `step`
};

/// to[i] = byte·scale[c] + shift[c] of image index[i], moved and mirrored at random where asked.
struct GatherImages {
  ImageShape shape;
  std::int64_t rows = 0;
  float* to = nullptr;                  ///< [rows, height, width, channels]
  const std::uint8_t* from = nullptr;   ///< [images, height, width, channels]
  const std::int64_t* index = nullptr;  ///< which images; null: the first `rows` of from
  const float* scale = nullptr;         ///< [channels]
  const float* shift = nullptr;         ///< [channels]
  std::int64_t crop = 0;  ///< > 0: shifted by −crop … crop pixels each way; byte 0 comes in
  bool flip = false;      ///< mirrored left to right for every second image, at random
  std::uint64_t seed = 0;
  StepRows of_step;  ///< of the index; and draws differ from step to step and from row to row
};

}  // namespace cuthresh
