// Targets with bounds, targets that other devices hold a part of, control from counts that are
// given, and runs that go on where they were: in every room, against definitions written out.

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "control_list.hpp"
#include "core/array.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::testing {
namespace {

constexpr ControlRule kBoundsRule = {1, 5, 0.5f, 1.25f, 3.0f};

class ControlBounds : public ::testing::TestWithParam<Room> {};

std::vector<float> stepped(const HostTensor& tensor) {
  std::vector<float> z;
  for (std::size_t i = 0; i < tensor.w.size(); ++i) {
    const float step = std::fma(-kAlpha, tensor.g[i], tensor.w[i]);
    z.push_back(step == 0.0f ? 0.0f : step);
  }
  return z;
}

std::uint32_t key_of(float x) {
  return std::bit_cast<std::uint32_t>(std::fabs(x));
}

/// n_l for every group of the target: for every magnitude that occurs, from the largest down, what
/// the groups would keep, until they keep the target.
std::vector<std::uint64_t> shares_by_definition(const std::vector<std::vector<float>>& of_group,
                                                const ControlTarget& target) {
  const std::size_t groups = of_group.size();
  std::vector<std::uint32_t> keys = {0x80000000U, 0U};
  for (const std::vector<float>& z : of_group) {
    for (const float x : z) keys.push_back(key_of(x));
  }
  std::sort(keys.begin(), keys.end(), std::greater<>());
  const auto kept = [&](std::size_t l, std::uint32_t key) {
    std::uint64_t nonzero = 0;
    std::uint64_t count = 0;
    for (const float x : of_group[l]) {
      nonzero += x != 0.0f ? 1U : 0U;
      count += key_of(x) >= key ? 1U : 0U;
    }
    const std::uint64_t least = target.least.empty() ? 0 : target.least[l];
    const std::uint64_t most = target.most.empty() ? of_group[l].size() : target.most[l];
    return std::min(std::max(count, std::min(least, nonzero)), most);
  };
  for (const std::uint32_t key : keys) {
    std::vector<std::uint64_t> shares;
    for (std::size_t l = 0; l < groups; ++l) shares.push_back(kept(l, key));
    std::uint64_t over = std::accumulate(shares.begin(), shares.end(), std::uint64_t{0});
    if (over < target.target) continue;
    over -= target.target;
    for (std::size_t l = groups; l-- > 0;) {
      const std::uint64_t back = std::min(over, shares[l] - kept(l, key + 1));
      shares[l] -= back;
      over -= back;
    }
    return shares;
  }
  return {};
}

/// The `share` largest of the group's entries stay, shrunk by the threshold but never to zero; of
/// equal ones the first.
void keep_by_definition(std::vector<std::vector<float>>& z, const std::vector<HostTensor>& tensors,
                        std::int32_t group, std::uint64_t share, float threshold) {
  std::vector<float*> entries;
  for (std::size_t t = 0; t < z.size(); ++t) {
    if (tensors[t].group != group) continue;
    for (float& x : z[t]) entries.push_back(&x);
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const float* a, const float* b) { return std::fabs(*a) > std::fabs(*b); });
  const float least = share > 0 ? std::fabs(*entries[share - 1]) : 0.0f;
  const float shrinkage = least > 0.0f ? std::min(threshold, std::nextafter(least, 0.0f)) : 0.0f;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    float& x = *entries[i];
    x = i < share && x != 0.0f ? std::copysign(std::fabs(x) - shrinkage, x) : 0.0f;
  }
}

struct BoundedCase {
  std::vector<HostTensor> tensors;
  ControlTarget target;
};

