#include "backend/checks_layers.hpp"

#include <cmath>
#include <string>

#include "backend/check_values.hpp"
#include "kernels/math/dropout.hpp"

namespace cuthresh {
namespace {

std::string number_text(float value) {
  return std::to_string(static_cast<double>(value));
}

std::string pair_text(std::int64_t a, std::int64_t b) {
  return std::to_string(a) + " x " + std::to_string(b);
}

void check_window(const std::string& where, const PoolShape& s) {
  const Window& w = s.window;
  check_extent(where, "rows", s.rows, 0);
  check_extent(where, "the height", s.in.height, 1);
  check_extent(where, "the width", s.in.width, 1);
  check_extent(where, "channels", s.in.channels, 1);
  check_extent(where, "the window's height", w.height, 1);
  check_extent(where, "the window's width", w.width, 1);
  check_extent(where, "the stride's height", w.stride_height, 1);
  check_extent(where, "the stride's width", w.stride_width, 1);
  check_extent(where, "the padding's height", w.pad_height, 0);
  check_extent(where, "the padding's width", w.pad_width, 0);
  check_product(where, "the window", w.height, w.width);
  // A pad of half a window at most: so every window holds an entry of the image.
  if (w.pad_height > w.height / 2 || w.pad_width > w.width / 2) {
    refuse(where, "the padding must be at most half the window, " + pair_text(w.height, w.width),
           pair_text(w.pad_height, w.pad_width), "pad less or use a larger window");
  }
  if (s.kind == PoolKind::kMax && w.elements() > 255) {
    refuse(where, "the window of a max pool has at most 255 elements", pair_text(w.height, w.width),
           "use a smaller window or an average pool");
  }
  check_product(where, "the image", s.in.height, s.in.width);
  check_product(where, "the image", s.in.positions(), s.in.channels);
  check_product(where, "x", s.rows, s.in.elements());
  const ImageShape out = s.out();
  if (out.height < 1 || out.width < 1) {
    refuse(where, "the window does not fit into the image, " + pair_text(s.in.height, s.in.width),
           pair_text(w.height, w.width), "use a smaller window or more padding");
  }
  // Padding can make more positions than there are pixels.
  check_product(where, "the output", out.height, out.width);
  check_product(where, "the output", out.positions(), out.channels);
  check_product(where, "y", s.rows, out.elements());
}

void check_norm(const std::string& where, const BatchNormShape& s, std::int64_t least_rows) {
  check_extent(where, "rows", s.rows, 0);
  check_extent(where, "channels", s.channels, 1);
  check_product(where, "x", s.rows, s.channels);
  if (!(s.epsilon >= 0.0f) || !std::isfinite(s.epsilon)) {
    refuse(where, "epsilon must be finite and not negative", number_text(s.epsilon),
           "pass 1e-5, PyTorch's default");
  }
  if (s.rows < least_rows) {
    refuse(where, "statistics of a batch need at least two rows (samples times positions)",
           std::to_string(s.rows), "use a larger batch");
  }
}

void check_size(const std::string& where, std::int64_t size) {
  check_extent(where, "the size", size, 0);
}

/// The array that an activation's derivative is taken from.
void check_kept(const std::string& where, Activation activation, const float* y, const float* z) {
  const bool from_z = needs_preactivation(activation);
  check_pointer(where, from_z ? "z" : "y", from_z ? z : y);
}

}  // namespace

void check_pool(const PoolForward& args) {
  const std::string where = "pool_forward";
  check_window(where, args.shape);
  if (args.shape.rows == 0) return;
  check_pointer(where, "x", args.x);
  check_pointer(where, "y", args.y);
}

void check_pool(const PoolBackward& args) {
  const std::string where = "pool_backward";
  check_window(where, args.shape);
  if (args.shape.rows == 0) return;
  check_pointer(where, "dy", args.dy);
  check_pointer(where, "dx", args.dx);
  if (args.shape.kind == PoolKind::kMax) check_pointer(where, "winner", args.winner, 1);
}

void check_batch_norm(const BatchNormForward& args) {
  const std::string where = "batch_norm_forward";
  const bool of_batch = args.pass != Pass::kEvaluate;
  check_norm(where, args.shape, of_batch ? 2 : 0);
  if (args.shape.rows == 0) return;
  check_pointer(where, "x", args.x);
  check_pointer(where, "gamma", args.gamma);
  check_pointer(where, "beta", args.beta);
  check_pointer(where, "y", args.y);
  if (needs_preactivation(args.shape.activation)) check_pointer(where, "z", args.z);
  if (of_batch) {
    check_pointer(where, "mean", args.mean);
    check_pointer(where, "inverse_std", args.inverse_std);
  }
  if (args.pass == Pass::kGradient) return;
  check_pointer(where, "running_mean", args.running_mean);
  check_pointer(where, "running_var", args.running_var);
  if (args.pass == Pass::kTrain && !(args.momentum >= 0.0f && args.momentum <= 1.0f)) {
    refuse(where, "momentum must lie in [0, 1]", number_text(args.momentum),
           "pass 0.1, PyTorch's default");
  }
}

void check_batch_norm(const BatchNormBackward& args) {
  const std::string where = "batch_norm_backward";
  check_norm(where, args.shape, 2);
  check_pointer(where, "x", args.x);
  check_pointer(where, "gamma", args.gamma);
  check_pointer(where, "mean", args.mean);
  check_pointer(where, "inverse_std", args.inverse_std);
  check_kept(where, args.shape.activation, args.y, args.z);
  check_pointer(where, "dy", args.dy);
  check_pointer(where, "dgamma", args.dgamma);
  check_pointer(where, "dbeta", args.dbeta);
  if (args.dx != nullptr) check_pointer(where, "dx", args.dx);
}

void check_pointwise(const PointwiseForward& args) {
  const std::string where = "pointwise_forward";
  check_size(where, args.size);
  if (args.size == 0) return;
  check_pointer(where, "a", args.a);
  if (args.b != nullptr) check_pointer(where, "b", args.b);
  if (needs_preactivation(args.activation)) check_pointer(where, "z", args.z);
  check_pointer(where, "y", args.y);
}

void check_pointwise(const PointwiseBackward& args) {
  const std::string where = "pointwise_backward";
  check_size(where, args.size);
  if (args.size == 0) return;
  check_kept(where, args.activation, args.y, args.z);
  check_pointer(where, "dy", args.dy);
}

void check_dropout(const Dropout& args) {
  const std::string where = "dropout";
  check_size(where, args.size);
  if (args.size > kMaxDropout) {
    refuse(where, "at most 2^34 elements have a random number each", std::to_string(args.size),
           "use a smaller batch");
  }
  if (!(args.rate >= 0.0f && args.rate < 1.0f)) {
    refuse(where, "the rate must lie in [0, 1)", number_text(args.rate),
           "pass the share of elements to set to zero");
  }
  if (args.size == 0) return;
  check_pointer(where, "from", args.from);
  check_pointer(where, "to", args.to);
}

void check_add(const float* to, const float* from, std::int64_t size) {
  const std::string where = "add";
  check_size(where, size);
  if (size == 0) return;
  check_pointer(where, "to", to);
  check_pointer(where, "from", from);
}

void check_transpose(const float* to, const float* from, std::int64_t rows, std::int64_t lines,
                     std::int64_t columns) {
  const std::string where = "transpose_samples";
  check_extent(where, "rows", rows, 0);
  check_extent(where, "lines", lines, 1);
  check_extent(where, "columns", columns, 1);
  check_product(where, "a sample", lines, columns);
  check_product(where, "the array", rows, lines * columns);
  if (rows == 0) return;
  check_pointer(where, "to", to);
  check_pointer(where, "from", from);
  if (to == from) {
    refuse(where, "to and from must be different memory", hex(to), "transpose into another array");
  }
}

}  // namespace cuthresh
