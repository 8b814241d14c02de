// Controlled runs in every room: λ against the controller written out in float64, the kept weights
// against a full sort to the bit, frozen zeros, and what is refused.

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>

#include "control_list.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::testing {
namespace {

/// Groups 0 and 2 share a target, 1 has its own, 3 and the bias (−1) none.
std::vector<HostTensor> shared_targets(Random& random, bool ties) {
  std::vector<HostTensor> tensors;
  for (const auto& [size, group] : {std::pair{1500, 0}, std::pair{37, -1}, std::pair{700, 1},
                                    std::pair{20000, 2}, std::pair{90, 3}, std::pair{1, 1}}) {
    const auto n = static_cast<std::size_t>(size);
    tensors.push_back({ties ? coarse(random, n) : random.vector(n, -1.0f, 1.0f),
                       ties ? coarse(random, n) : random.vector(n, -1.0f, 1.0f), group});
  }
  return tensors;
}
const std::vector<ControlTarget> kTargets = {{{0, 2}, 4000, 0.5f}, {{1}, 123, 0.25f}};
const ControlRule kRule = {2, 6, 0.5f, 1.25f, 3.0f};

class Control : public ::testing::TestWithParam<Room> {};

struct ControllerByDefinition {
  double size, target, start, integral;

  double lambda(const ControlRule& rule, double count, std::int64_t step) {
    if (step < rule.ramp_begin) return 0.0;
    const double x = std::clamp(static_cast<double>(step - rule.ramp_begin) /
                                    static_cast<double>(rule.ramp_end - rule.ramp_begin),
                                0.0, 1.0);
    const double wanted = std::log(std::min(1.1 * target, size) * x + size * (1.0 - x));
    const double error = std::clamp(std::log(std::max(count, 1.0)) - wanted, -1.0, 1.0);
    const auto range = static_cast<double>(rule.range);
    integral = std::clamp(integral + static_cast<double>(rule.integral) * error, start - range,
                          start + range);
    return std::exp(integral + static_cast<double>(rule.proportional) * error);
  }
};

TEST_P(Control, LambdaIsTheControllersInFloat64) {
  Random random(11);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  ControlList list(GetParam(), shared_targets(random, false), 4);
  list.backend().set_control(list.plan(), kRule, kTargets);
  EXPECT_EQ(list.backend().read_lambda(list.plan()), std::vector<float>(4, 0.0f));
  ControllerByDefinition first{21500, 4000, std::log(0.5), std::log(0.5)};
  ControllerByDefinition second{701, 123, std::log(0.25), std::log(0.25)};
  for (std::int64_t step = 1; step <= 9; ++step) {
    for (std::size_t t = 0; t < list.host().size(); ++t) {
      list.set_gradient(t, random.vector(list.host()[t].g.size(), -1.0f, 1.0f));
    }
    list.backend().prox_step(list.plan());
    const std::vector<std::uint64_t> nnz = list.backend().read_status(list.plan()).nnz;
    list.backend().control(list.plan());
    const std::vector<float> lambda = list.backend().read_lambda(list.plan());
    const double a = first.lambda(kRule, static_cast<double>(nnz[0] + nnz[2]), step);
    const double b = second.lambda(kRule, static_cast<double>(nnz[1]), step);
    EXPECT_NEAR(static_cast<double>(lambda[0]), a, 1e-5 * a) << "step " << step;
    EXPECT_EQ(lambda[0], lambda[2]);
    EXPECT_NEAR(static_cast<double>(lambda[1]), b, 1e-5 * b) << "step " << step;
    EXPECT_EQ(lambda[3], 0.0f);
  }
}

TEST_P(Control, WindsUpNoFurtherThanItsRange) {
  // The gradient holds everything up, so that the count stays far too high.
  std::vector<HostTensor> tensors = {{std::vector<float>(50, 1e6f), std::vector<float>(50), 0}};
  ControlList list(GetParam(), tensors, 1);
  const ControlTarget target{{0}, 1, 1e-3f};
  const ControlRule rule{0, 1, 1.0f, 0.0f, 2.0f};
  list.backend().set_control(list.plan(), rule, {&target, 1});
  for (int i = 0; i < 5; ++i) {
    list.backend().prox_step(list.plan());
    list.backend().control(list.plan());
  }
  const float most = 1e-3f * std::exp(2.0f);
  EXPECT_NEAR(list.backend().read_lambda(list.plan())[0], most, 1e-5f * most);
}

/// What keep_targets leaves, by a full sort of (|z|, place in the list).
std::vector<std::vector<float>> kept_by_definition(const std::vector<HostTensor>& tensors,
                                                   const std::vector<float>& lambda) {
  struct Entry {
    float magnitude;
    std::size_t tensor, index;
  };
  std::vector<std::vector<float>> z(tensors.size());
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    for (std::size_t i = 0; i < tensors[t].w.size(); ++i) {
      const float step = std::fma(-kAlpha, tensors[t].g[i], tensors[t].w[i]);
      z[t].push_back(step == 0.0f ? 0.0f : step);
    }
  }
  for (const ControlTarget& target : kTargets) {
    std::vector<Entry> all;
    for (std::size_t t = 0; t < tensors.size(); ++t) {
      if (std::find(target.groups.begin(), target.groups.end(), tensors[t].group) ==
          target.groups.end())
        continue;
      for (std::size_t i = 0; i < z[t].size(); ++i) all.push_back({std::fabs(z[t][i]), t, i});
    }
    std::stable_sort(all.begin(), all.end(),
                     [](const Entry& a, const Entry& b) { return a.magnitude > b.magnitude; });
    const float least = all[target.target - 1].magnitude;
    if (least == 0.0f) continue;
    const float below = std::nextafter(least, 0.0f);
    for (std::size_t i = 0; i < all.size(); ++i) {
      float& entry = z[all[i].tensor][all[i].index];
      const float threshold =
          kAlpha * lambda[static_cast<std::size_t>(tensors[all[i].tensor].group)];
      const float shrunk = all[i].magnitude - std::min(threshold, below);
      entry = i < target.target ? std::copysign(shrunk, entry) : 0.0f;
    }
  }
  return z;
}

