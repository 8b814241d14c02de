#pragma once

// What the files of search_test share: settings in one line, the middle in log λ, and responses.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "search/search.hpp"
#include "tests/support/seeded.hpp"

namespace cuthresh::search {

using Counts = std::vector<std::int64_t>;
using Lambdas = std::vector<float>;

inline Settings settings(Counts targets, float lo, float hi, Pivot pivot = Pivot::kLogMidpoint) {
  Settings s;
  s.pivot = pivot;
  s.targets = std::move(targets);
  s.lambda_lo = lo;
  s.lambda_hi = hi;
  return s;
}

inline float geometric(float a, float b) {
  return static_cast<float>(std::sqrt(double{a} * double{b}));
}

enum class Kind { kSmooth, kJitter, kSteps, kCoupled };

/// A made-up network of 25,000 weights a group.
struct MadeResponse {
  Kind kind;
  std::uint32_t seed;
  std::vector<double> scale, slope;
  Counts targets;

  MadeResponse(Kind of, std::uint32_t number) : kind(of), seed(number) {
    testing::Random random(number);
    for (int g = 0; g < (of == Kind::kCoupled ? 2 : 1); ++g) {
      scale.push_back(1e-5 * std::pow(10.0, double{random.uniform(0.0f, 2.0f)}));
      slope.push_back(double{random.uniform(0.4f, 1.4f)});
      targets.push_back(
          std::llround(25000.0 * std::pow(10.0, -double{random.uniform(0.1f, 2.5f)})));
    }
  }
  double jitter(float lambda) const {
    testing::Random random(seed ^ std::bit_cast<std::uint32_t>(lambda));
    return double{random.uniform(0.95f, 1.05f)};
  }
  Counts operator()(const Lambdas& lambda) const {
    Counts counts;
    for (std::size_t g = 0; g < lambda.size(); ++g) {
      const double place = std::log(double{lambda[g]} / scale[g]);
      double share = 1.0 / (1.0 + std::exp(slope[g] * place));
      if (kind == Kind::kSteps) {
        const double steep = 1.0 / (1.0 + std::exp(6.0 * std::sin(3.0 * place) + 2.0 * place));
        share = 0.7 * steep + 0.3 * share;
      }
      if (kind == Kind::kJitter) share *= jitter(lambda[g]);
      if (kind == Kind::kCoupled)
        share *= 1.0 + 0.15 * std::tanh(std::log(double{lambda[1 - g]} / 1e-4));
      counts.push_back(std::clamp<std::int64_t>(std::llround(25000.0 * share), 0, 25000));
    }
    return counts;
  }
};

}  // namespace cuthresh::search