/// Three groups in five tensors, a fourth group and a bias without a target.
BoundedCase draw_bounded(Random& random) {
  BoundedCase drawn;
  std::vector<std::uint64_t> sizes(3, 0);
  for (const std::int32_t group : {0, -1, 1, 2, 3, 0}) {
    const auto n = static_cast<std::size_t>(random.integer(1, 400));
    const bool ties = random.integer(0, 2) > 0;
    // Some groups are larger in magnitude than others, and some are all zero.
    const float scale = random.integer(0, 4) == 0 ? 0.0f : std::exp2f(float(random.integer(-3, 3)));
    HostTensor tensor{ties ? coarse(random, n) : random.vector(n, -1.0f, 1.0f),
                      ties ? coarse(random, n) : random.vector(n, -1.0f, 1.0f), group};
    for (float& x : tensor.w) x *= scale;
    for (float& x : tensor.g) x *= scale;
    drawn.tensors.push_back(std::move(tensor));
    if (group >= 0 && group < 3) sizes[static_cast<std::size_t>(group)] += n;
  }
  std::uint64_t least = 0;
  std::uint64_t most = 0;
  for (std::size_t g = 0; g < 3; ++g) {
    const auto size = static_cast<std::int64_t>(sizes[g]);
    const std::int64_t a = random.integer(0, 3) == 0 ? 0 : random.integer(0, size);
    const std::int64_t b = random.integer(0, 3) == 0 ? size : random.integer(a, size);
    drawn.target.groups.push_back(static_cast<std::int32_t>(g));
    drawn.target.least.push_back(static_cast<std::uint64_t>(a));
    drawn.target.most.push_back(static_cast<std::uint64_t>(b));
    least += static_cast<std::uint64_t>(a);
    most += static_cast<std::uint64_t>(b);
  }
  if (most == 0) drawn.target.most[0] = most = sizes[0];
  // At the edges as well as between them.
  const std::int64_t edge = random.integer(0, 3);
  const auto between = static_cast<std::uint64_t>(
      random.integer(static_cast<std::int64_t>(least), static_cast<std::int64_t>(most)));
  drawn.target.target =
      std::max<std::uint64_t>(1, edge == 0 ? least : (edge == 1 ? most : between));
  drawn.target.lambda = 0.5f;
  return drawn;
}

TEST_P(ControlBounds, KeepsTheTargetAndEachGroupWithinItsBounds) {
  for (std::uint32_t seed = 100; seed < 125; ++seed) {
    Random random(seed);
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    const BoundedCase drawn = draw_bounded(random);
    const std::vector<float> lambda = {0.25f, 4.0f, 100.0f, 0.5f};
    ControlList list(GetParam(), drawn.tensors, 4);
    list.backend().set_control(list.plan(), kBoundsRule, {&drawn.target, 1});
    list.backend().set_lambda(list.plan(), lambda);
    list.backend().keep_targets(list.plan());

    std::vector<std::vector<float>> want;
    std::vector<std::vector<float>> of_group(3);
    for (const HostTensor& tensor : drawn.tensors) {
      want.push_back(stepped(tensor));
      if (tensor.group < 0 || tensor.group > 2) continue;
      std::vector<float>& all = of_group[static_cast<std::size_t>(tensor.group)];
      all.insert(all.end(), want.back().begin(), want.back().end());
    }
    const std::vector<std::uint64_t> shares = shares_by_definition(of_group, drawn.target);
    ASSERT_EQ(shares.size(), 3U);
    for (std::int32_t g = 0; g < 3; ++g) {
      keep_by_definition(want, drawn.tensors, g, shares[static_cast<std::size_t>(g)],
                         kAlpha * lambda[static_cast<std::size_t>(g)]);
    }
    const StepStatus status = list.backend().read_status(list.plan());
    std::uint64_t in_all = 0;
    std::uint64_t nonzero_before = 0;
    for (std::size_t t = 0; t < want.size(); ++t) {
      if (drawn.tensors[t].group == 3) {  // a plain step
        for (float& x : want[t]) {
          const float m = std::max(std::fabs(x) - kAlpha * lambda[3], 0.0f);
          x = m > 0.0f ? std::copysign(m, x) : 0.0f;
        }
      }
      expect_bits(list.weights(t), want[t], t);
    }
    for (std::size_t g = 0; g < 3; ++g) {
      const auto before = static_cast<std::uint64_t>(
          std::count_if(of_group[g].begin(), of_group[g].end(), [](float x) { return x != 0.0f; }));
      EXPECT_EQ(status.nnz[g], std::min(shares[g], before));
      EXPECT_GE(status.nnz[g], std::min(before, drawn.target.least[g]));
      EXPECT_LE(status.nnz[g], drawn.target.most[g]);
      in_all += status.nnz[g];
      nonzero_before += std::min(before, drawn.target.most[g]);
    }
    EXPECT_EQ(in_all, std::min(drawn.target.target, nonzero_before));
  }
}

