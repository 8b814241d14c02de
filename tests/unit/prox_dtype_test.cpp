// Plans of every dtype in every room: steps, masters and counts to the bit against the formulas
// written out, in float64 or in float32 with a rounding; counts of what is stored.

#include <gtest/gtest.h>

#include "cuthresh/error.hpp"

#include "support/dtype_list.hpp"

namespace cuthresh::testing {
namespace {

const std::vector<StepRateOf<double>> kRates = {{0.1, 0.9, 0.0}, {0.03, 0.5, 0.01}};
const std::vector<double> kLambda = {0.3, 0.0, 1.1};

constexpr StepKind kKinds[] = {StepKind::kPlain, StepKind::kMomentum, StepKind::kNesterov,
                               StepKind::kThreshold};

class ProxDtype : public ::testing::TestWithParam<Room> {
 protected:
  /// test(Storage{}) for all of them.
  template <class F>
  static void each_storage(F test) {
    const auto run = [&](auto storage, const char* name) {
      SCOPED_TRACE(name);
      test(storage);
    };
    run(float{}, "float32");
    run(double{}, "float64");
    run(Bf16{}, "bfloat16");
    run(Fp16{}, "float16");
  }
};

template <class Storage>
void take_steps(const Room& room, StepKind kind, bool own_masters, std::int64_t offset) {
  Random random(static_cast<std::uint32_t>(41 + offset));
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed() << ", kind "
                                    << static_cast<int>(kind) << ", offset " << offset);
  std::vector<DtypeTensor<Storage>> tensors;
  std::int32_t i = 0;
  for (const std::size_t n : {0UL, 1UL, 7UL, 8UL, 9UL, 33UL, 1024UL, 5003UL}) {
    tensors.push_back(random_dtype_tensor<Storage>(random, n, i % 4 - 1));
    tensors.back().rate = i % 2;
    if (own_masters) {  // which begin as what is stored
      for (std::size_t e = 0; e < n; ++e) tensors.back().master[e] = widen(tensors.back().w[e]);
    }
    ++i;
  }
  DtypeList<Storage> list(room, std::move(tensors), 3, kind, own_masters, offset);
  list.expect_same("made");
  list.backend().set_rates(list.plan(), kRates);
  list.backend().set_lambda(list.plan(), kLambda);
  for (int step = 0; step < 3; ++step) {
    list.backend().prox_step(list.plan());
    for (DtypeTensor<Storage>& t : list.host()) {
      const double lambda = t.group < 0 ? 0.0 : kLambda[static_cast<std::size_t>(t.group)];
      t.step(kind, kRates[static_cast<std::size_t>(t.rate)], lambda);
    }
  }
  list.expect_same("after three steps");
  list.expect_status(3, "after three steps");
}

TEST_P(ProxDtype, StepsAreTheFormula) {
  each_storage([](auto storage) {
    for (const StepKind kind : kKinds) take_steps<decltype(storage)>(GetParam(), kind, false, 0);
  });
}

TEST_P(ProxDtype, StepsAreTheFormulaAtAnyAddressAndWithMastersOfThePlan) {
  each_storage([](auto storage) {
    for (const std::int64_t offset : {1, 3, 4}) {
      take_steps<decltype(storage)>(GetParam(), StepKind::kMomentum, offset != 3, offset);
    }
  });
}

TEST_P(ProxDtype, WhatRoundsToZeroIsZero) {
  // A master of 2^-26 is half of nothing in binary16, and a subnormal of float32 in bfloat16.
  DtypeTensor<Fp16> t;
  t.master = {0x1p-26f, 0x1.000002p-25f, 0x1p-25f, -0x1p-26f, 0.5f};
  for (const float x : t.master) t.w.push_back(stored<Fp16>(x));
  t.g.assign(t.w.size(), stored<Fp16>(0.0f));
  DtypeList<Fp16> list(GetParam(), {t}, 1);
  list.backend().set_rate(list.plan(), {0.1f});
  list.backend().prox_step(list.plan());
  EXPECT_EQ(list.backend().read_status(list.plan()).total, 2U);
  EXPECT_EQ(list.backend().read_nonzeros(list.plan()), std::vector<std::uint64_t>{2U});
  list.expect_same("after a step of nothing");
}

TEST_P(ProxDtype, AnOverflowOfTheStoredWeightEndsTheRun) {
  DtypeTensor<Fp16> t;
  t.master = {65519.0f, 1.0f, 65504.0f};
  for (const float x : t.master) t.w.push_back(stored<Fp16>(x));
  t.g = {stored<Fp16>(-1.0f), stored<Fp16>(0.0f), stored<Fp16>(1.0f)};  // 65520 is a tie, to ∞
  DtypeList<Fp16> list(GetParam(), {t}, 1);
  list.backend().set_rate(list.plan(), {1.0f});
  list.backend().prox_step(list.plan());
  list.host()[0].step(StepKind::kPlain, {1.0, 0.0, 0.0}, 0.0);
  list.expect_same("after the overflow");
  list.expect_status(1, "after the overflow");
  EXPECT_EQ(list.backend().read_status(list.plan()).nonfinite, 1U);
  list.backend().prox_step(list.plan());
  EXPECT_EQ(list.backend().read_status(list.plan()).steps, 1);
}

TEST_P(ProxDtype, NanIsCountedAndKept) {
  each_storage([](auto storage) {
    using Storage = decltype(storage);
    using Compute = ComputeOf<Storage>;
    for (const Compute bad :
         {std::numeric_limits<Compute>::quiet_NaN(), std::numeric_limits<Compute>::infinity()}) {
      Random random(5);
      auto t = random_dtype_tensor<Storage>(random, 700, 0);
      t.g[611] = stored<Storage>(bad);
      DtypeList<Storage> list(GetParam(), {t}, 1);
      list.backend().set_rates(list.plan(), std::span(kRates).first(1));
      list.backend().prox_step(list.plan());
      list.host()[0].step(StepKind::kPlain, kRates[0], 0.0);
      list.expect_same("with a bad gradient");
      list.expect_status(1, "with a bad gradient");
    }
  });
}

TEST_P(ProxDtype, ATensorWithoutAGradientIsCountedOnly) {
  each_storage([](auto storage) {
    using Storage = decltype(storage);
    Random random(6);
    auto t = random_dtype_tensor<Storage>(random, 300, 0);
    t.g.clear();
    DtypeList<Storage> list(GetParam(), {t}, 1);
    list.backend().set_rates(list.plan(), std::span(kRates).first(1));
    list.backend().prox_step(list.plan());
    list.expect_same("without a gradient");
    list.expect_status(1, "without a gradient");
  });
}

template <class Storage>
void write_and_refresh(const Room& room) {
  Random random(7);
  auto t = random_dtype_tensor<Storage>(random, 2000, 0);
  DtypeList<Storage> list(room, {t}, 1);
  DtypeTensor<Storage>& host = list.host()[0];
  for (std::size_t i = 0; i < host.size(); i += 3) {
    host.w[i] = stored<Storage>(random.uniform(-2.0f, 2.0f));
    if (!same_bits(stored<Storage>(host.master[i]), host.w[i])) host.master[i] = widen(host.w[i]);
  }
  list.write(0, host.w);
  list.backend().refresh_master(list.plan());
  list.expect_same("refreshed");  // what was not written keeps its places
  list.backend().refresh_master(list.plan());
  list.expect_same("refreshed again");
}

TEST_P(ProxDtype, MastersFollowWhoeverWritesWeights) {
  write_and_refresh<Bf16>(GetParam());
  write_and_refresh<Fp16>(GetParam());
}

TEST_P(ProxDtype, TheCertificateIsTheMaximum) {
  each_storage([](auto storage) {
    using Storage = decltype(storage);
    using Compute = ComputeOf<Storage>;
    Random random(8);
    std::vector<DtypeTensor<Storage>> tensors;
    for (std::int32_t i = 0; i < 3; ++i) {
      tensors.push_back(random_dtype_tensor<Storage>(random, 500, i));
    }
    DtypeList<Storage> list(GetParam(), tensors, 3);
    list.backend().set_lambda(list.plan(), kLambda);
    const std::vector<KktResult> got = list.backend().read_kkt(list.plan());
    for (std::size_t group = 0; group < 3; ++group) {
      const auto lambda = static_cast<Compute>(kLambda[group]);
      Compute on_nonzero = Compute(0), on_zero = Compute(0);
      for (std::size_t i = 0; i < tensors[group].size(); ++i) {
        const Compute w = widen(tensors[group].w[i]);
        const Compute g = widen(tensors[group].g[i]);
        if (w == Compute(0))
          on_zero = std::max(on_zero, std::fabs(g) - lambda);
        else
          on_nonzero = std::max(on_nonzero, std::fabs(g + std::copysign(lambda, w)));
      }
      EXPECT_EQ(got[group].on_nonzero, static_cast<float>(on_nonzero));
      EXPECT_EQ(got[group].on_zero, static_cast<float>(on_zero));
      EXPECT_EQ(got[group].nonzeros, tensors[group].nonzeros());
      EXPECT_EQ(got[group].zeros, tensors[group].size() - tensors[group].nonzeros());
    }
  });
}

template <class Storage>
void select_from(const Room& room, std::size_t n) {
  Random random(9);
  const auto tensor = random_dtype_tensor<Storage>(random, n, 0);
  DtypeList<Storage> list(room, {tensor}, 1);
  std::vector<double> sorted;
  for (const Storage& g : tensor.g) sorted.push_back(std::fabs(static_cast<double>(widen(g))));
  std::sort(sorted.begin(), sorted.end());
  const auto size = static_cast<std::int64_t>(n);
  for (const std::int64_t k : {std::int64_t{1}, size / 3, size - 1, size}) {
    EXPECT_EQ(list.backend().read_kth_magnitude(list.plan(), k),
              sorted[static_cast<std::size_t>(size - k)])
        << k;
  }
  // Ends that no float is, ends that are entries, one that is nearly +∞.
  const std::vector<std::pair<double, double>> brackets = {
      {0.1 + 1e-12, 0.7 - 1e-12}, {sorted[n / 4], sorted[n / 2]}, {0.0, 1e300}, {0.9, 0.9}};
  for (const std::pair<double, double>& bracket : brackets) {
    std::vector<double> inside;
    for (const double x : sorted) {
      if (x > bracket.first && x < bracket.second) inside.push_back(x);
    }
    const auto got = list.backend().read_bracket_medians(list.plan(), {&bracket, 1}).front();
    EXPECT_EQ(got.inside, inside.size()) << bracket.first << " " << bracket.second;
    EXPECT_EQ(got.median.has_value(), !inside.empty());
    if (!inside.empty()) {
      EXPECT_EQ(*got.median, inside[(inside.size() - 1) / 2]);
    }
  }
}

TEST_P(ProxDtype, OrderStatisticsAreThoseOfASort) {
  // On the CPU the larger one goes by a sample first.
  each_storage([](auto storage) {
    select_from<decltype(storage)>(GetParam(), 3001);
    if (GetParam().engine != "cuda") select_from<decltype(storage)>(GetParam(), 70001);
  });
}

TEST_P(ProxDtype, MagnitudesOfFloat64AreNotGivenAsFloat32) {
  Random random(10);
  DtypeList<double> list(GetParam(), {random_dtype_tensor<double>(random, 10, 0)}, 1);
  EXPECT_THROW(list.backend().read_kth_gradient(list.plan(), 1), InternalError);
  const std::pair<float, float> bracket = {0.0f, 1.0f};
  EXPECT_THROW((void)list.backend().read_bracket_medians(list.plan(), {&bracket, 1}),
               InternalError);
}

INSTANTIATE_TEST_SUITE_P(Rooms, ProxDtype, ::testing::ValuesIn(dtype_rooms()),
                         [](const auto& of) { return of.param.name(); });

}  // namespace
}  // namespace cuthresh::testing
