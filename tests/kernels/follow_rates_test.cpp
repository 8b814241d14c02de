// A plan's rates from a table, by the step's number: which entry, which member, any grid.

#include <gtest/gtest.h>

#include "guarded.hpp"
#include "kernels/block/follow_rates.cuh"
#include "step_list.hpp"

namespace cuthresh::testing {
namespace {

TEST(FollowRates, TakesTheStepsEntryOfATableThatRepeats) {
  const std::vector<float> rates = {0.5f, 0.25f, 0.125f, 2.0f, 4.0f};
  for_each_step_launch([&](std::uint32_t grid) {
    const std::int64_t far = 5'000'000'000'000;  // a multiple of 5 above 2^32
    for (const std::int64_t steps : {std::int64_t{0}, std::int64_t{4}, std::int64_t{5}, far + 3}) {
      for (const std::int64_t count : {1, 31, 70}) {
        Guarded<float> table{std::span<const float>(rates), 1};
        Guarded<StepRate> to(static_cast<std::size_t>(count), {9.0f, 0.75f, 0.5f});
        const auto taken = static_cast<std::uint64_t>(steps);
        const auto follow = [&](const StepNumber& step) {
          simt::launch(grid, 32, follow_rates_kernel<float, 32>, to.data(), count,
                       static_cast<const float*>(table.data()), std::int64_t{5}, step);
        };
        const auto expect = [&](float want) {
          for (std::int64_t i = 0; i < count; ++i) {
            ASSERT_EQ(to.data()[i].learning_rate, want) << "step " << steps << ", rate " << i;
            ASSERT_EQ(to.data()[i].momentum, 0.75f);
            ASSERT_EQ(to.data()[i].weight_decay, 0.5f);
          }
          ASSERT_TRUE(to.guards_hold() && table.guards_hold());
        };
        follow({nullptr, steps});
        expect(rates[static_cast<std::size_t>(steps % 5)]);
        follow({&taken, 1});
        expect(rates[static_cast<std::size_t>(steps % 5)]);
      }
    }
  });
}

TEST(StepNumber, IsThatOfTheHeaderOrItsOwn) {
  std::uint64_t taken = 7;
  EXPECT_EQ((StepNumber{&taken, 3}()), 7);
  EXPECT_EQ((StepNumber{nullptr, 3}()), 3);
  // Batches of 10 rows, 4 steps an epoch.
  RowsOfStep rows{{&taken, 0}, 10, 4};
  EXPECT_EQ(rows.first(), 30);
  taken = 8;
  EXPECT_EQ(rows.first(), 0);
  taken = std::uint64_t{1} << 40 | 1;
  EXPECT_EQ(rows.first(), 10);
  rows.batch = 0;
  EXPECT_EQ(rows.first(), 0);
}

}  // namespace
}  // namespace cuthresh::testing
