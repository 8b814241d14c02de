// The fused step with a momentum in every room: to the bit against PyTorch's formula written out
// here, and near its recursion in float64.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/array.hpp"
#include "support/engines.hpp"
#include "support/seeded.hpp"
#include "support/soft_threshold.hpp"
#include "tests/unit/prox_values.hpp"

namespace cuthresh::testing {
namespace {

struct Method {
  StepKind kind;
  float momentum;
};

// PyTorch's SGD(momentum, nesterov) as it rounds, then the threshold.
struct ByDefinition {
  Method method;
  float alpha, threshold;
  void step(float& w, float g, float& v) const {
    const float kept = method.momentum * v;
    v = kept + g;
    const float d = method.kind == StepKind::kNesterov ? std::fma(method.momentum, v, g) : v;
    w = soft_by_definition(std::fma(-alpha, d, w), threshold);
  }
};

constexpr Method kMethods[] = {{StepKind::kMomentum, 0.9f},
                               {StepKind::kNesterov, 0.875f},
                               {StepKind::kMomentum, 0.0f},
                               {StepKind::kNesterov, 0.0f}};

class ProxMomentum : public ::testing::TestWithParam<Room> {};

TEST_P(ProxMomentum, IsItsDefinitionToTheBit) {
  constexpr float kGuard = 54321.0f;
  constexpr std::size_t kPad = 8;
  Random random(19);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  const std::vector<float> lambda = {0.4f, 0.9f};
  for (const Method& method : kMethods) {
    for (const std::size_t offset : {0UL, 3UL}) {
      const ByDefinition free{method, 0.05f, 0.0f};
      std::vector<std::vector<float>> w, v, g;
      std::vector<Array<float>> on_device;
      std::vector<ProxTensor> list;
      on_device.reserve(9);
      for (const std::size_t n : {1UL, 70UL, 16389UL}) {
        w.push_back(hard_values(random, n, 0.02f));
        v.push_back(random.vector(n, -1.0f, 1.0f));
        g.push_back(random.vector(n, -1.0f, 1.0f));
        for (const auto* values : {&w.back(), &g.back(), &v.back()}) {
          std::vector<float> padded(n + offset + kPad, kGuard);
          std::copy(values->begin(), values->end(),
                    padded.begin() + static_cast<std::ptrdiff_t>(offset));
          on_device.emplace_back(*backend, std::span<const float>(padded));
        }
        float* const at[] = {on_device[on_device.size() - 3].data() + offset,
                             on_device[on_device.size() - 2].data() + offset,
                             on_device[on_device.size() - 1].data() + offset};
        // The middle tensor is not penalised.
        const std::int32_t group =
            list.size() == 1 ? -1 : static_cast<std::int32_t>(list.size() / 2);
        list.push_back({at[0], at[1], static_cast<std::int64_t>(n), group, at[2]});
      }
      const auto plan = backend->make_plan(list, 2, method.kind);
      backend->set_lambda(*plan, lambda);
      backend->set_rate(*plan, {free.alpha, method.momentum});
      backend->set_stop(*plan, {});
      for (int step = 0; step < 3; ++step) backend->prox_step(*plan);
      std::vector<std::uint64_t> nnz(2, 0);
      for (std::size_t t = 0; t < list.size(); ++t) {
        ByDefinition rule = free;
        if (list[t].group >= 0) {
          rule.threshold = free.alpha * lambda[static_cast<std::size_t>(list[t].group)];
        }
        const std::vector<float> got_w = on_device[3 * t].to_host();
        const std::vector<float> got_v = on_device[3 * t + 2].to_host();
        for (std::size_t i = 0; i < w[t].size(); ++i) {
          for (int step = 0; step < 3; ++step) rule.step(w[t][i], g[t][i], v[t][i]);
          ASSERT_EQ(bits_of(got_w[i + offset]), bits_of(w[t][i])) << t << " " << i;
          ASSERT_EQ(bits_of(got_v[i + offset]), bits_of(v[t][i])) << t << " " << i;
          if (list[t].group >= 0 && w[t][i] != 0.0f) ++nnz[static_cast<std::size_t>(list[t].group)];
        }
        for (std::size_t i = 0; i < got_w.size(); ++i) {
          if (i >= offset && i < offset + w[t].size()) continue;
          ASSERT_EQ(got_w[i], kGuard);
          ASSERT_EQ(got_v[i], kGuard);
        }
      }
      EXPECT_EQ(backend->read_status(*plan).nnz, nnz);
      EXPECT_EQ(backend->read_status(*plan).steps, 3);
    }
  }
}

TEST_P(ProxMomentum, FollowsThePublishedRecursionInFloat64) {
  // torch.optim.SGD's loop (v = mu v + g; d = g + mu v with nesterov, else v; w -= lr d), then
  // softshrink at lr*lambda, on f(w) = (w - c)^2/2 for 40 steps from v = 0.
  Random random(23);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  const std::size_t n = 50;
  const std::vector<float> centre = random.vector(n, -1.0f, 1.0f);
  for (const Method& method : kMethods) {
    std::vector<float> w = random.vector(n, -1.0f, 1.0f);
    std::vector<double> exact(w.begin(), w.end());
    std::vector<double> speed(n, 0.0);
    const std::vector<float> zeros(n, 0.0f);
    Array<float> device_w(*backend, std::span<const float>(w));
    Array<float> device_v(*backend, std::span<const float>(zeros));
    Array<float> device_g(*backend, static_cast<std::int64_t>(n));
    const ProxTensor tensor{device_w.data(), device_g.data(), static_cast<std::int64_t>(n), 0,
                            device_v.data()};
    const auto plan = backend->make_plan({&tensor, 1}, 1, method.kind);
    const float lambda = 0.3f;
    const float alpha = 0.1f;
    const double mu = static_cast<double>(method.momentum);
    backend->set_lambda(*plan, {&lambda, 1});
    backend->set_rate(*plan, {alpha, method.momentum});
    backend->set_stop(*plan, {});
    for (int step = 0; step < 40; ++step) {
      std::vector<float> g(n);
      for (std::size_t i = 0; i < n; ++i) g[i] = w[i] - centre[i];
      backend->upload(device_g.data(), g.data(), device_g.bytes());
      backend->prox_step(*plan);
      w = device_w.to_host();
      for (std::size_t i = 0; i < n; ++i) {
        const double slope = exact[i] - static_cast<double>(centre[i]);
        speed[i] = mu * speed[i] + slope;
        const double d = method.kind == StepKind::kNesterov ? slope + mu * speed[i] : speed[i];
        const double z = exact[i] - static_cast<double>(alpha) * d;
        const double t = static_cast<double>(alpha) * static_cast<double>(lambda);
        exact[i] = std::copysign(std::max(std::abs(z) - t, 0.0), z);
      }
    }
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_NEAR(static_cast<double>(w[i]), exact[i], 1e-5) << i;
    }
  }
}

TEST_P(ProxMomentum, StopsAtTheSameStepAndThenNeitherArrayMoves) {
  const auto backend = GetParam().make();
  // g = 0 and v = 0: only the threshold moves the ramp, one entry to zero a step.
  std::vector<float> ramp(40);
  for (std::size_t i = 0; i < ramp.size(); ++i) ramp[i] = static_cast<float>(i + 1);
  const std::vector<float> zeros(40, 0.0f);
  for (const Method& method : kMethods) {
    Array<float> w(*backend, std::span<const float>(ramp));
    Array<float> g(*backend, std::span<const float>(zeros));
    Array<float> v(*backend, std::span<const float>(zeros));
    const ProxTensor tensor{w.data(), g.data(), 40, 0, v.data()};
    const auto plan = backend->make_plan({&tensor, 1}, 1, method.kind);
    const float lambda = 1.0f;
    backend->set_rate(*plan, {1.0f, method.momentum});
    backend->set_lambda(*plan, {&lambda, 1});
    backend->set_stop(*plan, {{CountBand{0, 30}}, 1, 0});
    for (int i = 0; i < 10; ++i) backend->prox_step(*plan);
    EXPECT_EQ(backend->read_status(*plan).steps, 10);
    EXPECT_TRUE(backend->read_status(*plan).stopped);
    const std::vector<float> ones(40, 1.0f);
    backend->upload(g.data(), ones.data(), g.bytes());
    const std::vector<float> before = w.to_host();
    backend->prox_step(*plan);
    EXPECT_EQ(backend->read_status(*plan).steps, 10);
    EXPECT_EQ(w.to_host(), before);
    EXPECT_EQ(v.to_host(), zeros);
  }
}

INSTANTIATE_TEST_SUITE_P(Rooms, ProxMomentum, ::testing::ValuesIn(all_rooms()),
                         [](const auto& test) { return test.param.name(); });

}  // namespace
}  // namespace cuthresh::testing