TEST_P(ControlBounds, ThatDoNotBindChangeNothing) {
  for (const bool ties : {false, true}) {
    Random random(ties ? 61 : 62);
    SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
    std::vector<HostTensor> tensors;
    for (const std::int32_t group : {0, 0, 1, 2}) {
      tensors.push_back({ties ? coarse(random, 500) : random.vector(500, -1.0f, 1.0f),
                         random.vector(500, -0.5f, 0.5f), group});
    }
    ControlTarget target{{0, 1, 2}, 321, 0.5f};
    ControlList plain(GetParam(), tensors, 3);
    plain.backend().set_control(plain.plan(), kBoundsRule, {&target, 1});
    plain.backend().keep_targets(plain.plan());
    target.least = {1, 1, 1};
    ControlList bounded(GetParam(), tensors, 3);
    bounded.backend().set_control(bounded.plan(), kBoundsRule, {&target, 1});
    bounded.backend().keep_targets(bounded.plan());
    for (std::size_t t = 0; t < tensors.size(); ++t)
      expect_bits(bounded.weights(t), plain.weights(t), t);
  }
}

TEST_P(ControlBounds, LambdaOfAGroupAtItsLeastIsZeroUntilItHasMore) {
  // Entries alternate between two magnitudes: a step with λ takes the smaller ones.
  std::vector<float> w(100, 1.0f);
  for (std::size_t i = 0; i < 50; ++i) w[i] = 0.01f;
  const std::vector<float> zero(100, 0.0f);
  ControlList list(GetParam(), {{w, zero, 0}, {w, zero, 1}}, 2);
  const ControlTarget target{{0, 1}, 100, 1.0f, {50, 0}, {100, 100}};
  list.backend().set_control(list.plan(), {0, 1, 0.0f, 0.0f, 1.0f}, {&target, 1});
  list.backend().prox_step(list.plan());
  list.backend().control(list.plan());
  EXPECT_EQ(list.backend().read_lambda(list.plan()), std::vector<float>(2, 1.0f));
  list.backend().prox_step(list.plan());  // 50 of each are left
  list.backend().control(list.plan());
  EXPECT_EQ(list.backend().read_status(list.plan()).nnz[0], 50U);
  EXPECT_EQ(list.backend().read_lambda(list.plan())[0], 0.0f);
  EXPECT_EQ(list.backend().read_lambda(list.plan())[1], 1.0f);
  list.set_gradient(0, std::vector<float>(100, -1.0f));
  list.backend().prox_step(list.plan());  // the gradient brings them back
  list.backend().control(list.plan());
  EXPECT_EQ(list.backend().read_status(list.plan()).nnz[0], 100U);
  EXPECT_EQ(list.backend().read_lambda(list.plan())[0], 1.0f);
}

TEST_P(ControlBounds, ATargetThatOthersHoldAPartOfIsLeftAlone) {
  Random random(63);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  std::vector<HostTensor> tensors;
  for (const std::int32_t group : {0, 1, -1}) {
    tensors.push_back({random.vector(700, -1.0f, 1.0f), random.vector(700, -1.0f, 1.0f), group});
  }
  ControlTarget divided{{0}, 2000, 0.5f};
  divided.size = 5000;
  const std::vector<ControlTarget> targets = {divided, {{1}, 100, 0.25f}};
  const std::vector<float> lambda = {0.5f, 0.25f};
  ControlList list(GetParam(), tensors, 2);
  list.backend().set_control(list.plan(), kBoundsRule, targets);
  list.backend().set_lambda(list.plan(), lambda);
  list.backend().keep_targets(list.plan());
  ControlList plain(GetParam(), tensors, 2);
  plain.backend().set_lambda(plain.plan(), lambda);
  plain.backend().prox_step(plain.plan());
  expect_bits(list.weights(0), plain.weights(0), 0);
  expect_bits(list.weights(2), plain.weights(2), 2);
  EXPECT_EQ(list.backend().read_status(list.plan()).nnz[0],
            plain.backend().read_status(plain.plan()).nnz[0]);
  EXPECT_EQ(list.backend().read_status(list.plan()).nnz[1], 100U);
}

