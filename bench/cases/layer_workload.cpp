#include "bench/cases/layer_workload.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "bench/cases/float64_sum.hpp"
#include "core/array.hpp"
#include "kernels/math/philox.hpp"

namespace cuthresh::bench {
namespace {

constexpr std::uint64_t kLayerSeed = 20408;
/// A check looks at so many entries of a result that this is their cost. One result of a batch has
/// up to 600 million multiply-adds; these take some 50 ms.
constexpr std::int64_t kCheckedProducts = 8'000'000;

struct LayerSizes {
  std::int64_t x, w, b, y;
  explicit LayerSizes(const ProductLayer& layer)
      : x(layer.shape.rows * layer.shape.in.elements()),
        w(layer.shape.weights()),
        b(layer.bias ? layer.shape.out_channels : 0),
        y(layer.shape.rows * layer.shape.out().elements()) {}
};

/// What goes into a call, on the host.
struct LayerInputs {
  std::vector<float> x, w, b, dy;
};

double product(const std::vector<float>& a, std::int64_t i, const std::vector<float>& b,
               std::int64_t j) {
  return static_cast<double>(a[static_cast<std::size_t>(i)]) *
         static_cast<double>(b[static_cast<std::size_t>(j)]);
}

/// The sums that an entry of each result is, by its index in that result.
class LayerDefinition {
 public:
  LayerDefinition(const ConvShape& shape, const LayerInputs& inputs)
      : s_(shape), out_(shape.out()), in_(inputs) {}

  Float64Sum y(std::int64_t index) const {
    const std::int64_t o = index % out_.channels;
    const std::int64_t place = index / out_.channels;
    const std::int64_t n = place / out_.positions();
    const std::int64_t oy = place % out_.positions() / out_.width;
    const std::int64_t ox = place % out_.width;
    Float64Sum sum;
    if (!in_.b.empty()) sum.add(static_cast<double>(in_.b[static_cast<std::size_t>(o)]));
    for (std::int64_t ky = 0; ky < s_.window.height; ++ky) {
      for (std::int64_t kx = 0; kx < s_.window.width; ++kx) {
        const std::int64_t at = pixel(n, oy, ox, ky, kx);
        if (at < 0) continue;
        for (std::int64_t c = 0; c < s_.in.channels; ++c) {
          sum.add(product(in_.x, at + c, in_.w, weight(o, c, ky, kx)));
        }
      }
    }
    return sum;
  }

  Float64Sum dw(std::int64_t index) const {
    const std::int64_t kx = index % s_.window.width;
    const std::int64_t ky = index / s_.window.width % s_.window.height;
    const std::int64_t c = index / s_.window.elements() % s_.in.channels;
    const std::int64_t o = index / (s_.window.elements() * s_.in.channels);
    Float64Sum sum;
    std::int64_t from = o;
    for (std::int64_t n = 0; n < s_.rows; ++n) {
      for (std::int64_t oy = 0; oy < out_.height; ++oy) {
        for (std::int64_t ox = 0; ox < out_.width; ++ox, from += out_.channels) {
          const std::int64_t at = pixel(n, oy, ox, ky, kx);
          if (at >= 0) sum.add(product(in_.dy, from, in_.x, at + c));
        }
      }
    }
    return sum;
  }

  Float64Sum db(std::int64_t index) const {
    Float64Sum sum;
    for (std::int64_t place = 0; place < s_.rows * out_.positions(); ++place) {
      sum.add(static_cast<double>(in_.dy[static_cast<std::size_t>(place * out_.channels + index)]));
    }
    return sum;
  }

  /// Over the outputs whose window has the entry at (ky, kx).
  Float64Sum dx(std::int64_t index) const {
    const std::int64_t c = index % s_.in.channels;
    const std::int64_t place = index / s_.in.channels;
    const std::int64_t n = place / s_.in.positions();
    const std::int64_t iy = place % s_.in.positions() / s_.in.width;
    const std::int64_t ix = place % s_.in.width;
    const Window& w = s_.window;
    Float64Sum sum;
    for (std::int64_t ky = 0; ky < w.height; ++ky) {
      for (std::int64_t kx = 0; kx < w.width; ++kx) {
        const std::int64_t oy = output(iy + w.pad_height - ky, w.stride_height, out_.height);
        const std::int64_t ox = output(ix + w.pad_width - kx, w.stride_width, out_.width);
        if (oy < 0 || ox < 0) continue;
        const std::int64_t at = ((n * out_.height + oy) * out_.width + ox) * out_.channels;
        for (std::int64_t o = 0; o < out_.channels; ++o) {
          sum.add(product(in_.dy, at + o, in_.w, weight(o, c, ky, kx)));
        }
      }
    }
    return sum;
  }

