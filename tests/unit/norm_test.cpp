// Batch normalisation in every room: against a float64 definition, central differences, running
// statistics over steps, the three passes, a plan that has stopped, and the same bits everywhere.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/engines.hpp"
#include "support/layers.hpp"
#include "support/reference_net.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

using ::testing::HasSubstr;

class Norm : public ::testing::TestWithParam<Room> {};

constexpr float kSlope = 0.07f;
constexpr float kEpsilon = 1e-3f;

struct Matrix {
  std::int64_t rows, channels;
  std::size_t size() const { return static_cast<std::size_t>(rows * channels); }
  std::size_t width() const { return static_cast<std::size_t>(channels); }
  double count() const { return static_cast<double>(rows); }
};

struct Inputs {
  std::vector<float> x, gamma, beta, dy;
};

Inputs draw(const Matrix& m, Random& random) {
  Inputs in{random.vector(m.size(), -2.0f, 2.0f), random.vector(m.width(), 0.5f, 1.5f),
            random.vector(m.width(), -0.5f, 0.5f), random.vector(m.size(), -1.0f, 1.0f)};
  // Every channel has its own mean and scale.
  for (std::size_t i = 0; i < in.x.size(); ++i) {
    const auto c = static_cast<float>(i % m.width());
    in.x[i] = in.x[i] * (0.25f + 0.1f * c) + 0.3f * c - 1.0f;
  }
  return in;
}

// The definition in float64.
struct Reference {
  std::vector<double> mean, variance, z, y;
};

Reference reference(const Matrix& m, const std::vector<double>& x, const std::vector<double>& gamma,
                    const std::vector<double>& beta, const std::string& activation) {
  Reference r{std::vector<double>(m.width(), 0.0), std::vector<double>(m.width(), 0.0),
              std::vector<double>(m.size()), std::vector<double>(m.size())};
  for (std::size_t i = 0; i < x.size(); ++i) r.mean[i % m.width()] += x[i] / m.count();
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double d = x[i] - r.mean[i % m.width()];
    r.variance[i % m.width()] += d * d / m.count();
  }
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = i % m.width();
    const double deviation = std::sqrt(r.variance[c] + static_cast<double>(kEpsilon));
    r.z[i] = gamma[c] * (x[i] - r.mean[c]) / deviation + beta[c];
    r.y[i] = reference_activation(activation, r.z[i], static_cast<double>(kSlope));
  }
  return r;
}

std::vector<double> wide(const std::vector<float>& v) {
  return {v.begin(), v.end()};
}

// A layer's arrays in a room.
struct Layer {
  Layer(Backend& room, const Matrix& m, const Inputs& in, Activation act)
      : backend(room),
        shape{m.rows, m.channels, kEpsilon, act, kSlope},
        x(on_device(room, in.x)),
        gamma(on_device(room, in.gamma)),
        beta(on_device(room, in.beta)),
        dy(on_device(room, in.dy)),
        running_mean(on_device(room, std::vector<float>(m.width(), 0.125f))),
        running_var(on_device(room, std::vector<float>(m.width(), 2.0f))),
        mean(on_device(room, std::vector<float>(m.width(), 99.0f))),
        inverse_std(on_device(room, std::vector<float>(m.width(), 99.0f))),
        z(room, m.rows * m.channels),
        y(room, m.rows * m.channels),
        dx(room, m.rows * m.channels),
        dgamma(on_device(room, std::vector<float>(m.width(), 0.25f))),
        dbeta(on_device(room, std::vector<float>(m.width(), -0.25f))) {}

  void forward(Pass pass, const ProxPlan* plan = nullptr) {
    backend.batch_norm_forward({shape, pass, x.data(), gamma.data(), beta.data(),
                                running_mean.data(), running_var.data(), 0.1f, mean.data(),
                                inverse_std.data(), z.data(), y.data(), plan});
  }
  void backward(float* to, bool accumulate) {
    backend.batch_norm_backward({shape, x.data(), gamma.data(), mean.data(), inverse_std.data(),
                                 y.data(), z.data(), dy.data(), dgamma.data(), dbeta.data(), to,
                                 accumulate});
  }

  Backend& backend;
  BatchNormShape shape;
  Array<float> x, gamma, beta, dy, running_mean, running_var, mean, inverse_std, z, y, dx, dgamma,
      dbeta;
};

