// Controlled runs of every dtype in every room: the exact cut against a full sort, to the bit and
// to the weight as it is stored; frozen zeros; bounds.

#include <gtest/gtest.h>

#include <numeric>

#include "support/dtype_list.hpp"

namespace cuthresh::testing {
namespace {

class ControlDtype : public ::testing::TestWithParam<Room> {};

const ControlRule kRule = {0, 4, 30.0f, 1.0f, 10.0f};
constexpr StepRateOf<double> kRate = {0.125, 0.0, 0.0};

/// Magnitudes of few values, so that many are equal.
template <class Storage>
DtypeTensor<Storage> coarse_dtype_tensor(Random& random, std::size_t n, std::int32_t group,
                                         double unit) {
  using Compute = ComputeOf<Storage>;
  DtypeTensor<Storage> t;
  t.group = group;
  for (std::size_t i = 0; i < n; ++i) {
    const auto x = static_cast<Compute>(unit) * static_cast<Compute>(random.integer(-9, 9));
    t.master.push_back(x);
    t.w.push_back(stored<Storage>(x));
    t.g.push_back(
        stored<Storage>(static_cast<Compute>(unit) * static_cast<Compute>(random.integer(-8, 8))));
  }
  return t;
}

/// The largest x with fl(least − x) stored as other than zero, by bisection over all there are.
template <class Storage, class Compute = ComputeOf<Storage>>
Compute most_shrinkage(Compute least) {
  const auto is_lost = [&](Compute x) { return widen(stored<Storage>(least - x)) == Compute(0); };
  auto low = magnitude_key(Compute(0));
  auto high = magnitude_key(least);
  while (high - low > 1) {
    const auto middle = low + (high - low) / 2;
    (is_lost(magnitude_from_key(middle)) ? high : low) = middle;
  }
  return magnitude_from_key(low);
}

/// Leaves `wanted` of the tensors' entries, written out with a sort.
template <class Storage>
void keep_by_sort(std::vector<DtypeTensor<Storage>*> tensors, std::size_t wanted,
                  ComputeOf<Storage> threshold) {
  using Compute = ComputeOf<Storage>;
  struct Place {
    DtypeTensor<Storage>* tensor;
    std::size_t i;
  };
  std::vector<Place> places;
  std::size_t alive = 0;
  for (DtypeTensor<Storage>* t : tensors) {
    for (std::size_t i = 0; i < t->size(); ++i) places.push_back({t, i});
    alive += t->nonzeros();
  }
  if (alive < wanted) return;
  const auto size_of = [](const Place& p) { return std::fabs(p.tensor->master[p.i]); };
  std::stable_sort(places.begin(), places.end(),
                   [&](const Place& a, const Place& b) { return size_of(a) > size_of(b); });
  const Compute least = size_of(places[wanted - 1]);
  const Compute shrinkage = std::min(threshold, most_shrinkage<Storage>(least));
  for (std::size_t rank = 0; rank < places.size(); ++rank) {
    const Place& p = places[rank];
    p.tensor->store(
        p.i, rank < wanted ? soft_by_definition(p.tensor->master[p.i], shrinkage) : Compute(0));
  }
}

template <class Storage>
void cut_exactly(const Room& room, double unit, double lambda) {
  Random random(31);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed() << ", unit " << unit);
  for (const std::uint64_t wanted : {1U, 17U, 300U, 901U}) {
    std::vector<DtypeTensor<Storage>> tensors;
    const auto add = [&](std::size_t n, std::int32_t group) {
      tensors.push_back(coarse_dtype_tensor<Storage>(random, n, group, unit));
    };
    add(701, 0);
    add(1300, 1);
    add(64, -1);
    DtypeList<Storage> list(room, tensors, 2);
    list.backend().set_rates(list.plan(), {&kRate, 1});
    const ControlTarget target{{0, 1}, wanted, 1.0f};
    list.backend().set_control(list.plan(), kRule, {&target, 1});
    const std::vector<double> lambdas(2, lambda);
    list.backend().set_lambda(list.plan(), lambdas);
    list.backend().keep_targets(list.plan());
    std::vector<DtypeTensor<Storage>*> cut;
    for (DtypeTensor<Storage>& t : list.host()) {
      t.step(StepKind::kPlain, kRate, lambda, false);
      if (t.group >= 0) cut.push_back(&t);
    }
    using Compute = ComputeOf<Storage>;
    keep_by_sort<Storage>(cut, wanted,
                          static_cast<Compute>(kRate.learning_rate) * static_cast<Compute>(lambda));
    list.expect_same("cut");
    list.expect_status(2, "cut");
    EXPECT_EQ(list.backend().read_status(list.plan()).total, wanted);

    list.backend().freeze(list.plan());
    list.backend().prox_step(list.plan());
    for (DtypeTensor<Storage>& t : list.host()) {
      const std::vector<Storage> before = t.w;
      t.step(StepKind::kPlain, kRate, lambda, false);
      if (t.group < 0) continue;
      for (std::size_t i = 0; i < t.size(); ++i) {
        if (widen(before[i]) == Compute(0)) t.store(i, Compute(0));
      }
    }
    list.expect_same("frozen");
    list.expect_status(2, "frozen");
  }
}

TEST_P(ControlDtype, CutsToTheNumberOfWhatIsStored) {
  cut_exactly<double>(GetParam(), 0.25, 0.5);
  cut_exactly<Bf16>(GetParam(), 0.25, 0.5);
  cut_exactly<Fp16>(GetParam(), 0.25, 0.5);
}

TEST_P(ControlDtype, ShrinksNoSurvivorToWhatIsStoredAsZero) {
  // A threshold above every magnitude.
  cut_exactly<double>(GetParam(), 0x1p-1000, 1e6);
  cut_exactly<Bf16>(GetParam(), 0x1p-100, 1e6);
  cut_exactly<Fp16>(GetParam(), 0.25, 1e6);
  cut_exactly<Fp16>(GetParam(), 0x1p-24, 1e6);  // multiples of the smallest there is
}

TEST(SurvivorShrinkage, LeavesSomethingAndNoMoreThanALastPlaceTooMuch) {
  const auto check = [](auto storage, float least) {
    using Storage = decltype(storage);
    if (widen(stored<Storage>(least)) == 0.0f) return;
    const float shrinkage = survivor_shrinkage<Storage>(1e30f, least);
    EXPECT_NE(widen(stored<Storage>(least - shrinkage)), 0.0f) << least;
    EXPECT_LE(most_shrinkage<Storage>(least) - shrinkage, 0x1p-23f * least) << least;
    EXPECT_EQ(survivor_shrinkage<Storage>(0.25f * shrinkage, least), 0.25f * shrinkage) << least;
  };
  Random random(33);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (int i = 0; i < 20000; ++i) {
    const float x =
        std::ldexp(random.uniform(1.0f, 2.0f), static_cast<int>(random.integer(-149, 14)));
    check(Bf16{}, x);
    check(Fp16{}, x);
    check(float{}, x);
  }
}

template <class Storage>
void share_with_bounds(const Room& room) {
  Random random(32);
  std::vector<DtypeTensor<Storage>> tensors;
  for (std::int32_t group = 0; group < 3; ++group) {
    // One group far smaller than the others: without its bound nothing of it would stay.
    tensors.push_back(coarse_dtype_tensor<Storage>(random, 400, group, group == 1 ? 0x1p-8 : 0.25));
  }
  DtypeList<Storage> list(room, tensors, 3);
  list.backend().set_rates(list.plan(), {&kRate, 1});
  ControlTarget target{{0, 1, 2}, 300, 1.0f};
  target.least = {0, 40, 0};
  target.most = {120, 400, 400};
  list.backend().set_control(list.plan(), kRule, {&target, 1});
  list.backend().keep_targets(list.plan());
  const StepStatus& status = list.backend().read_status(list.plan());
  EXPECT_EQ(status.nnz, (std::vector<std::uint64_t>{120, 40, 140}));
  EXPECT_EQ(list.backend().read_nonzeros(list.plan()), status.nnz);
}

TEST_P(ControlDtype, BoundsHold) {
  share_with_bounds<double>(GetParam());
  share_with_bounds<Bf16>(GetParam());
  share_with_bounds<Fp16>(GetParam());
}

template <class Storage>
void follow_schedule(const Room& room) {
  Random random(34);
  DtypeList<Storage> list(room, {coarse_dtype_tensor<Storage>(random, 900, 0, 0.25)}, 1);
  DtypeTensor<Storage>& t = list.host()[0];
  list.backend().set_rates(list.plan(), {&kRate, 1});
  const ControlTarget target{{0}, 90, 0.5f};
  list.backend().set_control(list.plan(), kRule, {&target, 1});
  ControlGroup group{900, 90, log_float(0.5f), log_float(0.5f)};
  float lambda = 0.0f;
  for (std::int64_t step = 1; step <= 6; ++step) {
    list.backend().prox_step(list.plan());
    t.step(StepKind::kPlain, kRate, static_cast<double>(lambda));
    list.backend().control(list.plan());
    lambda = controlled_lambda(kRule, group, static_cast<std::int64_t>(t.nonzeros()), step);
    EXPECT_EQ(list.backend().read_lambda(list.plan()), std::vector<float>{lambda}) << step;
  }
  list.expect_same("controlled");
  const ControlState state = list.backend().read_control(list.plan());
  list.backend().set_stop(list.plan(), {});
  list.backend().set_control(list.plan(), kRule, {&target, 1});
  list.backend().restore_control(list.plan(), state);
  EXPECT_EQ(list.backend().read_lambda(list.plan()), std::vector<float>{lambda});
  EXPECT_EQ(list.backend().read_control(list.plan()).steps, 6);
}

TEST_P(ControlDtype, LambdaFollowsTheCountsOfWhatIsStored) {
  follow_schedule<double>(GetParam());
  follow_schedule<Bf16>(GetParam());
  follow_schedule<Fp16>(GetParam());
}

INSTANTIATE_TEST_SUITE_P(Rooms, ControlDtype, ::testing::ValuesIn(dtype_rooms()),
                         [](const auto& of) { return of.param.name(); });

}  // namespace
}  // namespace cuthresh::testing