 private:
  /// The first channel of a window's entry in x; −1 outside the image.
  std::int64_t pixel(std::int64_t n, std::int64_t oy, std::int64_t ox, std::int64_t ky,
                     std::int64_t kx) const {
    const std::int64_t iy = oy * s_.window.stride_height + ky - s_.window.pad_height;
    const std::int64_t ix = ox * s_.window.stride_width + kx - s_.window.pad_width;
    if (iy < 0 || iy >= s_.in.height || ix < 0 || ix >= s_.in.width) return -1;
    return ((n * s_.in.height + iy) * s_.in.width + ix) * s_.in.channels;
  }
  std::int64_t weight(std::int64_t o, std::int64_t c, std::int64_t ky, std::int64_t kx) const {
    return ((o * s_.in.channels + c) * s_.window.height + ky) * s_.window.width + kx;
  }
  /// The output whose window begins `from` entries into the padded image; −1: none does.
  static std::int64_t output(std::int64_t from, std::int64_t stride, std::int64_t extent) {
    return from < 0 || from % stride != 0 || from / stride >= extent ? -1 : from / stride;
  }

  ConvShape s_;
  ImageShape out_;
  const LayerInputs& in_;
};

/// The index that is looked at as the i-th of `count`: the first, the last, others by chance; all
/// in their order when there are no more than that.
std::int64_t looked_at(std::int64_t i, std::int64_t count, std::int64_t size) {
  if (count == size || i == 0) return i;
  if (i == 1) return size - 1;
  const Philox drawn =
      Philox::block(kLayerSeed, static_cast<std::uint64_t>(i), 0, RandomPurpose::kSplit);
  return static_cast<std::int64_t>(drawn.words[0]) % size;
}

class LayerWorkload final : public Workload {
 public:
  LayerWorkload(const Room& room, std::string name, const ProductLayer& layer, LayerPass pass)
      : backend_(room.backend),
        rounding_(operand_rounding(room)),
        name_(std::move(name)),
        layer_(layer),
        pass_(pass) {
    const LayerSizes sizes(layer);
    x_ = uniform(sizes.x, 0);
    w_ = uniform(sizes.w, 1);
    if (layer.bias) b_ = uniform(sizes.b, 2);
    y_ = Array<float>(backend_, sizes.y);
    if (pass == LayerPass::kForward) return;
    dy_ = uniform(sizes.y, 3);
    dw_ = Array<float>(backend_, sizes.w);
    if (layer.bias) db_ = Array<float>(backend_, sizes.b);
    if (layer.wants_dx) dx_ = Array<float>(backend_, sizes.x);
  }

  void call(std::int64_t /*set*/) override {
    const bool dense = layer_.kind == nn::NodeKind::kDense;
    if (pass_ == LayerPass::kForward) {
      dense ? dense_forward() : conv_forward();
    } else {
      dense ? dense_backward() : conv_backward();
    }
  }

  /// Nothing of an earlier call remains for check_after.
  void reset() override {
    for (Array<float>* result : {&y_, &dw_, &db_, &dx_}) {
      if (result->size() > 0) result->zero();
    }
  }

  std::string check() override {
    reset();
    call(0);
    return compare_results();
  }
  void check_after(std::int64_t /*calls*/) override { compare_results(); }

 private:
  DenseShape dense_shape() const {
    return {layer_.shape.rows, layer_.shape.in.elements(), layer_.shape.out_channels};
  }
  void dense_forward() {
    backend_.dense_forward({dense_shape(), x_.data(), w_.data(), b_.data(), nullptr, y_.data()});
  }
  void conv_forward() {
    backend_.conv_forward({layer_.shape, x_.data(), w_.data(), b_.data(), nullptr, y_.data()});
  }
  // Without an activation the gradient at the output stays what it is, call after call.
  void dense_backward() {
    backend_.dense_backward({dense_shape(), x_.data(), w_.data(), y_.data(), nullptr, dy_.data(),
                             dw_.data(), db_.data(), dx_.data()});
  }
  void conv_backward() {
    backend_.conv_backward({layer_.shape, x_.data(), w_.data(), y_.data(), nullptr, dy_.data(),
                            dw_.data(), db_.data(), dx_.data()});
  }

