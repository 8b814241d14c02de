#pragma once

// An independent float64 network: plain loops over std:: mathematics, written from the textbook
// definitions and sharing nothing with the library. What it cannot do fast it does plainly:
// gradients are central differences.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

namespace cuthresh::testing {

inline double reference_activation(const std::string& name, double z, double slope = 0.01) {
  if (name == "relu") return std::max(z, 0.0);
  if (name == "leaky-relu") return z > 0.0 ? z : slope * z;
  if (name == "tanh") return std::tanh(z);
  if (name == "sigmoid") return 1.0 / (1.0 + std::exp(-z));
  if (name == "gelu") return 0.5 * z * std::erfc(-z / std::sqrt(2.0));
  if (name == "silu") return z / (1.0 + std::exp(-z));
  return z;
}

struct ReferenceNet {
  std::vector<std::size_t> widths;
  std::string activation;
  std::vector<std::vector<double>> weights;  // [out][in], row-major, a layer
  std::vector<std::vector<double>> biases;

  std::vector<double> forward(const std::vector<double>& x) const {
    std::vector<double> a = x;
    for (std::size_t l = 0; l + 1 < widths.size(); ++l) {
      std::vector<double> next(widths[l + 1]);
      for (std::size_t o = 0; o < next.size(); ++o) {
        double z = biases[l][o];
        for (std::size_t i = 0; i < widths[l]; ++i) z += weights[l][o * widths[l] + i] * a[i];
        next[o] = l + 2 == widths.size() ? z : reference_activation(activation, z);
      }
      a = next;
    }
    return a;
  }

  /// Mean over rows and outputs of squared errors.
  double mse(const std::vector<std::vector<double>>& x,
             const std::vector<std::vector<double>>& y) const {
    double sum = 0.0;
    for (std::size_t r = 0; r < x.size(); ++r) {
      const std::vector<double> out = forward(x[r]);
      for (std::size_t c = 0; c < out.size(); ++c) sum += (out[c] - y[r][c]) * (out[c] - y[r][c]);
    }
    return sum / static_cast<double>(x.size() * widths.back());
  }

  /// Mean over rows of −log softmax(z)[label].
  double cross_entropy(const std::vector<std::vector<double>>& x,
                       const std::vector<int>& label) const {
    double sum = 0.0;
    for (std::size_t r = 0; r < x.size(); ++r) {
      const std::vector<double> z = forward(x[r]);
      const double top = *std::max_element(z.begin(), z.end());
      double total = 0.0;
      for (const double v : z) total += std::exp(v - top);
      sum += top + std::log(total) - z[static_cast<std::size_t>(label[r])];
    }
    return sum / static_cast<double>(x.size());
  }
};

}  // namespace cuthresh::testing
