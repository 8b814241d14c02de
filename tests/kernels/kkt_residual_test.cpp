// Stationarity over lists: both maxima to the bit and both counts exactly, for every type, size,
// alignment, grid and order of threads, against the definition and against room A.

#include "kernels/block/kkt_residual.cuh"

#include "cpu/cpu_backend.hpp"
#include "sparse_memory.hpp"
#include "step_list.hpp"

namespace cuthresh::testing {
namespace {

struct Unpenalised {
  template <class T>
  T operator()(T z, T, std::size_t, std::size_t) const {
    return z;
  }
};

// 16-bit lists come here with weights that 16 bits hold, as the network has them.
template <class Storage, std::uint32_t kThreads>
void check(const std::vector<TensorCase<Storage>>& cases, std::int32_t groups,
           std::int64_t tile_elements) {
  for_each_step_launch([&](std::uint32_t grid) {
    StepList<Storage> list(cases, groups, tile_elements);
    const auto want = step_outcome(cases, list, StepKind::kPlain, Unpenalised{});
    Guarded<GroupKkt> results(static_cast<std::size_t>(groups), GroupKkt{0, 0, 0, 0});
    simt::launch(grid, kThreads, kkt_residual_kernel<Storage, kThreads>,
                 KktResidualArguments<Storage>{list.list(), list.lambda.data(), results.data()});
    ASSERT_TRUE(results.guards_hold() && list.guards_hold());
    for (std::size_t group = 0; group < want.elements.size(); ++group) {
      const GroupKkt& got = results.data()[group];
      std::uint64_t nonzeros = 0;
      for (const TensorCase<Storage>& c : cases) {
        if (c.group != static_cast<std::int32_t>(group)) continue;
        for (const auto w : c.w) nonzeros += widen(StorageTraits<Storage>::narrow(w)) != 0 ? 1 : 0;
      }
      ASSERT_EQ(got.nonzeros, nonzeros);
      ASSERT_EQ(got.zeros, want.elements[group] - nonzeros);
      ASSERT_TRUE(same_value(magnitude_from_key(got.on_nonzero), want.on_nonzero[group].value));
      ASSERT_TRUE(same_value(magnitude_from_key(got.on_zero), want.on_zero[group].value));
    }
  });
}

template <class Storage>
class KktResidualKernel : public ::testing::Test {};
using Storages = ::testing::Types<float, double, Bf16, Fp16>;
TYPED_TEST_SUITE(KktResidualKernel, Storages);

TYPED_TEST(KktResidualKernel, EverySizeAndAlignment) {
  Random random(61);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  constexpr std::size_t v = 16 / sizeof(TypeParam);
  for (const bool finite : {true, false}) {
    std::vector<TensorCase<TypeParam>> cases;
    std::int32_t at = 0;
    for (const std::size_t n :
         {std::size_t{0}, std::size_t{1}, v - 1, v, v + 1, 64 * v - 1, 64 * v, 64 * v + 1,
          std::size_t{1021}, std::size_t{1024}, std::size_t{1025}}) {
      for (std::size_t a = 0; a < v; ++a) {
        for (const std::size_t b : {a, std::size_t{0}, v - 1}) {
          cases.push_back(hard_tensor<TypeParam>(random, n, at++ % 6 - 1, 0.03125, finite));
          cases.back().w_offset = cases.back().stored_offset = a;
          cases.back().g_offset = b;
        }
      }
    }
    check<TypeParam, 32>(cases, 5, 1024);
  }
}

TYPED_TEST(KktResidualKernel, AsItShips) {
  Random random(62);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  std::vector<TensorCase<TypeParam>> cases;
  for (const std::size_t n : {255UL, 257UL, 8191UL, 8192UL, 8193UL, 30011UL}) {
    cases.push_back(hard_tensor<TypeParam>(random, n, n % 2 == 0 ? 1 : 0, 0.03125, true));
    cases.back().stored_offset = cases.back().w_offset = n % 3;
  }
  check<TypeParam, 256>(cases, 2, kTileElements);
}

TEST(KktResidualFloat, IsRoomAsIncludingNan) {
  Random random(63);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (const bool finite : {true, false}) {
    std::vector<TensorCase<float>> cases;
    for (std::int32_t i = 0; i < 12; ++i) {
      const auto n = static_cast<std::size_t>(random.integer(0, 3000));
      cases.push_back(hard_tensor<float>(random, n, i % 4 - 1, 0.03125f, finite));
    }
    StepList<float> list(cases, 3, 1024);
    std::vector<ProxTensor> tensors;
    for (std::size_t t = 0; t < cases.size(); ++t) {
      tensors.push_back({list.w[t]->data(), list.g[t]->data(),
                         static_cast<std::int64_t>(cases[t].w.size()), cases[t].group});
    }
    const auto room_a = cpu::make_cpu_backend("reference", 1);
    const auto plan = room_a->make_plan(tensors, 3);
    room_a->set_lambda(*plan, list.lambda.values());
    const std::vector<KktResult> want = room_a->read_kkt(*plan);
    Guarded<GroupKkt> results(3, GroupKkt{0, 0, 0, 0});
    simt::launch(5, 64, kkt_residual_kernel<float, 64>,
                 KktResidualArguments<float>{list.list(), list.lambda.data(), results.data()});
    for (std::size_t group = 0; group < 3; ++group) {
      const GroupKkt& got = results.data()[group];
      EXPECT_EQ(got.nonzeros, want[group].nonzeros);
      EXPECT_EQ(got.zeros, want[group].zeros);
      EXPECT_EQ(std::isnan(want[group].on_nonzero), !finite) << "the case is too weak";
      EXPECT_TRUE(same_value(magnitude_from_key(got.on_nonzero), want[group].on_nonzero));
      EXPECT_TRUE(same_value(magnitude_from_key(got.on_zero), want[group].on_zero));
    }
  }
}

TEST(KktResidualFloat, CountsAndPlacesBeyond32Bits) {
  constexpr std::int64_t kBegin = (std::int64_t{1} << 32) + 3 * kTileElements;
  constexpr std::int64_t kBytes = (kBegin + kTileElements) * std::int64_t{sizeof(float)};
  SparseMemory w(kBytes), g(kBytes);
  if (!w || !g) GTEST_SKIP() << "the system maps no " << w.bytes() << " bytes twice";
  for (std::int64_t i = 0; i < 100; ++i) {
    w.as<float>()[kBegin + i] = i % 4 == 0 ? 1.0f : 0.0f;
    g.as<float>()[kBegin + i] = i % 4 == 0 ? 0.5f : 3.0f;
    g.as<float>()[(kBegin & 0xffffffff) + i] = 100.0f;  // a trap
  }
  Guarded<TensorRecord> tensors(
      1, {w.as<float>(), g.as<float>(), nullptr, nullptr, kBegin + kTileElements, 0});
  Guarded<Tile> tiles(1, {kBegin, 0, 100});
  Guarded<float> lambda(1, 1.0f);
  Guarded<GroupKkt> results(1, {0xfffffff0ULL, 0xffffffffULL, 0, 0});
  simt::launch(1, 256, kkt_residual_kernel<float>,
               KktResidualArguments<float>{
                   {tensors.data(), tiles.data(), 1, 1}, lambda.data(), results.data()});
  EXPECT_EQ(results.data()->nonzeros, 0xfffffff0ULL + 25);
  EXPECT_EQ(results.data()->zeros, 0xffffffffULL + 75);
  EXPECT_EQ(magnitude_from_key(results.data()->on_nonzero), 1.5f);
  EXPECT_EQ(magnitude_from_key(results.data()->on_zero), 2.0f);
}

}  // namespace
}  // namespace cuthresh::testing
