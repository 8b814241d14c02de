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
#include "tests/unit/prox_values.hpp"

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
