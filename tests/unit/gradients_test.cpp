// Gradients of every activation and loss, in every room, against central differences of a float64
// network.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/array.hpp"
#include "nn/activation_names.hpp"
#include "nn/network.hpp"
#include "support/engines.hpp"
#include "support/reference_net.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::size_t kRows = 37;

class Gradients : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {};

struct Case {
  ReferenceNet net;
  std::vector<std::vector<double>> x, y;
  std::vector<int> label;
  std::vector<float> x_flat, y_flat;
  std::vector<std::int32_t> label32;

  Case(const std::string& activation, Random& random) {
    net.widths = {5, 17, 16, 3};
    net.activation = activation;
    for (std::size_t l = 0; l + 1 < net.widths.size(); ++l) {
      // Values a float holds exactly, so that both sides start from the same numbers.
      net.weights.emplace_back();
      net.biases.emplace_back();
      for (std::size_t i = 0; i < net.widths[l] * net.widths[l + 1]; ++i) {
        net.weights[l].push_back(static_cast<double>(random.uniform(-0.6f, 0.6f)));
      }
      for (std::size_t i = 0; i < net.widths[l + 1]; ++i) {
        net.biases[l].push_back(static_cast<double>(random.uniform(-0.6f, 0.6f)));
      }
    }
    for (std::size_t r = 0; r < kRows; ++r) {
      x.emplace_back();
      y.emplace_back();
      for (std::size_t i = 0; i < net.widths.front(); ++i) {
        x_flat.push_back(random.uniform(-2.0f, 2.0f));
        x[r].push_back(static_cast<double>(x_flat.back()));
      }
      for (std::size_t i = 0; i < net.widths.back(); ++i) {
        y_flat.push_back(random.uniform(-1.0f, 1.0f));
        y[r].push_back(static_cast<double>(y_flat.back()));
      }
      label.push_back(static_cast<int>(random.integer(0, 2)));
      label32.push_back(label.back());
    }
  }

  double loss(const std::string& kind) const {
    return kind == "mse" ? net.mse(x, y) : net.cross_entropy(x, label);
  }

  double central_difference(const std::string& kind, double& parameter) const {
    constexpr double kStep = 1e-6;  // truncation 1e-12, cancellation 1e-10: both far below float32
    const double before = parameter;
    parameter = before + kStep;
    const double up = loss(kind);
    parameter = before - kStep;
    const double down = loss(kind);
    parameter = before;
    return (up - down) / (2.0 * kStep);
  }
};

/// What the float64 network says: its loss, and its gradients layer by layer, weights then biases.
struct Reference {
  Case inputs;
  double loss = 0.0;
  std::vector<std::vector<double>> gradients;
};

constexpr std::uint32_t kSeed = 20240811;

// Worked out once for each activation and loss: 882 losses of the whole network, and
// every room is held to the same ones.
const Reference& reference(const std::string& activation, const std::string& kind) {
  static std::map<std::pair<std::string, std::string>, Reference> known;
  const auto found = known.find({activation, kind});
  if (found != known.end()) return found->second;
  Random random(kSeed);
  Reference r{Case(activation, random), 0.0, {}};
  Case& c = r.inputs;
  r.loss = c.loss(kind);
  for (std::size_t l = 0; l + 1 < c.net.widths.size(); ++l) {
    for (std::vector<double>* parameters : {&c.net.weights[l], &c.net.biases[l]}) {
      r.gradients.emplace_back();
      for (double& parameter : *parameters)
        r.gradients.back().push_back(c.central_difference(kind, parameter));
    }
  }
  return known.emplace(std::pair(activation, kind), std::move(r)).first->second;
}