TEST_P(Control, KeepsExactlyTheLargestAndTiesByTheLowestIndex) {
  for (const bool ties : {false, true}) {
    // λ small: survivors shrink by αλ; large: at most to just above zero.
    for (const std::vector<float>& lambda :
         {std::vector<float>{0.01f, 0.02f, 0.01f, 0.0f}, std::vector<float>{100, 200, 100, 0}}) {
      Random random(ties ? 21 : 22);
      SCOPED_TRACE(::testing::Message() << "seed " << random.seed() << ", λ " << lambda[0]);
      ControlList list(GetParam(), shared_targets(random, ties), 4);
      list.backend().set_control(list.plan(), kRule, kTargets);
      list.backend().set_lambda(list.plan(), lambda);
      list.backend().keep_targets(list.plan());
      const std::vector<std::vector<float>> want = kept_by_definition(list.host(), lambda);
      std::vector<std::uint64_t> nonzero(4, 0);
      for (std::size_t t = 0; t < want.size(); ++t) {
        expect_bits(list.weights(t), want[t], t);
        if (list.host()[t].group < 0) continue;
        nonzero[static_cast<std::size_t>(list.host()[t].group)] += static_cast<std::uint64_t>(
            std::count_if(want[t].begin(), want[t].end(), [](float x) { return x != 0.0f; }));
      }
      const StepStatus& status = list.backend().read_status(list.plan());
      EXPECT_EQ(status.nnz, nonzero);
      EXPECT_EQ(status.nnz[0] + status.nnz[2], 4000U);
      EXPECT_EQ(status.nnz[1], 123U);
      EXPECT_EQ(status.total, std::accumulate(nonzero.begin(), nonzero.end(), std::uint64_t{0}));
      EXPECT_EQ(status.steps, 1);
      EXPECT_FALSE(status.stopped);
    }
  }
}

TEST_P(Control, KeepsAllWhenFewerAreNonzeroThanWanted) {
  std::vector<float> w(300, 0.0f);
  for (std::size_t i = 0; i < 40; ++i) w[7 * i] = 0.5f;
  ControlList list(GetParam(), {{w, std::vector<float>(300, 0.0f), 0}}, 1);
  const ControlTarget target{{0}, 41, 1.0f};
  list.backend().set_control(list.plan(), kRule, {&target, 1});
  list.backend().keep_targets(list.plan());
  EXPECT_EQ(list.backend().read_status(list.plan()).nnz[0], 40U);
  expect_bits(list.weights(0), w, 0);
}

TEST_P(Control, SmallestSurvivorsStayNonzeroDownToDenormals) {
  constexpr float kTiny = std::numeric_limits<float>::denorm_min();
  std::vector<float> w(64, 2.0f * kTiny);
  w[5] = kTiny;  // one of 64 has to go
  ControlList list(GetParam(), {{w, std::vector<float>(64, 0.0f), 0}}, 1);
  const ControlTarget target{{0}, 63, 1.0f};
  list.backend().set_control(list.plan(), kRule, {&target, 1});
  list.backend().set_lambda(list.plan(), std::vector<float>{1.0f});
  list.backend().keep_targets(list.plan());
  EXPECT_EQ(list.backend().read_status(list.plan()).nnz[0], 63U);
  EXPECT_EQ(list.weights(0)[5], 0.0f);
  EXPECT_EQ(list.weights(0)[6], kTiny);
}

