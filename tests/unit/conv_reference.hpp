#pragma once

// A convolution by its definition, in float64: every output is the bias plus the sum over window
// and channels of w·x, outside the image 0; gradients by the chain rule, term by term. Each sum
// comes with how far float32 may be from it.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "backend/image_ops.hpp"
#include "bench/cases/float64_sum.hpp"
#include "support/reference_net.hpp"

namespace cuthresh::testing {

using ConvSum = bench::Float64Sum;
using ConvSums = std::vector<ConvSum>;

inline std::string activation_text(Activation a) {
  switch (a) {
    case Activation::kRelu:
      return "relu";
    case Activation::kLeakyRelu:
      return "leaky-relu";
    case Activation::kTanh:
      return "tanh";
    case Activation::kSigmoid:
      return "sigmoid";
    case Activation::kGelu:
      return "gelu";
    case Activation::kSilu:
      return "silu";
    default:
      return "identity";
  }
}

/// Calls f(x index, w index, y index) for every product of the convolution.
template <class F>
void for_conv_products(const ConvShape& s, F f) {
  const ImageShape out = s.out();
  const Window& w = s.window;
  for (std::int64_t n = 0; n < s.rows; ++n) {
    for (std::int64_t o = 0; o < s.out_channels; ++o) {
      for (std::int64_t oy = 0; oy < out.height; ++oy) {
        for (std::int64_t ox = 0; ox < out.width; ++ox) {
          for (std::int64_t c = 0; c < s.in.channels; ++c) {
            for (std::int64_t ky = 0; ky < w.height; ++ky) {
              for (std::int64_t kx = 0; kx < w.width; ++kx) {
                const std::int64_t iy = oy * w.stride_height + ky - w.pad_height;
                const std::int64_t ix = ox * w.stride_width + kx - w.pad_width;
                if (iy < 0 || iy >= s.in.height || ix < 0 || ix >= s.in.width) continue;
                f(static_cast<std::size_t>(
                      ((n * s.in.height + iy) * s.in.width + ix) * s.in.channels + c),
                  static_cast<std::size_t>(((o * s.in.channels + c) * w.height + ky) * w.width +
                                           kx),
                  static_cast<std::size_t>(
                      ((n * out.height + oy) * out.width + ox) * s.out_channels + o));
              }
            }
          }
        }
      }
    }
  }
}

struct ConvReference {
  ConvSums z, dw, db, dx;
  std::vector<double> y, dz;

  /// b may be empty; start: what dw and db are added to.
  ConvReference(const ConvShape& s, const std::vector<float>& x, const std::vector<float>& w,
                const std::vector<float>& b, const std::vector<float>& dy, double start) {
    const auto channels = static_cast<std::size_t>(s.out_channels);
    z.resize(static_cast<std::size_t>(s.rows * s.out().elements()));
    for (std::size_t i = 0; i < z.size() && !b.empty(); ++i) {
      z[i].add(static_cast<double>(b[i % channels]));
    }
    for_conv_products(s, [&](std::size_t xi, std::size_t wi, std::size_t yi) {
      z[yi].add(static_cast<double>(x[xi]) * static_cast<double>(w[wi]));
    });
    const std::string name = activation_text(s.activation);
    const auto act = [&](double v) {
      return reference_activation(name, v, static_cast<double>(s.leaky_slope));
    };
    for (std::size_t i = 0; i < z.size(); ++i) {
      y.push_back(act(z[i].value));
      const double slope = (act(z[i].value + 1e-7) - act(z[i].value - 1e-7)) / 2e-7;
      dz.push_back(static_cast<double>(dy[i]) * slope);
    }
    dx.resize(x.size());
    dw.resize(w.size());
    db.resize(channels);
    for (ConvSum& sum : dw) sum.add(start);
    for (ConvSum& sum : db) sum.add(start);
    for (std::size_t i = 0; i < z.size(); ++i) db[i % channels].add(dz[i]);
    for_conv_products(s, [&](std::size_t xi, std::size_t wi, std::size_t yi) {
      dw[wi].add(dz[yi] * static_cast<double>(x[xi]));
      dx[xi].add(dz[yi] * static_cast<double>(w[wi]));
    });
  }
};

inline void expect_sums(const char* name, const std::vector<float>& got, const ConvSums& wanted) {
  ASSERT_EQ(got.size(), wanted.size()) << name;
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(static_cast<double>(got[i]), wanted[i].value, wanted[i].tolerance())
        << name << "[" << i << "]";
  }
}

}  // namespace cuthresh::testing
