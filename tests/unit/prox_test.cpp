// The fused step, counts and certificate in every room: element-wise at 0 ulp against the formula
// written out here, counts exactly.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <span>

#include "core/array.hpp"
#include "kernels/math/kkt.hpp"
#include "kernels/math/step.hpp"
#include "support/engines.hpp"
#include "support/seeded.hpp"
#include "support/soft_threshold.hpp"

namespace cuthresh::testing {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kTiny = std::numeric_limits<float>::denorm_min();

TEST(SoftThreshold, HardCases) {
  EXPECT_EQ(bits_of(soft_threshold(0.0f, 1.0f)), bits_of(0.0f));
  EXPECT_EQ(bits_of(soft_threshold(-0.0f, 1.0f)), bits_of(0.0f));
  EXPECT_EQ(bits_of(soft_threshold(-0.0f, 0.0f)), bits_of(0.0f));
  EXPECT_EQ(soft_threshold(1.5f, 1.5f), 0.0f);
  EXPECT_EQ(soft_threshold(-1.5f, 1.5f), 0.0f);
  EXPECT_EQ(soft_threshold(std::nextafter(1.5f, 2.0f), 1.5f), std::nextafter(1.5f, 2.0f) - 1.5f);
  EXPECT_EQ(soft_threshold(kTiny, 0.0f), kTiny);
  EXPECT_EQ(soft_threshold(-kTiny, 0.0f), -kTiny);
  EXPECT_EQ(soft_threshold(2 * kTiny, kTiny), kTiny);
  EXPECT_EQ(soft_threshold(kInf, 3.0f), kInf);
  EXPECT_EQ(soft_threshold(-kInf, 3.0f), -kInf);
  EXPECT_TRUE(std::isnan(soft_threshold(kNan, 3.0f)));
  EXPECT_TRUE(std::isnan(soft_threshold(kNan, 0.0f)));
}

TEST(SoftThreshold, IsTheDefinitionForRandomBits) {
  Random random(7);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (int i = 0; i < 200000; ++i) {
    const float z = __builtin_bit_cast(float, random.bits());
    const float t = std::fabs(__builtin_bit_cast(float, random.bits()));
    if (std::isnan(t) || std::isinf(t)) continue;
    if (std::isnan(z)) {
      ASSERT_TRUE(std::isnan(soft_threshold(z, t)));
    } else {
      ASSERT_EQ(bits_of(soft_threshold(z, t)), bits_of(soft_by_definition(z, t))) << z << " " << t;
    }
  }
}

class Prox : public ::testing::TestWithParam<Room> {};

struct TensorCase {
  std::vector<float> w, g;
  std::int64_t offset = 0;  // elements past an aligned address
  std::int32_t group = 0;
};

// Values that stress every branch: many exact thresholds and zeros among random ones.
std::vector<float> hard_values(Random& random, std::size_t n, float t) {
  static constexpr float kSpecial[] = {0.0f, -0.0f, kTiny, -kTiny, 1e-39f, 3e38f, -3e38f};
  std::vector<float> v(n);
  for (float& x : v) {
    const auto kind = random.integer(0, 9);
    if (kind == 0) {
      x = kSpecial[random.integer(0, 6)];
    } else if (kind == 1) {
      x = random.integer(0, 1) == 0 ? t : -t;
    } else {
      x = random.uniform(-3.0f * t, 3.0f * t);
    }
  }
  return v;
}

void check_list(const Room& room, const std::vector<TensorCase>& cases, std::int32_t groups,
                float alpha, const std::vector<float>& lambda) {
  constexpr float kGuard = 12345.0f;
  constexpr std::int64_t kPad = 16;
  const auto backend = room.make();
  std::vector<Array<float>> w, g;
  std::vector<ProxTensor> list;
  for (const TensorCase& c : cases) {
    const std::size_t n = c.w.size();
    std::vector<float> padded(n + static_cast<std::size_t>(c.offset + kPad), kGuard);
    std::copy(c.w.begin(), c.w.end(), padded.begin() + c.offset);
    w.emplace_back(*backend, std::span<const float>(padded));
    std::copy(c.g.begin(), c.g.end(), padded.begin() + c.offset);
    g.emplace_back(*backend, std::span<const float>(padded));
    list.push_back({w.back().data() + c.offset, g.back().data() + c.offset,
                    static_cast<std::int64_t>(n), c.group});
  }
  const auto plan = backend->make_plan(list, groups);
  backend->set_lambda(*plan, lambda);
  backend->set_rate(*plan, {alpha});
  backend->set_stop(*plan, {});
  backend->prox_step(*plan);
  const StepStatus& status = backend->read_status(*plan);

  std::vector<std::uint64_t> nnz(static_cast<std::size_t>(groups), 0);
  std::uint64_t nonfinite = 0;
  for (std::size_t t = 0; t < cases.size(); ++t) {
    const TensorCase& c = cases[t];
    const float threshold = c.group < 0 ? 0.0f : alpha * lambda[static_cast<std::size_t>(c.group)];
    const std::vector<float> got = w[t].to_host();
    for (std::size_t i = 0; i < c.w.size(); ++i) {
      const float want = soft_by_definition(std::fma(-alpha, c.g[i], c.w[i]), threshold);
      const float have = got[i + static_cast<std::size_t>(c.offset)];
      if (std::isnan(want)) {
        ASSERT_TRUE(std::isnan(have)) << t << " " << i;
      } else {
        ASSERT_EQ(bits_of(have), bits_of(want))
            << t << " " << i << " w " << c.w[i] << " g " << c.g[i];
      }
      if (c.group >= 0 && want != 0.0f) ++nnz[static_cast<std::size_t>(c.group)];
      if (!std::isfinite(want)) ++nonfinite;
    }
    for (std::size_t i = 0; i < got.size(); ++i) {  // nothing outside the tensor was touched
      const auto at = static_cast<std::int64_t>(i);
      if (at < c.offset || at >= c.offset + static_cast<std::int64_t>(c.w.size())) {
        ASSERT_EQ(got[i], kGuard);
      }
    }
  }
  EXPECT_EQ(status.nnz, nnz);
  EXPECT_EQ(status.nonfinite, nonfinite);
  EXPECT_EQ(status.stopped, nonfinite > 0);
  EXPECT_EQ(backend->read_nonzeros(*plan), nnz);
}

TEST_P(Prox, EverySizeAndOffset) {
  Random random(11);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (const std::size_t n : {0UL, 1UL, 3UL, 4UL, 5UL, 15UL, 16UL, 17UL, 63UL, 64UL, 65UL, 257UL,
                              16383UL, 16384UL, 16385UL, 40009UL}) {
    for (std::int64_t offset = 0; offset < (n < 300 ? 16 : 2); ++offset) {
      const float alpha = 0.1f;
      const float lambda = random.uniform(1e-5f, 2.0f);
      check_list(
          GetParam(),
          {{hard_values(random, n, alpha * lambda), random.vector(n, -1.0f, 1.0f), offset, 0}}, 1,
          alpha, {lambda});
    }
  }
}

TEST_P(Prox, AListWithItsOwnLambdas) {
  Random random(12);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  std::vector<TensorCase> cases;
  const std::vector<float> lambda = {1e-4f, 0.0f, 0.7f, 3.0f};
  for (std::int64_t i = 0; i < 23; ++i) {
    const auto n = static_cast<std::size_t>(random.integer(0, 9000));
    cases.push_back({hard_values(random, n, 0.07f), random.vector(n, -2.0f, 2.0f), i % 5,
                     static_cast<std::int32_t>(i % 5) - 1});
  }
  check_list(GetParam(), cases, 4, 0.1f, lambda);
}

TEST_P(Prox, NonFiniteValuesAreCountedAndKept) {
  Random random(13);
  for (const float bad : {kNan, kInf, -kInf}) {
    TensorCase c{random.vector(5000, -1.0f, 1.0f), random.vector(5000, -1.0f, 1.0f), 0, 0};
    c.w[4711] = bad;
    TensorCase bias{random.vector(17, -1.0f, 1.0f), random.vector(17, -1.0f, 1.0f), 0, -1};
    check_list(GetParam(), {c, bias}, 1, 0.1f, {0.5f});
    bias.g[3] = bad;
    check_list(GetParam(), {c, bias}, 1, 0.1f, {0.5f});
  }
}

TEST_P(Prox, StopsExactlyWhenTheRuleHolds) {
  const auto backend = GetParam().make();
  // w = 1…100 with g = 0: each step of threshold 1 empties one more entry.
  std::vector<float> ramp(100);
  for (std::size_t i = 0; i < ramp.size(); ++i) ramp[i] = static_cast<float>(i + 1);
  const std::vector<float> zeros(100, 0.0f);
  for (const std::int64_t after : {0L, 60L}) {
    Array<float> w(*backend, std::span<const float>(ramp));
    Array<float> g(*backend, std::span<const float>(zeros));
    const ProxTensor tensor{w.data(), g.data(), 100, 0};
    const auto plan = backend->make_plan({&tensor, 1}, 1);
    backend->set_rate(*plan, {1.0f});
    const float lambda = 1.0f;
    backend->set_lambda(*plan, {&lambda, 1});
    backend->set_stop(*plan, {{CountBand{30, 70}}, 1, after});
    for (int i = 0; i < 100; ++i) backend->prox_step(*plan);
    const StepStatus& status = backend->read_status(*plan);
    EXPECT_TRUE(status.stopped);
    EXPECT_EQ(status.steps, after == 0 ? 30 : 61);
    EXPECT_EQ(status.total, static_cast<std::uint64_t>(100 - status.steps));
    EXPECT_EQ(backend->read_nonzeros(*plan).front(), status.total)
        << "steps after the stop changed the weights";
  }
}

TEST_P(Prox, StopsWhenEnoughGroupsMeetTheirBands) {
  const auto backend = GetParam().make();
  std::vector<float> ramp(60);
  for (std::size_t i = 0; i < ramp.size(); ++i) ramp[i] = static_cast<float>(i % 20 + 1);
  const std::vector<float> zeros(60, 0.0f);
  Array<float> w(*backend, std::span<const float>(ramp));
  Array<float> g(*backend, std::span<const float>(zeros));
  std::vector<ProxTensor> list;
  for (std::int32_t i = 0; i < 3; ++i)
    list.push_back({w.data() + 20 * i, g.data() + 20 * i, 20, i});
  const auto plan = backend->make_plan(list, 3);
  backend->set_rate(*plan, {1.0f});
  const std::vector<float> lambda = {1.0f, 1.0f, 1.0f};
  backend->set_lambda(*plan, lambda);
  // Counts fall together from 19: the first band holds at 12…15, the second at 10…13, the third
  // never.
  backend->set_stop(*plan, {{{12, 15}, {10, 13}, {100, 200}}, 2, 0});
  for (int i = 0; i < 20; ++i) backend->prox_step(*plan);
  EXPECT_EQ(backend->read_status(*plan).steps, 7);
  EXPECT_EQ(backend->read_status(*plan).nnz, (std::vector<std::uint64_t>{13, 13, 13}));
}

TEST_P(Prox, CertificateIsTheMaximumOfItsDefinition) {
  Random random(17);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  std::vector<ProxTensor> list;
  std::vector<Array<float>> keep;
  std::vector<KktResult> want(3);
  const std::vector<float> lambda = {0.3f, 0.5f, 0.9f};
  for (std::size_t i = 0; i < 3; ++i) {
    const std::size_t n = 1000 + 9777 * i;
    std::vector<float> w = random.vector(n, -1.0f, 1.0f);
    for (std::size_t e = 0; e < n; e += 3) w[e] = e % 2 == 0 ? 0.0f : -0.0f;
    const std::vector<float> g = random.vector(n, -1.2f, 1.2f);
    for (std::size_t e = 0; e < n; ++e) {
      if (w[e] != 0.0f) {
        ++want[i].nonzeros;
        want[i].on_nonzero =
            std::max(want[i].on_nonzero, std::fabs(g[e] + std::copysign(lambda[i], w[e])));
      } else {
        ++want[i].zeros;
        want[i].on_zero = std::max(want[i].on_zero, std::fabs(g[e]) - lambda[i]);
      }
    }
    keep.emplace_back(*backend, std::span<const float>(w));
    keep.emplace_back(*backend, std::span<const float>(g));
    list.push_back({keep[2 * i].data(), keep[2 * i + 1].data(), static_cast<std::int64_t>(n),
                    static_cast<std::int32_t>(i)});
  }
  const auto plan = backend->make_plan(list, 3);
  backend->set_lambda(*plan, lambda);
  const std::vector<KktResult> got = backend->read_kkt(*plan);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(got[i].nonzeros, want[i].nonzeros);
    EXPECT_EQ(got[i].zeros, want[i].zeros);
    EXPECT_EQ(got[i].on_nonzero, want[i].on_nonzero);
    EXPECT_EQ(got[i].on_zero, want[i].on_zero);
  }
  // A NaN gradient must show, at a nonzero weight (5) as at a zero one (6), and only there.
  backend->upload(keep[1].data() + 5, &kNan, sizeof kNan);
  EXPECT_TRUE(std::isnan(backend->read_kkt(*plan)[0].on_nonzero));
  EXPECT_EQ(backend->read_kkt(*plan)[0].on_zero, want[0].on_zero);
  backend->upload(keep[3].data() + 6, &kNan, sizeof kNan);
  EXPECT_TRUE(std::isnan(backend->read_kkt(*plan)[1].on_zero));
  EXPECT_EQ(backend->read_kkt(*plan)[1].on_nonzero, want[1].on_nonzero);
}

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

TEST_P(Prox, MomentumIsItsDefinitionToTheBit) {
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

TEST_P(Prox, MomentumFollowsThePublishedRecursionInFloat64) {
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

TEST_P(Prox, MomentumStopsAtTheSameStepAndThenNeitherArrayMoves) {
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

TEST_P(Prox, InitialValuesAreTheSameInEveryRoom) {
  const auto one = cpu::make_cpu_backend("reference", 1, "baseline");
  const auto backend = GetParam().make();
  for (const std::int64_t n : {1L, 5L, 200003L}) {
    Array<float> a(*one, n), b(*backend, n);
    one->initialise_uniform(a.data(), n, 0.37f, 0x123456789abcdefULL, 5);
    backend->initialise_uniform(b.data(), n, 0.37f, 0x123456789abcdefULL, 5);
    EXPECT_EQ(a.to_host(), b.to_host());
    for (const float v : b.to_host()) ASSERT_TRUE(v >= -0.37f && v < 0.37f);
  }
}

INSTANTIATE_TEST_SUITE_P(Rooms, Prox, ::testing::ValuesIn(all_rooms()),
                         [](const auto& test) { return test.param.name(); });

}  // namespace
}  // namespace cuthresh::testing