// Loss and every gradient; `accumulate` splits the rows into two calls that add up.
void check(const Room& room, const std::string& activation, const std::string& kind,
           bool accumulate) {
  SCOPED_TRACE(::testing::Message() << "seed " << kSeed);
  const Reference& want = reference(activation, kind);
  const Case& c = want.inputs;
  const auto backend = room.make();
  nn::MlpSpec spec;
  for (const std::size_t w : c.net.widths) spec.widths.push_back(static_cast<std::int64_t>(w));
  spec.activation = *nn::activation_from_name(activation);
  nn::Network network(*backend, spec, kRows);
  nn::Parameters& parameters = network.parameters();
  for (std::size_t l = 0; l + 1 < c.net.widths.size(); ++l) {
    const std::vector<float> w(c.net.weights[l].begin(), c.net.weights[l].end());
    const std::vector<float> b(c.net.biases[l].begin(), c.net.biases[l].end());
    backend->upload(parameters.value(2 * l), w.data(), w.size() * sizeof(float));
    backend->upload(parameters.value(2 * l + 1), b.data(), b.size() * sizeof(float));
  }
  const Array<float> x(*backend, std::span<const float>(c.x_flat));
  const Array<float> y(*backend, std::span<const float>(c.y_flat));
  const Array<std::int32_t> label(*backend, std::span<const std::int32_t>(c.label32));
  Array<LossSum> sum(*backend, 1);

  const std::size_t first_part = accumulate ? 20 : kRows;
  for (std::size_t first = 0; first < kRows; first += first_part) {
    const std::size_t rows = std::min(first_part, kRows - first);
    const std::size_t outputs = c.net.widths.back();
    LossArgs args;
    args.rows = static_cast<std::int64_t>(rows);
    args.columns = static_cast<std::int64_t>(outputs);
    const float* in = x.data() + first * c.net.widths.front();
    args.prediction = network.forward(in, args.rows);
    args.target = y.data() + first * outputs;
    args.label = label.data() + first;
    args.gradient = network.output_gradient();
    args.gradient_scale = kind == "mse" ? 2.0f / static_cast<float>(kRows * outputs)
                                        : 1.0f / static_cast<float>(kRows);
    args.sum = sum.data();
    args.accumulate = first > 0;
    if (kind == "mse") {
      backend->mse(args);
    } else {
      backend->softmax_cross_entropy(args);
    }
    network.backward(in, args.rows, first > 0);
  }

  const double mean_over =
      kind == "mse" ? static_cast<double>(kRows * c.net.widths.back()) : static_cast<double>(kRows);
  EXPECT_NEAR(sum.to_host().front().loss / mean_over, want.loss, 2e-6);

  // The network's parameters are in the same order: fc1.weight, fc1.bias, fc2.weight, …
  ASSERT_EQ(parameters.list().size(), want.gradients.size());
  for (std::size_t p = 0; p < want.gradients.size(); ++p) {
    const std::vector<double>& gradient = want.gradients[p];
    std::vector<float> got(gradient.size());
    backend->download(got.data(), parameters.gradient(p), got.size() * sizeof(float));
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      // Sums of 37 products of numbers of order 1, scaled by 1/37: a few dozen units of 2^-24.
      ASSERT_NEAR(static_cast<double>(got[i]), gradient[i], 3e-6 + 1e-5 * std::abs(gradient[i]))
          << parameters.list()[p].name << "[" << i << "]";
    }
  }
}

// Every room in one test: they share the float64 reference, which costs more than they do.
void check_rooms(const std::string& activation, const std::string& kind, bool accumulate) {
  for (const Room& room : all_rooms()) {
    SCOPED_TRACE(room.name());
    check(room, activation, kind, accumulate);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

TEST_P(Gradients, EqualCentralDifferences) {
  const auto& [activation, loss] = GetParam();
  check_rooms(activation, loss, false);
}

TEST_P(Gradients, AddUpOverParts) {
  const auto& [activation, loss] = GetParam();
  check_rooms(activation, loss, true);
}

INSTANTIATE_TEST_SUITE_P(Functions, Gradients,
                         ::testing::Combine(::testing::Values("identity", "relu", "leaky-relu",
                                                              "tanh", "sigmoid", "gelu", "silu"),
                                            ::testing::Values("mse", "cross-entropy")),
                         [](const auto& test) {
                           std::string name =
                               std::get<0>(test.param) + "_" + std::get<1>(test.param);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace cuthresh::testing