  Array<float> uniform(std::int64_t size, std::uint32_t stream) {
    Array<float> array(backend_, size);
    backend_.initialise_uniform(array.data(), size, 1.0f, kLayerSeed, stream);
    return array;
  }

  std::string compare_results() const {
    LayerInputs inputs{x_.to_host(), w_.to_host(), {}, {}};
    if (layer_.bias) inputs.b = b_.to_host();
    if (pass_ == LayerPass::kBackward) inputs.dy = dy_.to_host();
    const LayerDefinition want(layer_.shape, inputs);
    if (pass_ == LayerPass::kForward) {
      return compare("y", y_, [&](std::int64_t i) { return want.y(i); });
    }
    std::string text = compare("dw", dw_, [&](std::int64_t i) { return want.dw(i); });
    if (layer_.bias) text += ", " + compare("db", db_, [&](std::int64_t i) { return want.db(i); });
    if (layer_.wants_dx) {
      text += ", " + compare("dx", dx_, [&](std::int64_t i) { return want.dx(i); });
    }
    return text;
  }

  template <class Definition>
  std::string compare(const char* result, const Array<float>& array,
                      const Definition& definition) const {
    const std::vector<float> got = array.to_host();
    const std::int64_t size = array.size();
    const auto terms =
        std::max<std::int64_t>(1, static_cast<std::int64_t>(definition(size - 1).terms));
    // Two at the least: the first and the last.
    const std::int64_t count = std::min(size, std::max<std::int64_t>(2, kCheckedProducts / terms));
    double worst = 0.0;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t at = looked_at(i, count, size);
      const Float64Sum want = definition(at);
      const double value = static_cast<double>(got[static_cast<std::size_t>(at)]);
      const double error = std::fabs(value - want.value);
      if (!(error <= want.tolerance(rounding_))) {
        throw CheckFailed(fmt::format("{}: {}[{}] is {:.9g}, in float64 {:.9g}, {:.1e} allowed",
                                      name_, result, at, value, want.value,
                                      want.tolerance(rounding_)));
      }
      worst = std::max(worst, error);
    }
    return fmt::format("{} of {} {} within {:.1e} of float64", count, size, result, worst);
  }

  Backend& backend_;
  double rounding_;
  std::string name_;
  ProductLayer layer_;
  LayerPass pass_;
  Array<float> x_, w_, b_, y_, dy_, dw_, db_, dx_;
};

}  // namespace

Case layer_case(const std::string& name, const ProductLayer& layer, LayerPass pass) {
  const LayerSizes sizes(layer);
  const bool forward = pass == LayerPass::kForward;
  const bool dense = layer.kind == nn::NodeKind::kDense;
  const ConvShape& s = layer.shape;
  const auto bytes = static_cast<std::int64_t>(sizeof(float));
  Case c;
  c.name = name;
  const std::string shape =
      dense ? fmt::format("{} rows, {} to {} features", s.rows, s.in.elements(), s.out_channels)
            : fmt::format("{} images {}x{}x{}, {} windows {}x{}, stride {}", s.rows, s.in.height,
                          s.in.width, s.in.channels, s.out_channels, s.window.height,
                          s.window.width, s.window.stride_height);
  const char* const of = forward          ? "forward"
                         : layer.wants_dx ? "backward, both gradients"
                                          : "backward, gradient of its weights";
  c.what = fmt::format("{} {}: {}", dense ? "dense layer" : "convolution", of, shape);
  c.set_bytes = bytes * (sizes.x + sizes.w + sizes.b + sizes.y);
  c.more_bytes = c.set_bytes;  // the check's copies
  if (!forward) {
    const std::int64_t gradients = sizes.y + sizes.w + sizes.b + (layer.wants_dx ? sizes.x : 0);
    c.set_bytes += bytes * gradients;
    c.more_bytes += bytes * (sizes.y + std::max(sizes.x, sizes.w));
  }
  c.work.flops = forward ? forward_flops(layer) : backward_flops(layer);
  c.make = [=](const Room& room, std::int64_t) {
    return std::make_unique<LayerWorkload>(room, name, layer, pass);
  };
  c.lacks = [dense](const Room& room) {
    return lacks_any(room, {dense ? Operation::kDense : Operation::kConv});
  };
  return c;
}

}  // namespace cuthresh::bench
