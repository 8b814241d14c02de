#pragma once

// A fully connected network drawn at random, and its loss and gradients in float64 by the
// textbook's backpropagation.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "kernels/math/activation_kind.hpp"
#include "support/reference_net.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {

inline const char* activation_name(Activation activation) {
  constexpr const char* kNames[] = {"identity", "relu", "leaky-relu", "tanh",
                                    "sigmoid",  "gelu", "silu"};
  return kNames[static_cast<std::size_t>(activation)];
}
inline constexpr Activation kAllActivations[] = {
    Activation::kIdentity, Activation::kRelu, Activation::kLeakyRelu, Activation::kTanh,
    Activation::kSigmoid,  Activation::kGelu, Activation::kSilu};

struct SmallNet {
  static constexpr float kSlope = 0.07f;

  std::vector<std::int64_t> widths;
  std::vector<Activation> activations;  // a layer
  std::int64_t rows = 0;
  bool cross_entropy = false;
  std::vector<std::vector<float>> w, b;  // a layer
  std::vector<float> x, target;
  std::vector<std::int32_t> label;

  std::size_t layers() const { return widths.size() - 1; }
  std::size_t in(std::size_t l) const { return static_cast<std::size_t>(widths[l]); }
  std::size_t out(std::size_t l) const { return static_cast<std::size_t>(widths[l + 1]); }
  float gradient_scale() const {
    return cross_entropy ? 1.0f / static_cast<float>(rows)
                         : 2.0f / static_cast<float>(rows * widths.back());
  }

  friend std::ostream& operator<<(std::ostream& to, const SmallNet& net) {
    to << net.rows << " rows through " << net.widths[0];
    for (std::size_t l = 0; l < net.layers(); ++l) {
      to << "-" << net.widths[l + 1] << " " << activation_name(net.activations[l]);
    }
    return to << (net.cross_entropy ? ", cross-entropy" : ", mse");
  }
};

/// Weights so that values neither die out nor explode on the way, and some of them zero.
inline SmallNet draw_small_net(Random& random, const std::vector<std::int64_t>& widths,
                               const std::vector<Activation>& activations, std::int64_t rows,
                               bool cross_entropy) {
  SmallNet net{widths, activations, rows, cross_entropy, {}, {}, {}, {}, {}};
  for (std::size_t l = 0; l < net.layers(); ++l) {
    const float bound = std::sqrt(3.0f / static_cast<float>(widths[l]));
    net.w.push_back(random.vector(net.in(l)*net.out(l), -bound, bound));
    for (float& w : net.w.back()) {
      if (random.integer(0, 4) == 0) w = 0.0f;
    }
    net.b.push_back(random.vector(net.out(l), -0.3f, 0.3f));
  }
  const auto n = static_cast<std::size_t>(rows);
  const std::size_t outputs = net.out(net.layers() - 1);
  net.x = random.vector(n * net.in(0), -1.0f, 1.0f);
  net.target = random.vector(n * outputs, -1.0f, 1.0f);
  for (std::size_t r = 0; r < n; ++r) {
    net.label.push_back(static_cast<std::int32_t>(random.integer(0, widths.back() - 1)));
  }
  return net;
}

/// Widths 1 to 256 of 1 to 8 layers with any activations.
inline SmallNet draw_small_net(Random& random, std::int64_t most_rows) {
  const std::int64_t layers = random.integer(1, 8);
  std::vector<std::int64_t> widths;
  std::vector<Activation> activations;
  for (std::int64_t l = 0; l <= layers; ++l) {
    const std::int64_t most = random.integer(0, 3) == 0 ? 256 : 40;
    widths.push_back(random.integer(1, most));
  }
  for (std::int64_t l = 0; l < layers; ++l) {
    activations.push_back(kAllActivations[random.integer(0, 6)]);
  }
  const std::int64_t rows = random.integer(1, most_rows);
  return draw_small_net(random, widths, activations, rows, random.integer(0, 1) == 0);
}

struct SmallGradients {
  double loss = 0.0;  // the sum over the rows
  std::uint64_t correct = 0;
  std::vector<std::vector<double>> dw, db;
};

/// One row's part.
class SmallBackpropagation {
 public:
  SmallBackpropagation(const SmallNet& net, SmallGradients& sums) : net_(net), sums_(sums) {}