// Below, at and above the 128 rows of a block, more blocks than the 32 of a group; channels below,
// at and above the widths of strips and tiles.
const Matrix kMatrices[] = {{2, 1},    {5, 3},    {127, 4},  {128, 16}, {129, 17}, {300, 20},
                            {700, 70}, {50, 132}, {33, 260}, {4300, 4}, {9000, 3}};

TEST_P(Norm, IsTheDefinition) {
  Random random(511);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  for (const Matrix& m : kMatrices) {
    SCOPED_TRACE(::testing::Message() << m.rows << "x" << m.channels);
    const Inputs in = draw(m, random);
    Layer layer(*backend, m, in, Activation::kTanh);
    layer.forward(Pass::kTrain);
    const Reference want = reference(m, wide(in.x), wide(in.gamma), wide(in.beta), "tanh");
    const std::vector<float> mean = layer.mean.to_host(), inverse = layer.inverse_std.to_host();
    const std::vector<float> running_mean = layer.running_mean.to_host();
    const std::vector<float> running_var = layer.running_var.to_host();
    const std::vector<float> y = layer.y.to_host();
    for (std::size_t c = 0; c < m.width(); ++c) {
      const double scale = 1.0 + static_cast<double>(c);  // of the values of this channel
      const double epsilon = static_cast<double>(kEpsilon);
      ASSERT_NEAR(static_cast<double>(mean[c]), want.mean[c], 2e-6 * scale) << c;
      ASSERT_NEAR(static_cast<double>(inverse[c]) * std::sqrt(want.variance[c] + epsilon), 1.0,
                  5e-6)
          << c;
      const double unbiased = want.variance[c] * m.count() / (m.count() - 1.0);
      ASSERT_NEAR(static_cast<double>(running_mean[c]), 0.9 * 0.125 + 0.1 * want.mean[c],
                  1e-6 * scale);
      ASSERT_NEAR(static_cast<double>(running_var[c]), 0.9 * 2.0 + 0.1 * unbiased,
                  2e-6 * (2.0 + unbiased));
    }
    for (std::size_t i = 0; i < y.size(); ++i) {
      ASSERT_NEAR(static_cast<double>(y[i]), want.y[i], 1e-5) << i;
    }
  }
}

// ∂L/∂x, ∂L/∂γ and ∂L/∂β of L = Σ dy·y by the closed form in float64; central differences hold that
// form to the definition below.
struct Gradients {
  std::vector<double> dz, dx, dgamma, dbeta;
};

double reference_slope(const std::string& activation, double z) {
  constexpr double kStep = 1e-6;
  const auto slope = static_cast<double>(kSlope);
  return (reference_activation(activation, z + kStep, slope) -
          reference_activation(activation, z - kStep, slope)) /
         (2.0 * kStep);
}

Gradients gradients(const Matrix& m, const Inputs& in, const Reference& r,
                    const std::string& activation) {
  Gradients g{std::vector<double>(m.size()), std::vector<double>(m.size()),
              std::vector<double>(m.width(), 0.0), std::vector<double>(m.width(), 0.0)};
  const auto normal = [&](std::size_t i) {
    const std::size_t c = i % m.width();
    return (static_cast<double>(in.x[i]) - r.mean[c]) /
           std::sqrt(r.variance[c] + static_cast<double>(kEpsilon));
  };
  for (std::size_t i = 0; i < m.size(); ++i) {
    g.dz[i] = static_cast<double>(in.dy[i]) * reference_slope(activation, r.z[i]);
    g.dbeta[i % m.width()] += g.dz[i];
    g.dgamma[i % m.width()] += g.dz[i] * normal(i);
  }
  for (std::size_t i = 0; i < m.size(); ++i) {
    const std::size_t c = i % m.width();
    g.dx[i] = static_cast<double>(in.gamma[c]) /
              std::sqrt(r.variance[c] + static_cast<double>(kEpsilon)) *
              (g.dz[i] - g.dbeta[c] / m.count() - normal(i) * g.dgamma[c] / m.count());
  }
  return g;
}

