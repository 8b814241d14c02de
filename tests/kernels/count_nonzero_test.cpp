// Counts of nonzeros over lists, exactly, for every type, size, alignment, grid and order of
// threads; and far beyond 2^31.

#include "kernels/block/count_nonzero.cuh"

#include "cpu/cpu_backend.hpp"
#include "sparse_memory.hpp"
#include "step_list.hpp"

namespace cuthresh::testing {
namespace {

template <class Storage, std::uint32_t kThreads>
void check(const std::vector<TensorCase<Storage>>& cases, std::int32_t groups,
           std::int64_t tile_elements) {
  std::vector<std::uint64_t> want(static_cast<std::size_t>(groups), 0);
  for (const TensorCase<Storage>& c : cases) {
    for (const auto w : c.w) {
      const auto seen = widen(StorageTraits<Storage>::narrow(w));
      if (c.group >= 0 && seen != 0) ++want[static_cast<std::size_t>(c.group)];
    }
  }
  for_each_step_launch([&](std::uint32_t grid) {
    StepList<Storage> list(cases, groups, tile_elements);
    Guarded<std::uint64_t> counts(static_cast<std::size_t>(groups), 0);
    simt::launch(grid, kThreads, count_nonzero_kernel<Storage, kThreads>,
                 CountNonzeroArguments{list.list(), counts.data()});
    ASSERT_EQ(counts.values(), want);
    ASSERT_TRUE(counts.guards_hold() && list.guards_hold());
  });
}

template <class Storage>
class CountNonzero : public ::testing::Test {};
using Storages = ::testing::Types<float, double, Bf16, Fp16>;
TYPED_TEST_SUITE(CountNonzero, Storages);

TYPED_TEST(CountNonzero, EverySizeAndAlignment) {
  Random random(51);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  constexpr std::size_t v = 16 / sizeof(TypeParam);
  std::vector<TensorCase<TypeParam>> cases;
  std::int32_t at = 0;
  for (const std::size_t n : {std::size_t{0}, std::size_t{1}, v - 1, v, v + 1, 32 * v - 1, 32 * v,
                              32 * v + 1, std::size_t{1021}, std::size_t{2047}, std::size_t{2048},
                              std::size_t{2049}, 8 * 32 * v, 8 * 32 * v + v + 1}) {
    for (std::size_t offset = 0; offset < v; ++offset) {
      cases.push_back(hard_tensor<TypeParam>(random, n, at++ % 5 - 1, 0.03125));
      // What is counted is w: the 16-bit copy where there is one.
      cases.back().stored_offset = offset;
      cases.back().w_offset = offset;
    }
  }
  check<TypeParam, 32>(cases, 4, 2048);
}

TYPED_TEST(CountNonzero, AsItShips) {
  Random random(52);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  std::vector<TensorCase<TypeParam>> cases;
  for (const std::size_t n : {255UL, 257UL, 8191UL, 8192UL, 8193UL, 30011UL}) {
    cases.push_back(hard_tensor<TypeParam>(random, n, n % 2 == 0 ? 1 : 0, 0.03125));
    cases.back().stored_offset = cases.back().w_offset = n % 3;
  }
  check<TypeParam, 256>(cases, 2, kTileElements);
}

TEST(CountNonzeroFloat, IsRoomAs) {
  Random random(53);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  std::vector<TensorCase<float>> cases;
  for (std::int32_t i = 0; i < 12; ++i) {
    const auto n = static_cast<std::size_t>(random.integer(0, 5000));
    cases.push_back(hard_tensor<float>(random, n, i % 4 - 1, 0.03125f));
    cases.back().w_offset = static_cast<std::size_t>(random.integer(0, 3));
  }
  StepList<float> list(cases, 3, 1024);
  std::vector<ProxTensor> tensors;
  for (std::size_t t = 0; t < cases.size(); ++t) {
    tensors.push_back({list.w[t]->data(), list.g[t]->data(),
                       static_cast<std::int64_t>(cases[t].w.size()), cases[t].group});
  }
  const auto room_a = cpu::make_cpu_backend("reference", 1);
  const auto plan = room_a->make_plan(tensors, 3);
  Guarded<std::uint64_t> counts(3, 0);
  simt::launch(5, 64, count_nonzero_kernel<float, 64>,
               CountNonzeroArguments{list.list(), counts.data()});
  EXPECT_EQ(counts.values(), room_a->read_nonzeros(*plan));
}

// Launches add: a group may have more nonzeros than 32 bits hold, and more entries before a tile.
TEST(CountNonzeroFloat, CountsAndPlacesBeyond32Bits) {
  constexpr std::int64_t kBegin = (std::int64_t{1} << 32) + 5 * kTileElements;
  SparseMemory memory((kBegin + kTileElements) * std::int64_t{sizeof(float)});
  if (!memory) GTEST_SKIP() << "the system maps no " << memory.bytes() << " bytes";
  float* const w = memory.as<float>();
  for (std::int64_t i = 0; i < kTileElements; ++i) w[kBegin + i] = i % 3 == 0 ? 1.0f : 0.0f;
  for (std::int64_t i = 0; i < kTileElements; ++i) w[(kBegin & 0xffffffff) + i] = 1.0f;  // a trap
  Guarded<TensorRecord> tensors(1, {w, nullptr, nullptr, nullptr, kBegin + kTileElements, 0});
  Guarded<Tile> tiles(1, {kBegin, 0, static_cast<std::int32_t>(kTileElements)});
  Guarded<std::uint64_t> counts(1, std::uint64_t{0xfffffff0});
  simt::launch(2, 256, count_nonzero_kernel<float>,
               CountNonzeroArguments{{tensors.data(), tiles.data(), 1, 1}, counts.data()});
  EXPECT_EQ(*counts.data(), 0xfffffff0ULL + (kTileElements + 2) / 3);
}

}  // namespace
}  // namespace cuthresh::testing
