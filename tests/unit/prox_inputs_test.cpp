// What a step is given from step to step, in every room: rates, gradients that come and go, none at
// all, and the flag that leaves a step out. To the bit against the formulas written out here.

#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/array.hpp"
#include "cuthresh/error.hpp"
#include "support/engines.hpp"
#include "support/seeded.hpp"
#include "support/soft_threshold.hpp"

namespace cuthresh::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct HostTensor {
  std::vector<float> w, g, v;
  std::int32_t group = 0;
  std::int32_t rate = 0;
  bool has_gradient = true;
};

/// PyTorch's SGD as it rounds, then the threshold.
void step_by_definition(HostTensor& t, StepKind kind, const StepRate& rate, float lambda) {
  if (!t.has_gradient && kind != StepKind::kThreshold) return;
  const float threshold = t.group < 0 ? 0.0f : rate.learning_rate * lambda;
  for (std::size_t i = 0; i < t.w.size(); ++i) {
    float z = t.w[i];
    if (kind != StepKind::kThreshold) {
      float g = t.g[i];
      if (rate.weight_decay != 0.0f) g = std::fma(rate.weight_decay, t.w[i], g);
      float direction = g;
      if (kind != StepKind::kPlain) {
        const float kept = rate.momentum * t.v[i];
        t.v[i] = kept + g;
        direction = kind == StepKind::kNesterov ? std::fma(rate.momentum, t.v[i], g) : t.v[i];
      }
      z = std::fma(-rate.learning_rate, direction, t.w[i]);
    }
    t.w[i] = soft_by_definition(z, threshold);
  }
}

constexpr float kLambda[] = {0.7f, 0.2f};

/// A list in a room, and beside it what it must hold.
class InputList {
 public:
  InputList(const Room& room, std::vector<HostTensor> host, StepKind kind,
            std::vector<StepRate> rates)
      : want(std::move(host)), kind_(kind), rates_(std::move(rates)), backend_(room.make()) {
    std::vector<ProxTensor> list;
    for (const HostTensor& t : want) {
      w_.emplace_back(*backend_, std::span<const float>(t.w));
      g_.emplace_back(*backend_, std::span<const float>(t.g));
      v_.emplace_back(*backend_, std::span<const float>(t.v));
      list.push_back({w_.back().data(), gradient(list.size()), w_.back().size(), t.group,
                      v_.back().data(), t.rate});
    }
    plan_ = backend_->make_plan(list, 2, kind);
    backend_->set_lambda(*plan_, kLambda);
    backend_->set_rates(*plan_, rates_);
    backend_->set_stop(*plan_, {});
  }

  Backend& backend() { return *backend_; }
  ProxPlan& plan() { return *plan_; }
  Array<float>& gradients_of(std::size_t t) { return g_[t]; }

  void set_gradients() {
    std::vector<const float*> pointers;
    for (std::size_t t = 0; t < want.size(); ++t) pointers.push_back(gradient(t));
    backend_->set_gradients(*plan_, pointers);
  }
  void set_rates(std::vector<StepRate> rates) {
    rates_ = std::move(rates);
    backend_->set_rates(*plan_, rates_);
  }

  /// In the room and by definition; both hold the same afterwards.
  void step() {
    backend_->prox_step(*plan_);
    for (HostTensor& t : want) {
      const float lambda = t.group < 0 ? 0.0f : kLambda[t.group];
      step_by_definition(t, kind_, rates_[static_cast<std::size_t>(t.rate)], lambda);
    }
    ASSERT_NO_FATAL_FAILURE(expect_wanted());
  }

  void expect_wanted() {
    const StepStatus& status = backend_->read_status(*plan_);
    std::vector<std::uint64_t> nnz(2, 0);
    std::uint64_t nonfinite = 0;
    for (std::size_t t = 0; t < want.size(); ++t) {
      const std::vector<float> w = w_[t].to_host();
      const std::vector<float> v = v_[t].to_host();
      for (std::size_t i = 0; i < w.size(); ++i) {
        ASSERT_EQ(bits_of(w[i]), bits_of(want[t].w[i])) << "w of tensor " << t << " at " << i;
        ASSERT_EQ(bits_of(v[i]), bits_of(want[t].v[i])) << "v of tensor " << t << " at " << i;
        if (want[t].group >= 0 && w[i] != 0.0f) ++nnz[static_cast<std::size_t>(want[t].group)];
        if (!std::isfinite(w[i])) ++nonfinite;
      }
    }
    EXPECT_EQ(status.nnz, nnz);
    EXPECT_EQ(status.nonfinite, nonfinite);
  }