TEST_P(Norm, BackwardIsTheClosedForm) {
  Random random(512);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  for (const Matrix& m : kMatrices) {
    for (const bool accumulate : {false, true}) {
      SCOPED_TRACE(::testing::Message() << m.rows << "x" << m.channels << " " << accumulate);
      const Inputs in = draw(m, random);
      Layer layer(*backend, m, in, Activation::kSilu);
      layer.forward(Pass::kGradient);
      layer.backward(layer.dx.data(), accumulate);
      const Reference r = reference(m, wide(in.x), wide(in.gamma), wide(in.beta), "silu");
      const Gradients want = gradients(m, in, r, "silu");
      const std::vector<float> dz = layer.dy.to_host(), dx = layer.dx.to_host();
      const std::vector<float> dgamma = layer.dgamma.to_host(), dbeta = layer.dbeta.to_host();
      for (std::size_t c = 0; c < m.width(); ++c) {
        // Terms up to 4, and their number's worth of rounding.
        const double tolerance = 2e-6 * (10.0 + std::sqrt(m.count()) * 4.0);
        ASSERT_NEAR(static_cast<double>(dgamma[c]), want.dgamma[c] + (accumulate ? 0.25 : 0.0),
                    tolerance);
        ASSERT_NEAR(static_cast<double>(dbeta[c]), want.dbeta[c] - (accumulate ? 0.25 : 0.0),
                    tolerance);
      }
      for (std::size_t i = 0; i < m.size(); ++i) {
        ASSERT_NEAR(static_cast<double>(dz[i]), want.dz[i], 2e-5) << i;
        ASSERT_NEAR(static_cast<double>(dx[i]), want.dx[i], 1e-4) << i;
      }
    }
  }
}

TEST_P(Norm, BackwardIsTheDerivative) {
  Random random(513);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  constexpr double kStep = 1e-6;
  const Matrix m{7, 5};
  for (const auto& [activation, name] : kAllActivations) {
    SCOPED_TRACE(name);
    const Inputs in = draw(m, random);
    Layer layer(*backend, m, in, activation);
    layer.forward(Pass::kTrain);
    layer.backward(layer.dx.data(), false);
    std::vector<double> x = wide(in.x), gamma = wide(in.gamma), beta = wide(in.beta);
    const auto check = [&](std::vector<double>& values, const Array<float>& got) {
      const std::vector<float> gradient = got.to_host();
      for (std::size_t i = 0; i < values.size(); ++i) {
        double loss[2];
        const double value = values[i];
        for (const int side : {0, 1}) {
          values[i] = side == 0 ? value - kStep : value + kStep;
          const std::vector<double> y = reference(m, x, gamma, beta, name).y;
          loss[side] = 0.0;
          for (std::size_t k = 0; k < y.size(); ++k) {
            loss[side] += y[k] * static_cast<double>(in.dy[k]);
          }
        }
        values[i] = value;
        const double want = (loss[1] - loss[0]) / (2.0 * kStep);
        ASSERT_NEAR(static_cast<double>(gradient[i]), want, 2e-5 * std::max(1.0, std::fabs(want)))
            << i;
      }
    };
    check(x, layer.dx);
    check(gamma, layer.dgamma);
    check(beta, layer.dbeta);
  }
}

TEST_P(Norm, InPlaceAndWithoutDx) {
  Random random(514);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  for (const Matrix& m : {Matrix{260, 36}, Matrix{140, 7}}) {
    const Inputs in = draw(m, random);
    Layer apart(*backend, m, in, Activation::kRelu), together(*backend, m, in, Activation::kRelu),
        none(*backend, m, in, Activation::kRelu);
    for (Layer* layer : {&apart, &together, &none}) layer->forward(Pass::kTrain);
    apart.backward(apart.dx.data(), false);
    together.backward(together.dy.data(), false);
    none.backward(nullptr, false);
    EXPECT_EQ(bit_difference(together.dy.to_host(), apart.dx.to_host()), "");
    EXPECT_EQ(bit_difference(none.dy.to_host(), apart.dy.to_host()), "");
    EXPECT_EQ(bit_difference(none.dgamma.to_host(), apart.dgamma.to_host()), "");
    EXPECT_EQ(bit_difference(none.dbeta.to_host(), together.dbeta.to_host()), "");
  }
}