TEST_P(ControlBounds, ControlFromGivenCountsIsThatOfOneListOfAll) {
  // Two devices hold half of the weights each; a third one holds them all.
  Random random(64);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  std::vector<HostTensor> all;
  for (const std::int32_t group : {0, 1, 0, 1}) {
    all.push_back({random.vector(300, -1.0f, 1.0f), random.vector(300, -1.0f, 1.0f), group});
  }
  std::vector<ControlTarget> targets = {{{0}, 60, 0.5f}, {{1}, 200, 0.25f}};
  ControlList whole(GetParam(), all, 2);
  whole.backend().set_control(whole.plan(), kBoundsRule, targets);
  for (ControlTarget& target : targets) target.size = 600;
  ControlList first(GetParam(), {all[0], all[1]}, 2);
  ControlList second(GetParam(), {all[2], all[3]}, 2);
  for (ControlList* part : {&first, &second})
    part->backend().set_control(part->plan(), kBoundsRule, targets);
  for (int step = 0; step < 7; ++step) {
    whole.backend().prox_step(whole.plan());
    whole.backend().control(whole.plan());
    std::vector<std::int64_t> sum(2, 0);
    for (ControlList* part : {&first, &second}) {
      part->backend().prox_step(part->plan());
      Array<std::int64_t> counts(part->backend(), 2);
      part->backend().copy_counts(part->plan(), counts.data());
      const std::vector<std::int64_t> own = counts.to_host();
      for (std::size_t t = 0; t < 2; ++t) sum[t] += own[t];
    }
    for (ControlList* part : {&first, &second}) {
      const Array<std::int64_t> counts(part->backend(), std::span<const std::int64_t>(sum));
      part->backend().control(part->plan(), counts.data());
      EXPECT_EQ(part->backend().read_lambda(part->plan()),
                whole.backend().read_lambda(whole.plan()))
          << "step " << step;
    }
  }
  for (std::size_t t = 0; t < 2; ++t) {
    expect_bits(first.weights(t), whole.weights(t), t);
    expect_bits(second.weights(t), whole.weights(t + 2), t + 2);
  }
}

TEST_P(ControlBounds, ARestoredRunGoesOnAsIfNothingHadHappened) {
  Random random(65);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  std::vector<HostTensor> tensors;
  for (const std::int32_t group : {0, 1, -1}) {
    tensors.push_back({random.vector(400, -1.0f, 1.0f), random.vector(400, -1.0f, 1.0f), group});
  }
  const std::vector<ControlTarget> targets = {{{0}, 60, 0.5f}, {{1}, 200, 0.25f}};
  const auto steps = [&](ControlList& list, int count) {
    for (int i = 0; i < count; ++i) {
      list.backend().prox_step(list.plan());
      list.backend().control(list.plan());
    }
  };
  ControlList whole(GetParam(), tensors, 2);
  whole.backend().set_control(whole.plan(), kBoundsRule, targets);
  steps(whole, 4);
  const ControlState state = whole.backend().read_control(whole.plan());
  EXPECT_EQ(state.steps, 4);
  EXPECT_EQ(state.lambda, whole.backend().read_lambda(whole.plan()));
  ASSERT_EQ(state.log_integral.size(), 2U);
  EXPECT_NE(state.log_integral[0], log_float(0.5f)) << "the integral part must have moved";

  std::vector<HostTensor> later = tensors;
  for (std::size_t t = 0; t < later.size(); ++t) later[t].w = whole.weights(t);
  ControlList other(GetParam(), later, 2);
  other.backend().set_control(other.plan(), kBoundsRule, targets);
  other.backend().restore_control(other.plan(), state);
  for (ControlList* list : {&whole, &other}) {
    steps(*list, 3);
    list->backend().keep_targets(list->plan());
  }
  EXPECT_EQ(other.backend().read_lambda(other.plan()), whole.backend().read_lambda(whole.plan()));
  EXPECT_EQ(other.backend().read_control(other.plan()).log_integral,
            whole.backend().read_control(whole.plan()).log_integral);
  EXPECT_EQ(other.backend().read_status(other.plan()).steps, 8);
  for (std::size_t t = 0; t < tensors.size(); ++t)
    expect_bits(other.weights(t), whole.weights(t), t);
}