  std::vector<HostTensor> want;

 private:
  const float* gradient(std::size_t t) { return want[t].has_gradient ? g_[t].data() : nullptr; }

  StepKind kind_;
  std::vector<StepRate> rates_;
  std::unique_ptr<Backend> backend_;
  std::vector<Array<float>> w_, g_, v_;
  std::unique_ptr<ProxPlan> plan_;
};

constexpr StepKind kKinds[] = {StepKind::kPlain, StepKind::kMomentum, StepKind::kNesterov,
                               StepKind::kThreshold};

/// Tensors of both groups and none, of three rates; zeros of both signs in each.
std::vector<HostTensor> input_tensors(Random& random) {
  std::vector<HostTensor> tensors;
  std::int32_t at = 0;
  for (const std::size_t n : {1UL, 1500UL, 37UL, 20011UL, 4096UL, 5UL, 700UL}) {
    HostTensor t{random.vector(n, -1.0f, 1.0f), random.vector(n, -1.0f, 1.0f),
                 random.vector(n, -1.0f, 1.0f), at % 3 - 1, at % 4 % 3};
    for (std::size_t i = 0; i < n; i += 3) t.w[i] = i % 2 == 0 ? 0.0f : -0.0f;
    tensors.push_back(std::move(t));
    ++at;
  }
  return tensors;
}
const std::vector<StepRate> kInputRates = {
    {0.1f, 0.9f, 0.0f}, {0.5f, 0.35f, 0.01f}, {0.0f, 0.0f, 0.3f}};

std::string refusal_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const InternalError& error) {
    return error.what();
  }
  return "no error";
}

class ProxInputs : public ::testing::TestWithParam<Room> {};

TEST_P(ProxInputs, EachTensorIsSteppedWithItsOwnRate) {
  for (const StepKind kind : kKinds) {
    Random random(101);
    SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
    InputList list(GetParam(), input_tensors(random), kind, kInputRates);
    ASSERT_NO_FATAL_FAILURE(list.step());
    ASSERT_NO_FATAL_FAILURE(list.step());
    list.set_rates({{0.3f, 0.0f, 0.2f}, {0.02f, 0.99f, 0.0f}, {0.7f, 0.5f, 1e-5f}});
    ASSERT_NO_FATAL_FAILURE(list.step());
    EXPECT_EQ(list.backend().read_status(list.plan()).steps, 3);
  }
}

TEST_P(ProxInputs, MoreRatesThanALaunchCarries) {
  Random random(102);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  std::vector<HostTensor> tensors;
  std::vector<StepRate> rates;
  for (std::int32_t i = 0; i < 300; ++i) {
    tensors.push_back({random.vector(3, -1.0f, 1.0f), random.vector(3, -1.0f, 1.0f),
                       std::vector<float>(3, 0.0f), i % 2, i});
    rates.push_back({random.uniform(0.0f, 1.0f), 0.0f, random.uniform(0.0f, 0.1f)});
  }
  InputList list(GetParam(), tensors, StepKind::kPlain, rates);
  ASSERT_NO_FATAL_FAILURE(list.step());
}

TEST_P(ProxInputs, ATensorWithoutAGradientIsCountedAndNotTouched) {
  for (const StepKind kind : kKinds) {
    Random random(103);
    SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
    std::vector<HostTensor> tensors = input_tensors(random);
    for (const std::size_t t : {1UL, 3UL, 5UL}) tensors[t].has_gradient = false;
    InputList list(GetParam(), tensors, kind, kInputRates);
    ASSERT_NO_FATAL_FAILURE(list.step());
    list.want[0].has_gradient = false;
    list.want[3].has_gradient = true;
    list.set_gradients();
    ASSERT_NO_FATAL_FAILURE(list.step());
    for (HostTensor& t : list.want) t.has_gradient = false;
    list.set_gradients();
    ASSERT_NO_FATAL_FAILURE(list.step());
    EXPECT_EQ(list.backend().read_status(list.plan()).steps, 3);
  }
}