TEST_P(Control, FrozenZerosStayAndTheOthersTakeTheStepWithoutThreshold) {
  for (const StepKind kind : {StepKind::kPlain, StepKind::kMomentum, StepKind::kNesterov}) {
    Random random(31);
    SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
    ControlList list(GetParam(), shared_targets(random, true), 4, kind);
    list.backend().set_control(list.plan(), kRule, kTargets);
    list.backend().set_lambda(list.plan(), std::vector<float>(4, 1.0f));
    list.backend().keep_targets(list.plan());
    list.backend().freeze(list.plan());
    std::vector<std::vector<float>> support;
    for (std::size_t t = 0; t < list.host().size(); ++t) support.push_back(list.weights(t));

    // Beside it the same steps without freezing: survivors must have their bits.
    ControlList free(GetParam(), list.host(), 4, kind);
    free.backend().set_control(free.plan(), kRule, kTargets);
    free.backend().set_lambda(free.plan(), std::vector<float>(4, 1.0f));
    free.backend().keep_targets(free.plan());
    free.backend().set_lambda(free.plan(), std::vector<float>(4, 0.0f));
    for (int step = 0; step < 3; ++step) {
      for (std::size_t t = 0; t < list.host().size(); ++t) {
        const std::vector<float> g = random.vector(list.host()[t].g.size(), -1.0f, 1.0f);
        list.set_gradient(t, g);
        free.set_gradient(t, g);
      }
      list.backend().prox_step(list.plan());
      free.backend().prox_step(free.plan());
    }
    std::vector<std::uint64_t> nonzero(4, 0);
    for (std::size_t t = 0; t < list.host().size(); ++t) {
      const std::int32_t group = list.host()[t].group;
      const std::vector<float> got = list.weights(t);
      std::vector<float> want = free.weights(t);
      for (std::size_t i = 0; i < want.size(); ++i) {
        if (group >= 0 && support[t][i] == 0.0f) want[i] = 0.0f;
        if (group >= 0 && want[i] != 0.0f) ++nonzero[static_cast<std::size_t>(group)];
      }
      expect_bits(got, want, t);
    }
    EXPECT_EQ(list.backend().read_status(list.plan()).nnz, nonzero);
    EXPECT_EQ(list.backend().read_status(list.plan()).steps, 4);

    // A new run is a plain one again.
    list.backend().set_stop(list.plan(), {});
    list.set_weights(0, std::vector<float>(1500, 0.0f));
    list.set_gradient(0, std::vector<float>(1500, 1.0f));
    list.backend().set_lambda(list.plan(), std::vector<float>(4, 0.0f));
    list.backend().prox_step(list.plan());
    EXPECT_EQ(list.backend().read_status(list.plan()).nnz[0], 1500U);
  }
}

TEST_P(Control, WhatIsNotFiniteEndsTheRunAlsoWhereItIsFrozen) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> w(100, 0.0f);
    w[3] = 1.0f;
    ControlList list(GetParam(), {{w, std::vector<float>(100, 0.0f), 0}}, 1);
    const ControlTarget target{{0}, 1, 1.0f};
    list.backend().set_control(list.plan(), kRule, {&target, 1});
    list.backend().freeze(list.plan());
    std::vector<float> g(100, 0.0f);
    g[50] = bad;
    list.set_gradient(0, g);
    list.backend().prox_step(list.plan());
    const StepStatus& status = list.backend().read_status(list.plan());
    EXPECT_EQ(status.nonfinite, 1U);
    EXPECT_TRUE(status.stopped);
    // Nothing moves any more.
    const std::vector<float> before = list.backend().read_lambda(list.plan());
    list.backend().control(list.plan());
    list.backend().keep_targets(list.plan());
    EXPECT_EQ(list.backend().read_lambda(list.plan()), before);
    EXPECT_EQ(list.backend().read_status(list.plan()).steps, 1);
  }
}

TEST_P(Control, RefusesWhatCannotBe) {
  ControlList list(GetParam(),
                   {{std::vector<float>(10, 1.0f), std::vector<float>(10), 0},
                    {std::vector<float>(5, 1.0f), std::vector<float>(5), 1}},
                   2);
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  struct Bad {
    ControlRule rule;
    std::vector<ControlTarget> targets;
    const char* says;
  };
  for (const Bad& bad : {
           Bad{{5, 5, 0, 0, 1}, {}, "before its end"},
           Bad{{-1, 5, 0, 0, 1}, {}, "step 0 or later"},
           Bad{{0, 5, -1, 0, 1}, {}, "integral gain"},
           Bad{{0, 5, 0, kNan, 1}, {}, "proportional gain"},
           Bad{{0, 5, 0, 0, 0}, {}, "range of log"},
           Bad{{0, 5, 0, 0, 1}, {{{0}, 3, 0.0f}}, "λ must begin"},
           Bad{{0, 5, 0, 0, 1}, {{{0}, 0, 1.0f}}, "from 1 to the number of its weights, 10"},
           Bad{{0, 5, 0, 0, 1}, {{{0, 1}, 16, 1.0f}}, "15"},
           Bad{{0, 5, 0, 0, 1}, {{{2}, 1, 1.0f}}, "no such group"},
           Bad{{0, 5, 0, 0, 1}, {{{0}, 1, 1.0f}, {{0}, 1, 1.0f}}, "has a target already"},
       }) {
    try {
      list.backend().set_control(list.plan(), bad.rule, bad.targets);
      FAIL() << "accepted; expected: " << bad.says;
    } catch (const InternalError& error) {
      EXPECT_NE(std::string(error.what()).find(bad.says), std::string::npos) << error.what();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Rooms, Control, ::testing::ValuesIn(all_rooms()),
                         [](const auto& test) { return test.param.name(); });

}  // namespace
}  // namespace cuthresh::testing