TEST_P(ControlBounds, SkippedStepsChangeNeitherLambdaNorIntegral) {
  Random random(66);
  const std::vector<HostTensor> tensors = {
      {random.vector(400, -1.0f, 1.0f), random.vector(400, -1.0f, 1.0f), 0}};
  ControlList list(GetParam(), tensors, 1);
  const ControlTarget target{{0}, 60, 0.5f, {10}, {70}};
  list.backend().set_control(list.plan(), {0, 5, 0.5f, 1.0f, 3.0f}, {&target, 1});
  list.backend().prox_step(list.plan());
  list.backend().control(list.plan());
  const ControlState before = list.backend().read_control(list.plan());
  const std::vector<float> w = list.weights(0);
  const std::vector<float> on(1, 1.0f);
  const Array<float> flag(list.backend(), std::span<const float>(on));
  list.backend().set_skip(list.plan(), flag.data());
  list.backend().prox_step(list.plan());
  list.backend().control(list.plan());
  list.backend().keep_targets(list.plan());
  const ControlState after = list.backend().read_control(list.plan());
  EXPECT_EQ(after.steps, before.steps);
  EXPECT_EQ(after.lambda, before.lambda);
  EXPECT_EQ(after.log_integral, before.log_integral);
  expect_bits(list.weights(0), w, 0);
  list.backend().set_skip(list.plan(), nullptr);
  list.backend().keep_targets(list.plan());
  EXPECT_EQ(list.backend().read_status(list.plan()).nnz[0], 60U);
}

template <class F>
void refuses_with(F call, const std::string& says) {
  try {
    call();
    FAIL() << "accepted; expected: " << says;
  } catch (const InternalError& error) {
    EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
  }
}

TEST_P(ControlBounds, RefusesWhatCannotBe) {
  const std::vector<float> zeros(10, 0.0f);
  ControlList list(GetParam(), {{zeros, zeros, 0}, {zeros, zeros, 1}}, 2);
  const auto refuses = [&](const ControlTarget& target, const std::string& says) {
    refuses_with([&] { list.backend().set_control(list.plan(), kBoundsRule, {&target, 1}); }, says);
  };
  refuses({{}, 1, 1.0f, {}, {}}, "names no group");
  refuses({{0, 1}, 5, 1.0f, {1}, {}}, "must be one a group, 2, or none");
  refuses({{0, 1}, 5, 1.0f, {}, {1, 2, 3}}, "must be one a group, 2, or none");
  refuses({{0, 1}, 5, 1.0f, {0, 4}, {10, 3}}, "group 1");
  refuses({{0, 1}, 5, 1.0f, {}, {11, 3}}, "from 0 to its 10 weights");
  refuses({{0, 1}, 5, 1.0f, {3, 3}, {}}, "from 6 to 20 nonzeros");
  refuses({{0, 1}, 5, 1.0f, {}, {2, 2}}, "from 0 to 4 nonzeros");
  refuses({{0, 1}, 5, 1.0f, {}, {}, 19}, "fewer weights than its groups hold here, 20");
  refuses({{0, 1}, 31, 1.0f, {}, {}, 30}, "number of its weights, 30");

  const ControlTarget good{{0, 1}, 5, 1.0f};
  list.backend().set_control(list.plan(), kBoundsRule, {&good, 1});
  const auto refuses_state = [&](const ControlState& state, const std::string& says) {
    refuses_with([&] { list.backend().restore_control(list.plan(), state); }, says);
  };
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> one(1, 1.0f);
  const std::vector<float> two(2, 1.0f);
  refuses_state({1, one, one}, "number of λ must be 2");
  refuses_state({1, two, two}, "integral parts must be 1");
  refuses_state({-1, two, one}, "number of steps");
  refuses_state({1, std::vector<float>(2, -1.0f), one}, "λ must be finite and at least 0");
  refuses_state({1, two, std::vector<float>(1, kInfinity)}, "integral parts must be finite");
  refuses_with([&] { list.backend().control(list.plan(), nullptr); }, "counts");
  refuses_with([&] { list.backend().copy_counts(list.plan(), nullptr); }, "counts");
}

INSTANTIATE_TEST_SUITE_P(Rooms, ControlBounds, ::testing::ValuesIn(all_rooms()),
                         [](const auto& test) { return test.param.name(); });

}  // namespace
}  // namespace cuthresh::testing