TEST_P(ProxInputs, AValueThatIsLostShowsWithoutAGradientToo) {
  Random random(104);
  std::vector<HostTensor> tensors = input_tensors(random);
  tensors[0].has_gradient = false;  // of no group
  tensors[3].has_gradient = false;
  tensors[0].w[0] = -std::numeric_limits<float>::infinity();
  tensors[3].w[20010] = kNan;
  InputList list(GetParam(), tensors, StepKind::kPlain, kInputRates);
  list.backend().prox_step(list.plan());
  EXPECT_EQ(list.backend().read_status(list.plan()).nonfinite, 2U);
  EXPECT_TRUE(list.backend().read_status(list.plan()).stopped);
}

TEST_P(ProxInputs, GradientsMayLieElsewhereAtEachStep) {
  Random random(105);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  std::vector<HostTensor> tensors;
  for (std::int32_t i = 0; i < 1000; ++i) {  // more than a launch carries
    const auto n = static_cast<std::size_t>(random.integer(0, 9));
    tensors.push_back({random.vector(n, -1.0f, 1.0f), random.vector(n, -1.0f, 1.0f),
                       std::vector<float>(n, 0.0f), i % 3 - 1});
  }
  InputList list(GetParam(), tensors, StepKind::kMomentum, {{0.1f, 0.5f}});
  ASSERT_NO_FATAL_FAILURE(list.step());
  for (std::size_t t = 0; t < tensors.size(); t += 7) {
    list.want[t].g = random.vector(list.want[t].w.size(), -1.0f, 1.0f);
    list.gradients_of(t) = Array<float>(list.backend(), std::span<const float>(list.want[t].g));
  }
  list.set_gradients();
  ASSERT_NO_FATAL_FAILURE(list.step());
}

TEST_P(ProxInputs, GradientsThatCannotBeAreRefusedAndTheOldOnesStay) {
  Random random(106);
  InputList list(GetParam(), input_tensors(random), StepKind::kPlain, kInputRates);
  std::vector<const float*> pointers;
  for (std::size_t t = 0; t < list.want.size(); ++t) {
    pointers.push_back(list.gradients_of(t).data());
  }
  const auto refused = [&](const std::vector<const float*>& gradients) {
    return refusal_of([&] { list.backend().set_gradients(list.plan(), gradients); });
  };
  EXPECT_THAT(refused({pointers.begin(), pointers.end() - 1}),
              AllOf(HasSubstr("set_gradients"), HasSubstr("one a tensor"), HasSubstr("(got 6)")));
  auto bad = pointers;
  bad[4] = reinterpret_cast<const float*>(reinterpret_cast<const char*>(pointers[4]) + 1);
  EXPECT_THAT(refused(bad), AllOf(HasSubstr("tensor 4"), HasSubstr("multiple of 4 bytes")));
  ASSERT_NO_FATAL_FAILURE(list.step());
}

TEST_P(ProxInputs, WhatReadsGradientsNamesTheTensorWithoutOne) {
  Random random(107);
  std::vector<HostTensor> tensors = input_tensors(random);
  tensors[0].has_gradient = false;  // of no group: not read
  InputList list(GetParam(), tensors, StepKind::kPlain, kInputRates);
  const std::vector<std::pair<float, float>> brackets(2, {0.0f, 1.0f});
  const std::vector<std::function<void()>> calls = {
      [&] { list.backend().read_kkt(list.plan()); },
      [&] { list.backend().read_kth_gradient(list.plan(), 1); },
      [&] { list.backend().read_bracket_medians(list.plan(), brackets); }};
  for (const auto& call : calls) EXPECT_EQ(refusal_of(call), "no error");
  list.want[4].has_gradient = false;
  list.set_gradients();
  for (const auto& call : calls) {
    EXPECT_THAT(refusal_of(call),
                AllOf(HasSubstr("read_"), HasSubstr("tensor 4"), HasSubstr("no gradient")));
  }
  list.backend().read_nonzeros(list.plan());
}

