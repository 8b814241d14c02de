#include "backend/checks_conv.hpp"

#include <string>

#include "backend/check_values.hpp"

namespace cuthresh {
namespace {

void check_conv_shape(const std::string& where, const ConvShape& s) {
  check_extent(where, "rows", s.rows, 0);
  check_extent(where, "the image's height", s.in.height, 1);
  check_extent(where, "the image's width", s.in.width, 1);
  check_extent(where, "the image's channels", s.in.channels, 1);
  check_extent(where, "out_channels", s.out_channels, 1);
  const Window& window = s.window;
  check_extent(where, "the window's height", window.height, 1);
  check_extent(where, "the window's width", window.width, 1);
  check_extent(where, "the stride in height", window.stride_height, 1);
  check_extent(where, "the stride in width", window.stride_width, 1);
  check_extent(where, "the padding in height", window.pad_height, 0);
  check_extent(where, "the padding in width", window.pad_width, 0);
  const ImageShape out = s.out();
  if (out.height < 1 || out.width < 1) {
    refuse(where,
           "the window does not fit into the image of " + std::to_string(s.in.height) + " x " +
               std::to_string(s.in.width) + " with a padding of " +
               std::to_string(window.pad_height) + " and " + std::to_string(window.pad_width),
           std::to_string(window.height) + " x " + std::to_string(window.width),
           "use a smaller window, more padding or fewer layers that shrink the image");
  }
  const auto product = [&where](const char* name, auto... extents) {
    std::int64_t all = 1;
    ((check_product(where, name, all, extents), all *= extents), ...);
  };
  product("x", s.in.height, s.in.width, s.in.channels, s.rows);
  product("y", out.height, out.width, s.out_channels, s.rows);
  product("w", window.height, window.width, s.in.channels, s.out_channels);
}

}  // namespace

std::string conv_text(const ConvShape& s) {
  const Window& w = s.window;
  const auto pair = [](std::int64_t a, std::int64_t b) {
    return std::to_string(a) + " x " + std::to_string(b);
  };
  return std::to_string(s.rows) + " images of " + pair(s.in.height, s.in.width) + " with " +
         std::to_string(s.in.channels) + " channels to " + std::to_string(s.out_channels) +
         " channels, window " + pair(w.height, w.width) + ", stride " +
         pair(w.stride_height, w.stride_width) + ", padding " + pair(w.pad_height, w.pad_width);
}

void check_conv(const ConvForward& args) {
  const std::string where = "conv_forward";
  check_conv_shape(where, args.shape);
  if (args.shape.rows == 0) return;
  check_pointer(where, "x", args.x);
  check_pointer(where, "w", args.w);
  if (args.b != nullptr) check_pointer(where, "b", args.b);
  check_pointer(where, "y", args.y);
  if (needs_preactivation(args.shape.activation)) check_pointer(where, "z", args.z);
}

void check_conv(const ConvBackward& args) {
  const std::string where = "conv_backward";
  check_conv_shape(where, args.shape);
  check_pointer(where, "dw", args.dw);
  if (args.db != nullptr) check_pointer(where, "db", args.db);
  if (args.shape.rows == 0) return;
  check_pointer(where, "x", args.x);
  check_pointer(where, "w", args.w);
  check_pointer(where, "dy", args.dy);
  const bool from_z = needs_preactivation(args.shape.activation);
  check_pointer(where, from_z ? "z" : "y", from_z ? args.z : args.y);
  if (args.dx != nullptr) check_pointer(where, "dx", args.dx);
}

}  // namespace cuthresh
