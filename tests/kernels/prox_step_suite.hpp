#pragma once

// The fused step over lists, every variant, in every order of threads and blocks: element-wise at 0
// ulp against the definition, counts and maxima exactly, norms at a derived bound. A suite over
// types of storage, instantiated by two programs, for the sake of the compiler's time.

#include "step_list.hpp"

namespace cuthresh::testing {

template <class T>
constexpr StepKind kind_of(PlainStep<T>) {
  return StepKind::kPlain;
}
template <class T>
constexpr StepKind kind_of(MomentumStep<T>) {
  return StepKind::kMomentum;
}
template <class T>
constexpr StepKind kind_of(NesterovStep<T>) {
  return StepKind::kNesterov;
}

template <class T>
constexpr StepKind kind_of(ThresholdStep<T>) {
  return StepKind::kThreshold;
}

template <class T>
struct L1ByDefinition {
  T operator()(T z, T t, std::size_t, std::size_t) const { return soft_by_definition(z, t); }
};
template <class T>
struct ElasticByDefinition {
  T ridge;
  T operator()(T z, T t, std::size_t, std::size_t) const {
    return soft_by_definition(z, t) * (T(1) / (T(1) + ridge * t));
  }
};

// Runs one variant over `cases` in every order and on every grid.
template <class Storage, class Step, int kExtras, std::uint32_t kThreads, class Penalty,
          class Definition>
void check(const std::vector<TensorCase<Storage>>& cases, std::int32_t groups,
           std::int64_t tile_elements, Penalty penalty, Definition definition) {
  std::vector<double> first_norms;
  for_each_step_launch([&](std::uint32_t grid) {
    StepList<Storage> list(cases, groups, tile_elements);
    for (std::int32_t i = 0; i < groups; ++i)
      list.lambda.data()[i] *= static_cast<typename StorageTraits<Storage>::Compute>(i + 1);
    const StepOutcome<Storage> want = step_outcome(cases, list, kind_of(Step{}), definition);
    simt::launch(grid, kThreads, prox_step_kernel<Storage, Step, Penalty, kExtras, kThreads>,
                 list.arguments(), penalty);
    ASSERT_NO_FATAL_FAILURE(expect_outcome(list, want, Step::kMomentum));
    EXPECT_EQ(list.header().steps, 1U);
    if constexpr ((kExtras & kCertificate) != 0) {
      ASSERT_NO_FATAL_FAILURE(expect_certificate(list, want));
    }
    if constexpr ((kExtras & kNorm) != 0) {
      ASSERT_NO_FATAL_FAILURE(expect_norms(list, want));
      if (first_norms.empty()) first_norms = list.norms.values();
      ASSERT_EQ(first_difference(list.norms.values(), first_norms), "");
    }
  });
}

// Sizes round a pack, a block's share, the units in flight and a tile of 1024; every alignment of
// each array, equal ones and unequal ones.
template <class Storage>
std::vector<TensorCase<Storage>> every_size_and_alignment(Random& random, std::int32_t groups,
                                                          bool finite) {
  constexpr std::size_t v = 16 / sizeof(Storage);
  constexpr std::size_t block = 32 * v;
  constexpr std::size_t wide = 16 / sizeof(typename StorageTraits<Storage>::Compute);
  std::vector<TensorCase<Storage>> cases;
  std::int32_t at = 0;
  const auto add = [&](std::size_t n, std::size_t a, std::size_t b, std::size_t c, std::size_t d) {
    auto t = hard_tensor<Storage>(random, n, at++ % (groups + 1) - 1, 0.03125, finite);
    t.w_offset = a % wide;
    t.g_offset = b;
    t.v_offset = c % wide;
    t.stored_offset = d;
    cases.push_back(std::move(t));
  };
  for (const std::size_t n : {std::size_t{0}, std::size_t{1}, v - 1, v, v + 1, 2 * v + 1, block - 1,
                              block, block + 1, std::size_t{251}}) {
    for (std::size_t offset = 0; offset < v; ++offset) add(n, offset, offset, offset, offset);
  }
  for (std::size_t a = 0; a < v; ++a) {
    for (std::size_t b = 0; b < v; ++b) add(3 * v + a, a, b, a, a);
    add(4 * v + 3, a, a, a + 1, a);
    add(4 * v + 3, a, a, a, (a + 1) % v);
    add(4 * v + 3, a + 1, a, a, a);
  }
  for (const std::size_t n : {std::size_t{1009}, std::size_t{1023}, std::size_t{1024},
                              std::size_t{1025}, 2 * std::size_t{1024} + 1, 8 * block + 1}) {
    add(n, 0, 0, 0, 0);
    add(n, 1, 1, 1, 1);
    add(n, 0, 1, 0, 0);
  }
  return cases;
}

template <class Storage>
class ProxStepKernel : public ::testing::Test {};
TYPED_TEST_SUITE_P(ProxStepKernel);

TYPED_TEST_P(ProxStepKernel, PlainWithL1) {
  using T = typename StorageTraits<TypeParam>::Compute;
  Random random(31);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto cases = every_size_and_alignment<TypeParam>(random, 4, false);
  check<TypeParam, PlainStep<T>, kNoExtras, 32>(cases, 4, 1024, L1Penalty<T>{},
                                                L1ByDefinition<T>{});
}

TYPED_TEST_P(ProxStepKernel, PlainWithCertificateAndNorm) {
  using T = typename StorageTraits<TypeParam>::Compute;
  Random random(32);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto cases = every_size_and_alignment<TypeParam>(random, 3, true);
  check<TypeParam, PlainStep<T>, kCertificate | kNorm, 32>(cases, 3, 1024, L1Penalty<T>{},
                                                           L1ByDefinition<T>{});
}

TYPED_TEST_P(ProxStepKernel, MomentumWithElasticNetAndCertificate) {
  using T = typename StorageTraits<TypeParam>::Compute;
  Random random(33);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto cases = every_size_and_alignment<TypeParam>(random, 3, true);
  const T ridge = T(0.75);
  check<TypeParam, MomentumStep<T>, kCertificate, 32>(cases, 3, 1024, ElasticNetPenalty<T>{&ridge},
                                                      ElasticByDefinition<T>{ridge});
}

TYPED_TEST_P(ProxStepKernel, NesterovWithL1AndNorm) {
  using T = typename StorageTraits<TypeParam>::Compute;
  Random random(34);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto cases = every_size_and_alignment<TypeParam>(random, 5, true);
  check<TypeParam, NesterovStep<T>, kNorm, 64>(cases, 5, 512, L1Penalty<T>{}, L1ByDefinition<T>{});
}

TYPED_TEST_P(ProxStepKernel, MomentumAndNesterovWithoutExtras) {
  using T = typename StorageTraits<TypeParam>::Compute;
  Random random(35);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto cases = every_size_and_alignment<TypeParam>(random, 2, false);
  const T ridge = T(0.5);
  check<TypeParam, MomentumStep<T>, kNoExtras, 32>(cases, 2, 1024, L1Penalty<T>{},
                                                   L1ByDefinition<T>{});
  check<TypeParam, NesterovStep<T>, kNoExtras, 32>(cases, 2, 1024, ElasticNetPenalty<T>{&ridge},
                                                   ElasticByDefinition<T>{ridge});
}

// The shape that ships: 256 threads, tiles of kTileElements; sizes round both.
TYPED_TEST_P(ProxStepKernel, AsItShips) {
  using T = typename StorageTraits<TypeParam>::Compute;
  Random random(36);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  std::vector<TensorCase<TypeParam>> cases;
  std::int32_t at = 0;
  for (const std::size_t n :
       {255UL, 256UL, 257UL, 4095UL, 4096UL, 4097UL, 8191UL, 8192UL, 8193UL, 20011UL}) {
    cases.push_back(hard_tensor<TypeParam>(random, n, at++ % 3 - 1, 0.03125, true));
    if (at % 4 == 1) cases.back().g_offset = 1;
    if (at % 4 == 2) cases.back().w_offset = cases.back().g_offset = cases.back().v_offset = 1;
  }
  check<TypeParam, PlainStep<T>, kNoExtras, 256>(cases, 2, kTileElements, L1Penalty<T>{},
                                                 L1ByDefinition<T>{});
  check<TypeParam, NesterovStep<T>, kCertificate | kNorm, 256>(cases, 2, kTileElements,
                                                               L1Penalty<T>{}, L1ByDefinition<T>{});
}

// NaN and infinities reach the certificate and the norm: they must show, in their group only.
TYPED_TEST_P(ProxStepKernel, NonFiniteValuesShow) {
  using T = typename StorageTraits<TypeParam>::Compute;
  Random random(37);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (const T bad : {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity(),
                      -std::numeric_limits<T>::infinity()}) {
    for (const bool in_weight : {true, false}) {
      std::vector<TensorCase<TypeParam>> cases;
      for (const std::int32_t group : {0, 1, -1}) {
        cases.push_back(hard_tensor<TypeParam>(random, 700, group, 0.03125, true));
      }
      for (const std::size_t spoilt : {0UL, 2UL}) {
        if (in_weight) {
          cases[spoilt].w[413] = bad;
        } else {
          cases[spoilt].g[413] = StorageTraits<TypeParam>::narrow(bad);
        }
      }
      check<TypeParam, PlainStep<T>, kCertificate | kNorm, 32>(cases, 2, 256, L1Penalty<T>{},
                                                               L1ByDefinition<T>{});
    }
  }
}

// Tensors of three rates, some without a gradient, in groups that others share: several tiles each.
template <class Storage>
std::vector<TensorCase<Storage>> rates_and_gaps(Random& random, bool finite) {
  std::vector<TensorCase<Storage>> cases;
  std::int32_t at = 0;
  for (const std::size_t n : {5UL, 700UL, 1UL, 64UL, 1100UL, 300UL, 513UL, 40UL, 257UL, 90UL}) {
    auto t = hard_tensor<Storage>(random, n, at % 4 - 1, 0.03125, finite);
    t.rate = at % 3;
    t.has_gradient = at % 5 != 1 && at % 5 != 2;
    t.stored_offset = t.g_offset = t.w_offset = at % 2 == 0 ? 0 : 1;
    cases.push_back(std::move(t));
    ++at;
  }
  return cases;
}

TYPED_TEST_P(ProxStepKernel, EachTensorsRateAndNoGradient) {
  using T = typename StorageTraits<TypeParam>::Compute;
  Random random(39);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  check<TypeParam, PlainStep<T>, kNoExtras, 32>(rates_and_gaps<TypeParam>(random, false), 3, 256,
                                                L1Penalty<T>{}, L1ByDefinition<T>{});
  const auto finite = rates_and_gaps<TypeParam>(random, true);
  check<TypeParam, MomentumStep<T>, kCertificate, 32>(finite, 3, 256, L1Penalty<T>{},
                                                      L1ByDefinition<T>{});
  check<TypeParam, NesterovStep<T>, kNorm, 64>(finite, 3, 256, L1Penalty<T>{}, L1ByDefinition<T>{});
}

TYPED_TEST_P(ProxStepKernel, ThresholdAlone) {
  using T = typename StorageTraits<TypeParam>::Compute;
  Random random(40);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  check<TypeParam, ThresholdStep<T>, kNoExtras, 32>(rates_and_gaps<TypeParam>(random, false), 3,
                                                    256, L1Penalty<T>{}, L1ByDefinition<T>{});
  check<TypeParam, ThresholdStep<T>, kNoExtras, 32>(
      every_size_and_alignment<TypeParam>(random, 3, true), 3, 1024, L1Penalty<T>{},
      L1ByDefinition<T>{});
}

REGISTER_TYPED_TEST_SUITE_P(ProxStepKernel, PlainWithL1, PlainWithCertificateAndNorm,
                            MomentumWithElasticNetAndCertificate, NesterovWithL1AndNorm,
                            MomentumAndNesterovWithoutExtras, AsItShips, NonFiniteValuesShow,
                            EachTensorsRateAndNoGradient, ThresholdAlone);

}  // namespace cuthresh::testing