TEST_P(ProxInputs, NothingHappensWhileTheFlagIsSet) {
  for (const StepKind kind : kKinds) {
    Random random(108);
    SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
    InputList list(GetParam(), input_tensors(random), kind, kInputRates);
    Backend& backend = list.backend();
    Array<float> flag(backend, std::span<const float>(std::vector<float>{0.0f}));
    const auto set_flag = [&](float value) { backend.upload(flag.data(), &value, sizeof value); };
    backend.set_skip(list.plan(), flag.data());
    ASSERT_NO_FATAL_FAILURE(list.step());
    for (const float on : {1.0f, -1.0f, kNan}) {
      set_flag(on);
      backend.prox_step(list.plan());
      ASSERT_NO_FATAL_FAILURE(list.expect_wanted()) << on;
      EXPECT_EQ(backend.read_status(list.plan()).steps, 1);
    }
    set_flag(-0.0f);
    ASSERT_NO_FATAL_FAILURE(list.step());
    set_flag(1.0f);
    backend.set_skip(list.plan(), nullptr);
    ASSERT_NO_FATAL_FAILURE(list.step());
    EXPECT_EQ(backend.read_status(list.plan()).steps, 3);
  }
}

TEST_P(ProxInputs, AControlledRunStandsStillWhileTheFlagIsSet) {
  Random random(109);
  InputList list(GetParam(), input_tensors(random), StepKind::kPlain, kInputRates);
  Backend& backend = list.backend();
  const std::vector<ControlTarget> targets = {{{0, 1}, 50, 0.1f}};
  backend.set_control(list.plan(), {0, 2, 0.5f, 1.0f, 5.0f}, targets);
  ASSERT_NO_FATAL_FAILURE([&] { backend.prox_step(list.plan()); }());
  backend.control(list.plan());
  const std::vector<float> lambda = backend.read_lambda(list.plan());
  EXPECT_GT(lambda[0], 0.0f);
  const std::vector<std::uint64_t> before = backend.read_nonzeros(list.plan());

  Array<float> flag(backend, std::span<const float>(std::vector<float>{1.0f}));
  backend.set_skip(list.plan(), flag.data());
  backend.prox_step(list.plan());
  backend.control(list.plan());
  backend.control(list.plan());
  backend.keep_targets(list.plan());
  EXPECT_EQ(backend.read_lambda(list.plan()), lambda);
  EXPECT_EQ(backend.read_nonzeros(list.plan()), before);
  EXPECT_EQ(backend.read_status(list.plan()).nnz, before);
  EXPECT_EQ(backend.read_status(list.plan()).steps, 1);

  flag.zero();
  backend.keep_targets(list.plan());
  EXPECT_EQ(backend.read_status(list.plan()).total, 50U);
  EXPECT_EQ(backend.read_status(list.plan()).steps, 2);
}

TEST_P(ProxInputs, AnExactFinishCutsTensorsWithoutAGradientToo) {
  Random random(110);
  std::vector<HostTensor> tensors = input_tensors(random);
  for (const std::size_t t : {3UL, 4UL}) tensors[t].has_gradient = false;
  InputList list(GetParam(), tensors, StepKind::kMomentum, kInputRates);
  const std::vector<ControlTarget> targets = {{{0, 1}, 777, 0.1f}};
  list.backend().set_control(list.plan(), {0, 2, 0.5f, 1.0f, 5.0f}, targets);
  list.backend().keep_targets(list.plan());
  EXPECT_EQ(list.backend().read_status(list.plan()).total, 777U);
  const std::vector<std::uint64_t> kept = list.backend().read_nonzeros(list.plan());
  EXPECT_EQ(kept[0] + kept[1], 777U);
}

INSTANTIATE_TEST_SUITE_P(Rooms, ProxInputs, ::testing::ValuesIn(all_rooms()),
                         [](const auto& test) { return test.param.name(); });

}  // namespace
}  // namespace cuthresh::testing