TEST_P(Norm, RunningStatisticsFollowThreeSteps) {
  Random random(515);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  const Matrix m{150, 6};
  Inputs in = draw(m, random);
  Layer layer(*backend, m, in, Activation::kIdentity);
  std::vector<double> mean(m.width(), 0.125), variance(m.width(), 2.0);
  for (int step = 0; step < 3; ++step) {
    in = draw(m, random);
    backend->upload(layer.x.data(), in.x.data(), layer.x.bytes());
    layer.forward(Pass::kTrain);
    const Reference r = reference(m, wide(in.x), wide(in.gamma), wide(in.beta), "identity");
    for (std::size_t c = 0; c < m.width(); ++c) {
      mean[c] = 0.9 * mean[c] + 0.1 * r.mean[c];
      variance[c] = 0.9 * variance[c] + 0.1 * r.variance[c] * m.count() / (m.count() - 1.0);
    }
  }
  const std::vector<float> got_mean = layer.running_mean.to_host();
  const std::vector<float> got_var = layer.running_var.to_host();
  for (std::size_t c = 0; c < m.width(); ++c) {
    ASSERT_NEAR(static_cast<double>(got_mean[c]), mean[c], 2e-6);
    ASSERT_NEAR(static_cast<double>(got_var[c]), variance[c], 4e-6);
  }

  // The gradient of the present network moves nothing.
  layer.forward(Pass::kGradient);
  EXPECT_EQ(bit_difference(layer.running_mean.to_host(), got_mean), "");
  EXPECT_EQ(bit_difference(layer.running_var.to_host(), got_var), "");

  // An evaluation takes the running statistics, and leaves those of the batch alone.
  const std::vector<float> batch_mean = layer.mean.to_host();
  const std::vector<float> batch_inverse = layer.inverse_std.to_host();
  const std::vector<float> other = random.vector(m.size(), -1.0f, 1.0f);
  backend->upload(layer.x.data(), other.data(), layer.x.bytes());
  layer.forward(Pass::kEvaluate);
  EXPECT_EQ(bit_difference(layer.running_mean.to_host(), got_mean), "");
  EXPECT_EQ(bit_difference(layer.running_var.to_host(), got_var), "");
  EXPECT_EQ(bit_difference(layer.mean.to_host(), batch_mean), "");
  EXPECT_EQ(bit_difference(layer.inverse_std.to_host(), batch_inverse), "");
  const std::vector<float> y = layer.y.to_host();
  const std::vector<float> gamma = layer.gamma.to_host(), beta = layer.beta.to_host();
  for (std::size_t i = 0; i < y.size(); ++i) {
    const std::size_t c = i % m.width();
    const double want = static_cast<double>(gamma[c]) * (static_cast<double>(other[i]) - mean[c]) /
                            std::sqrt(variance[c] + static_cast<double>(kEpsilon)) +
                        static_cast<double>(beta[c]);
    ASSERT_NEAR(static_cast<double>(y[i]), want, 2e-5) << i;
  }
}

TEST_P(Norm, OneRowIsEnoughToEvaluate) {
  const auto backend = GetParam().make();
  const Matrix m{1, 2};
  Layer layer(*backend, m, {{1.125f, 2.125f}, {1.0f, 2.0f}, {0.0f, 1.0f}, {0.0f, 0.0f}},
              Activation::kIdentity);
  layer.forward(Pass::kEvaluate);
  const std::vector<float> y = layer.y.to_host();
  const double deviation = std::sqrt(2.0 + static_cast<double>(kEpsilon));
  EXPECT_NEAR(static_cast<double>(y[0]), 1.0 / deviation, 1e-6);
  EXPECT_NEAR(static_cast<double>(y[1]), 1.0 + 4.0 / deviation, 1e-6);
}

TEST_P(Norm, NothingRunningMovesOnceThePlanHasStopped) {
  Random random(516);
  const auto backend = GetParam().make();
  const Matrix m{140, 5};
  Layer layer(*backend, m, draw(m, random), Activation::kIdentity);
  Array<float> w = on_device(*backend, {1.0f, 2.0f, 3.0f});
  Array<float> g = on_device(*backend, {0.0f, 0.0f, 0.0f});
  const ProxTensor tensor{w.data(), g.data(), 3, 0};
  const auto plan = backend->make_plan({&tensor, 1}, 1);
  const float lambda = 0.0f;
  backend->set_lambda(*plan, {&lambda, 1});
  backend->set_rate(*plan, {1.0f});
  backend->set_stop(*plan, {});
  layer.forward(Pass::kTrain, plan.get());  // not stopped yet
  const std::vector<float> mean = layer.running_mean.to_host(), var = layer.running_var.to_host();
  EXPECT_NE(mean[0], 0.125f);
  EXPECT_NE(var[0], 2.0f);

  const float nan = std::numeric_limits<float>::quiet_NaN();
  backend->upload(g.data(), &nan, sizeof nan);
  backend->prox_step(*plan);
  const std::vector<float> x = random.vector(m.size(), -1.0f, 1.0f);
  backend->upload(layer.x.data(), x.data(), layer.x.bytes());
  const std::vector<float> batch = layer.mean.to_host();
  layer.forward(Pass::kTrain, plan.get());
  EXPECT_EQ(bit_difference(layer.running_mean.to_host(), mean), "");
  EXPECT_EQ(bit_difference(layer.running_var.to_host(), var), "");
  EXPECT_NE(layer.mean.to_host(), batch);  // the batch still has its own
  ASSERT_TRUE(backend->read_status(*plan).stopped);

  backend->set_stop(*plan, {});  // a new round
  layer.forward(Pass::kTrain, plan.get());
  EXPECT_NE(layer.running_mean.to_host(), mean);
  EXPECT_NE(layer.running_var.to_host(), var);
}

