// Values that ride in a launch: places, strides, counts, any grid.

#include <gtest/gtest.h>

#include "guarded.hpp"
#include "kernels/block/multi_tensor.cuh"
#include "kernels/block/set_values.cuh"
#include "kernels/math/step_rate.hpp"
#include "step_list.hpp"

namespace cuthresh::testing {
namespace {

TEST(SetValues, FillsConsecutivePlacesAndNoOther) {
  for_each_step_launch([](std::uint32_t grid) {
    for (const std::int32_t count : {0, 1, 31, 33, 70}) {
      Guarded<StepRate> to(72, {9.0f, 9.0f, 9.0f});
      ValuesToSet<StepRate, 70> values{};
      values.count = count;
      for (std::int32_t i = 0; i < count; ++i) {
        const auto x = static_cast<float>(i);
        values.value[i] = {x, x + 0.25f, x + 0.5f};
      }
      simt::launch(grid, 32, set_values_kernel<StepRate, 70, 32>, to.data() + 1,
                   std::int64_t{sizeof(StepRate)}, values);
      for (std::int32_t i = 0; i < 72; ++i) {
        const bool is_set = i >= 1 && i <= count;
        const StepRate got = to.data()[i];
        ASSERT_EQ(got.learning_rate, is_set ? static_cast<float>(i - 1) : 9.0f) << i;
        ASSERT_EQ(got.momentum, is_set ? static_cast<float>(i) - 0.75f : 9.0f) << i;
        ASSERT_EQ(got.weight_decay, is_set ? static_cast<float>(i) - 0.5f : 9.0f) << i;
      }
      ASSERT_TRUE(to.guards_hold());
    }
  });
}

TEST(SetValues, FillsAMemberOfRecordsAndLeavesTheOthers) {
  for_each_step_launch([](std::uint32_t grid) {
    float w = 0.0f;
    float g = 0.0f;
    Guarded<TensorRecord> records(100, {&w, nullptr, &w, &w, 7, 3, 2});
    ValuesToSet<const void*, 90> values{};
    values.count = 90;
    for (std::int32_t i = 0; i < 90; ++i) values.value[i] = i % 3 == 0 ? nullptr : &g;
    simt::launch(grid, 32, set_values_kernel<const void*, 90, 32>, &records.data()[5].g,
                 std::int64_t{sizeof(TensorRecord)}, values);
    for (std::int32_t i = 0; i < 100; ++i) {
      const TensorRecord& record = records.data()[i];
      const void* const want = i < 5 || i >= 95 || (i - 5) % 3 == 0 ? nullptr : &g;
      ASSERT_EQ(record.g, want) << i;
      ASSERT_TRUE(record.w == &w && record.momentum == &w && record.master == &w) << i;
      ASSERT_TRUE(record.size == 7 && record.group == 3 && record.rate == 2) << i;
    }
    ASSERT_TRUE(records.guards_hold());
  });
}

}  // namespace
}  // namespace cuthresh::testing
