// Steps that may leave out what is zero, in every room: what they leave has the bits of a twin that
// leaves out nothing, in a plain run, a controlled one and its finish, and after whatever else
// writes the weights.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <vector>

#include "control_list.hpp"

namespace cuthresh::testing {
namespace {

/// Of two groups and none, mostly zeros; round a word of 128 entries and a tile of 1024.
std::vector<HostTensor> sparse_tensors(Random& random) {
  std::vector<HostTensor> tensors;
  std::int32_t at = 0;
  for (const std::size_t n : {3000UL, 127UL, 640UL, 1100UL, 5UL}) {
    HostTensor t{random.vector(n, -1.0f, 1.0f), random.vector(n, -1.0f, 1.0f), at % 3 - 1};
    for (float& w : t.w) {
      if (random.integer(0, 9) != 0) w = random.integer(0, 9) == 0 ? -0.0f : 0.0f;
    }
    tensors.push_back(std::move(t));
    ++at;
  }
  return tensors;
}

/// A list that skips zeros and its twin that does not, under the same calls.
class Twins {
 public:
  Twins(const Room& room, Random& random, StepKind kind, ZeroSkipping how) : random_(random) {
    const std::vector<HostTensor> tensors = sparse_tensors(random);
    for (std::size_t i = 0; i < 2; ++i) {
      lists_.push_back(std::make_unique<ControlList>(room, tensors, 2, kind));
    }
    skipping().backend().skip_zeros(skipping().plan(), how);
    both([](Backend& backend, ProxPlan& plan) {
      const float lambda[] = {0.5f, 1.0f};
      backend.set_lambda(plan, lambda);
    });
  }
  ControlList& skipping() { return *lists_[0]; }

  template <class F>
  void both(F f) {
    for (const auto& list : lists_) f(list->backend(), list->plan());
  }
  /// One call, after gradients of which few wake anything; the same afterwards.
  template <class F>
  void step(F f) {
    for (std::size_t t = 0; t < skipping().host().size(); ++t) {
      std::vector<float> g = random_.vector(skipping().host()[t].g.size(), -0.25f, 0.25f);
      for (float& x : g) x *= random_.integer(0, 99) == 0 ? 10.0f : 1.0f;
      for (const auto& list : lists_) list->set_gradient(t, g);
    }
    both(f);
    expect_same();
  }
  void step() {
    step([](Backend& backend, ProxPlan& plan) { backend.prox_step(plan); });
  }
  void steps(int count) {
    for (int i = 0; i < count && !::testing::Test::HasFatalFailure(); ++i) {
      SCOPED_TRACE(::testing::Message() << "step " << i);
      step();
    }
  }
  /// As a caller who has weights of its own, which are not zero.
  void write_weights() {
    for (std::size_t t = 0; t < skipping().host().size(); ++t) {
      const std::vector<float> w = random_.vector(skipping().host()[t].w.size(), -1.0f, 1.0f);
      for (const auto& list : lists_) list->set_weights(t, w);
    }
  }

 private:
  void expect_same() {
    for (std::size_t t = 0; t < skipping().host().size(); ++t) {
      ASSERT_NO_FATAL_FAILURE(expect_bits(lists_[0]->weights(t), lists_[1]->weights(t), t));
    }
    const StepStatus& got = skipping().backend().read_status(skipping().plan());
    const StepStatus& want = lists_[1]->backend().read_status(lists_[1]->plan());
    ASSERT_EQ(got.nnz, want.nnz);
    ASSERT_EQ(got.steps, want.steps);
    ASSERT_EQ(got.nonfinite, want.nonfinite);
  }

  Random& random_;
  std::vector<std::unique_ptr<ControlList>> lists_;
};

class ProxZeros : public ::testing::TestWithParam<Room> {};

TEST_P(ProxZeros, StepsOfEveryKindHaveTheSameBits) {
  Random random(91);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (const StepKind kind :
       {StepKind::kPlain, StepKind::kMomentum, StepKind::kNesterov, StepKind::kThreshold}) {
    for (const ZeroSkipping how : {ZeroSkipping::kOn, ZeroSkipping::kAuto}) {
      SCOPED_TRACE(::testing::Message() << "kind " << static_cast<int>(kind));
      Twins twins(GetParam(), random, kind, how);
      twins.steps(4);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(ProxZeros, AControlledRunItsFinishAndFrozenStepsToo) {
  Random random(92);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  Twins twins(GetParam(), random, StepKind::kPlain, ZeroSkipping::kOn);
  twins.both([](Backend& backend, ProxPlan& plan) {
    const ControlTarget target{{0, 1}, 50, 0.5f};
    backend.set_control(plan, {0, 8, 0.5f, 1.0f, 3.0f}, {&target, 1});
  });
  const auto controlled = [](Backend& backend, ProxPlan& plan) {
    backend.prox_step(plan);
    backend.control(plan);
  };
  for (int i = 0; i < 5; ++i) twins.step(controlled);
  for (int i = 0; i < 2; ++i) {
    twins.step([](Backend& backend, ProxPlan& plan) { backend.keep_targets(plan); });
  }
  twins.both([](Backend& backend, ProxPlan& plan) { backend.freeze(plan); });
  twins.steps(5);
  EXPECT_EQ(twins.skipping().backend().read_status(twins.skipping().plan()).total, 50U);
}

// Each of the calls that a caller may say it by.
TEST_P(ProxZeros, WeightsThatTheCallerWroteAreSeen) {
  Random random(93);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  Twins twins(GetParam(), random, StepKind::kMomentum, ZeroSkipping::kOn);
  const ControlTarget target{{0, 1}, 50, 0.5f};
  const auto set_control = [&](Backend& backend, ProxPlan& plan) {
    backend.set_control(plan, {0, 8, 0.5f, 1.0f, 3.0f}, {&target, 1});
  };
  const std::vector<std::function<void(Backend&, ProxPlan&)>> ways = {
      [](Backend& backend, ProxPlan& plan) { backend.set_stop(plan, {}); },
      [](Backend& backend, ProxPlan& plan) { backend.skip_zeros(plan, ZeroSkipping::kOn); },
      set_control,
      [](Backend& backend, ProxPlan& plan) {
        backend.restore_control(plan, backend.read_control(plan));
      }};
  for (std::size_t i = 0; i < ways.size(); ++i) {
    SCOPED_TRACE(::testing::Message() << "way " << i);
    twins.steps(3);
    twins.write_weights();
    // The twin is to skip nothing.
    if (i == 1) {
      ways[i](twins.skipping().backend(), twins.skipping().plan());
    } else {
      twins.both(ways[i]);
    }
    twins.steps(3);
    if (HasFatalFailure()) return;
  }
}

TEST_P(ProxZeros, SwitchedOffAndOnAgain) {
  Random random(94);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  Twins twins(GetParam(), random, StepKind::kPlain, ZeroSkipping::kOn);
  twins.steps(3);
  for (const ZeroSkipping how : {ZeroSkipping::kOff, ZeroSkipping::kOn}) {
    twins.skipping().backend().skip_zeros(twins.skipping().plan(), how);
    twins.write_weights();
    if (how == ZeroSkipping::kOn) {
      twins.skipping().backend().skip_zeros(twins.skipping().plan(), how);
    }
    twins.steps(3);
  }
}

INSTANTIATE_TEST_SUITE_P(Rooms, ProxZeros, ::testing::ValuesIn(all_rooms()),
                         [](const auto& room) { return room.param.name(); });

}  // namespace
}  // namespace cuthresh::testing