  void add_row(std::size_t row) {
    std::vector<std::vector<double>> a(1), z(1);
    for (std::size_t i = 0; i < net_.in(0); ++i) {
      a[0].push_back(static_cast<double>(net_.x[row * net_.in(0) + i]));
    }
    for (std::size_t l = 0; l < net_.layers(); ++l) {
      z.emplace_back();
      a.emplace_back();
      for (std::size_t o = 0; o < net_.out(l); ++o) {
        double sum = static_cast<double>(net_.b[l][o]);
        for (std::size_t i = 0; i < net_.in(l); ++i) {
          sum += static_cast<double>(net_.w[l][o * net_.in(l) + i]) * a[l][i];
        }
        z.back().push_back(sum);
        a.back().push_back(act(l, sum));
      }
    }
    std::vector<double> d = loss(row, a.back());
    for (std::size_t l = net_.layers(); l-- > 0;) {
      for (std::size_t o = 0; o < d.size(); ++o) d[o] *= derivative(l, z[l + 1][o]);
      std::vector<double> before(net_.in(l), 0.0);
      for (std::size_t o = 0; o < d.size(); ++o) {
        sums_.db[l][o] += d[o];
        for (std::size_t i = 0; i < net_.in(l); ++i) {
          sums_.dw[l][o * net_.in(l) + i] += d[o] * a[l][i];
          before[i] += static_cast<double>(net_.w[l][o * net_.in(l) + i]) * d[o];
        }
      }
      d = before;
    }
  }

 private:
  double act(std::size_t l, double z) const {
    return reference_activation(activation_name(net_.activations[l]), z,
                                static_cast<double>(SmallNet::kSlope));
  }
  double derivative(std::size_t l, double z) const {
    constexpr double kStep = 1e-6;
    return (act(l, z + kStep) - act(l, z - kStep)) / (2.0 * kStep);
  }

  /// ∂L/∂y of the row, with L the mean.
  std::vector<double> loss(std::size_t row, const std::vector<double>& y) {
    const auto rows = static_cast<double>(net_.rows);
    std::vector<double> d(y.size());
    if (!net_.cross_entropy) {
      for (std::size_t o = 0; o < y.size(); ++o) {
        const double error = y[o] - static_cast<double>(net_.target[row * y.size() + o]);
        sums_.loss += error * error;
        d[o] = 2.0 * error / (rows * static_cast<double>(y.size()));
      }
      return d;
    }
    const auto label = static_cast<std::size_t>(net_.label[row]);
    double sum = 0.0;
    std::size_t largest = 0;
    for (std::size_t o = 0; o < y.size(); ++o) {
      sum += std::exp(y[o] - y[0]);
      if (y[o] > y[largest]) largest = o;
    }
    for (std::size_t o = 0; o < y.size(); ++o) {
      d[o] = (std::exp(y[o] - y[0]) / sum - (o == label ? 1.0 : 0.0)) / rows;
    }
    sums_.loss += std::log(sum) - (y[label] - y[0]);
    sums_.correct += largest == label ? 1U : 0U;
    return d;
  }

  const SmallNet& net_;
  SmallGradients& sums_;
};

inline SmallGradients small_gradients(const SmallNet& net) {
  SmallGradients sums;
  for (std::size_t l = 0; l < net.layers(); ++l) {
    sums.dw.emplace_back(net.w[l].size(), 0.0);
    sums.db.emplace_back(net.b[l].size(), 0.0);
  }
  SmallBackpropagation row_by_row(net, sums);
  for (std::size_t r = 0; r < static_cast<std::size_t>(net.rows); ++r) row_by_row.add_row(r);
  return sums;
}

/// The largest difference, as a share of the largest of `want`.
template <class T>
double relative_difference(const std::vector<float>& got, const std::vector<T>& want) {
  double largest = 0.0, difference = got.size() == want.size() ? 0.0 : HUGE_VAL;
  for (std::size_t i = 0; i < want.size() && i < got.size(); ++i) {
    largest = std::max(largest, std::fabs(static_cast<double>(want[i])));
    const double d = std::fabs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    if (!(d <= difference)) difference = std::isnan(d) ? HUGE_VAL : d;
  }
  return difference == 0.0 ? 0.0 : difference / largest;
}

}  // namespace cuthresh::testing