TEST_P(Norm, ANanStaysInItsChannel) {
  Random random(517);
  const auto backend = GetParam().make();
  const Matrix m{140, 8};
  Inputs in = draw(m, random);
  in.x[3 * 8 + 5] = std::numeric_limits<float>::quiet_NaN();
  Layer layer(*backend, m, in, Activation::kRelu);
  layer.forward(Pass::kTrain);
  const std::vector<float> y = layer.y.to_host();
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i % 8 == 5) << i;
}

TEST_P(Norm, RefusesWhatItCannotNormalise) {
  Random random(518);
  const auto backend = GetParam().make();
  const Matrix m{4, 2};
  Layer layer(*backend, m, draw(m, random), Activation::kSilu);
  const auto forward = [&](Pass pass) { return refusal([&] { layer.forward(pass); }); };
  layer.shape.rows = 1;
  for (const Pass pass : {Pass::kTrain, Pass::kGradient}) {
    EXPECT_THAT(forward(pass), HasSubstr("at least two rows"));
    EXPECT_THAT(forward(pass), HasSubstr("larger batch"));
  }
  EXPECT_THAT(refusal([&] { layer.backward(nullptr, false); }), HasSubstr("larger batch"));
  EXPECT_EQ(forward(Pass::kEvaluate), "accepted");
  layer.shape.rows = 4;
  layer.shape.epsilon = -1.0f;
  EXPECT_THAT(forward(Pass::kTrain), HasSubstr("epsilon"));
  layer.shape.epsilon = kEpsilon;
  layer.z = Array<float>();
  EXPECT_THAT(forward(Pass::kTrain), HasSubstr("z must not be null"));
  EXPECT_THAT(refusal([&] { layer.backward(nullptr, false); }), HasSubstr("z must not be null"));
  layer.shape.channels = 0;
  EXPECT_THAT(forward(Pass::kTrain), HasSubstr("channels"));
}

INSTANTIATE_TEST_SUITE_P(Rooms, Norm, ::testing::ValuesIn(all_rooms()),
                         [](const auto& test) { return test.param.name(); });

// Large enough for three threads to share the work, with more blocks of rows than a group has.
TEST(NormRooms, GiveTheSameBits) {
  Random random(519);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (const Matrix& m : {Matrix{5000, 20}, Matrix{1500, 67}, Matrix{9000, 3}}) {
    for (const Activation activation : {Activation::kRelu, Activation::kGelu}) {
      SCOPED_TRACE(::testing::Message() << m.rows << "x" << m.channels);
      const Inputs in = draw(m, random);
      std::vector<std::vector<float>> want;
      for (const Room& room : all_rooms()) {
        SCOPED_TRACE(room.name());
        const auto backend = room.make();
        Layer layer(*backend, m, in, activation);
        layer.forward(Pass::kTrain);
        layer.backward(layer.dx.data(), true);
        const std::vector<std::vector<float>> got = {
            layer.y.to_host(),  layer.mean.to_host(),         layer.inverse_std.to_host(),
            layer.dy.to_host(), layer.running_mean.to_host(), layer.running_var.to_host(),
            layer.dx.to_host(), layer.dgamma.to_host(),       layer.dbeta.to_host()};
        if (want.empty()) want = got;
        for (std::size_t i = 0; i < got.size(); ++i) {
          ASSERT_EQ(bit_difference(got[i], want[i]), "") << "array " << i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace cuthresh::testing
