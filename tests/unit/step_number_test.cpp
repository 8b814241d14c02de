// What reads the number of a step from the plan, against the same calls with the number given: the
// rows of a batch, how images move, what is dropped, the learning rate.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/array.hpp"
#include "cuthresh/error.hpp"
#include "support/engines.hpp"
#include "support/seeded.hpp"
#include "train/device_data.hpp"
#include "train/rate_table.hpp"

namespace cuthresh::testing {
namespace {

std::vector<Room> step_rooms() {
  std::vector<Room> rooms;
  for (const Room& room : all_rooms()) {
    if (room.engine == "cuda" || (room.engine == "reference" && room.threads > 1)) {
      rooms.push_back(room);
    }
  }
  return rooms;
}

/// A plan of one weight, whose gradient is 1: a step takes the learning rate from it.
struct OneWeight {
  Backend& room;
  Array<float> w, g;
  std::unique_ptr<ProxPlan> plan;

  explicit OneWeight(Backend& backend) : room(backend), w(backend, 1), g(backend, 1) {
    const float one = 1.0f;
    room.upload(g.data(), &one, sizeof one);
    const ProxTensor tensor{w.data(), g.data(), 1, 0};
    plan = room.make_plan({&tensor, 1}, 1);
    set(0.0f);
    room.set_stop(*plan, {});
  }
  void set(float value) { room.upload(w.data(), &value, sizeof value); }
  /// The plan's next step is number `steps`.
  void jump(std::int64_t steps) {
    const ControlTarget target{{0}, 1, 0.1f};
    room.set_control(*plan, {0, 1, 0.0f, 0.0f, 1.0f}, {&target, 1});
    room.restore_control(*plan, {steps, {0.0f}, {0.0f}});
  }
};

template <class T>
std::vector<T> read(Backend& room, const T* from, std::int64_t count) {
  std::vector<T> host(static_cast<std::size_t>(count));
  room.download(host.data(), from, host.size() * sizeof(T));
  return host;
}

Dataset eleven_pictures(Random& random) {
  Dataset data;
  data.rows = 11;
  data.height = 4;
  data.width = 3;
  data.channels = 2;
  data.features = 24;
  data.outputs = 1;
  data.mean = {0.5, 0.25};
  data.std = {0.5, 2.0};
  for (int i = 0; i < 11 * 24; ++i) {
    data.pixels.push_back(static_cast<std::uint8_t>(random.integer(1, 255)));
  }
  for (int i = 0; i < 11; ++i) data.targets.push_back(static_cast<float>(i));
  return data;
}

Dataset eleven_rows(Random& random) {
  Dataset data;
  data.rows = 11;
  data.features = 5;
  data.outputs = 3;
  data.inputs = random.vector(55, -1.0f, 1.0f);
  data.targets = random.vector(33, -1.0f, 1.0f);
  return data;
}

class StepNumbers : public ::testing::TestWithParam<Room> {};
INSTANTIATE_TEST_SUITE_P(Rooms, StepNumbers, ::testing::ValuesIn(step_rooms()),
                         [](const auto& p) { return p.param.name(); });

TEST_P(StepNumbers, RowsAndMovesAreThoseOfThePlansNextStep) {
  Random random(405);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto room = GetParam().make();
  OneWeight one(*room);
  for (const std::int64_t batch : {4, 0}) {
    for (const bool images : {true, false}) {
      const DataSplit split{images ? eleven_pictures(random) : eleven_rows(random), {}};
      train::DeviceData data(*room, split, {images, batch, 9, 11, images ? 2 : 0, images});
      room->set_stop(*one.plan, {});
      for (std::int64_t step = 0; step < 8; ++step) {
        SCOPED_TRACE(::testing::Message() << "batch " << batch << ", step " << step);
        const std::int64_t rows = data.batch_rows(step);
        const std::int64_t features = images ? 24 : 5;
        const train::Batch given = data.batch(step);
        const auto inputs = read(*room, given.inputs, rows * features);
        const auto labels = images ? read(*room, given.labels, rows) : std::vector<std::int32_t>();
        const train::Batch of_plan = data.batch(step, 0, rows, one.plan.get());
        ASSERT_EQ(read(*room, of_plan.inputs, rows * features), inputs);
        if (images) {
          ASSERT_EQ(read(*room, of_plan.labels, rows), labels);
        }
        room->prox_step(*one.plan);
      }
    }
  }
}

// A round that stopped before an epoch's short last batch: steps that are enqueued beyond have as
// many rows as the host thinks, and begin where the plan stands.
TEST_P(StepNumbers, AWholeBatchInPlaceOfAShortOneFindsRows) {
  Random random(407);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto room = GetParam().make();
  OneWeight one(*room);
  const DataSplit split{eleven_rows(random), {}};
  train::DeviceData data(*room, split, {false, 4, 9, 11, 0, false});
  const auto last = read(*room, data.batch(2).inputs, 3 * 5);
  one.jump(2);
  const auto found = read(*room, data.batch(0, 0, 4, one.plan.get()).inputs, 4 * 5);
  EXPECT_TRUE(std::equal(last.begin(), last.end(), found.begin()));
  const std::vector<float>& inputs = split.train.inputs;
  EXPECT_TRUE(std::equal(found.begin() + 15, found.end(), inputs.begin())) << "the first row";
}

TEST_P(StepNumbers, WhatIsDroppedToo) {
  const auto room = GetParam().make();
  OneWeight one(*room);
  Random random(406);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const std::vector<float> x = random.vector(500, 1.0f, 2.0f);
  Array<float> from(*room, std::span<const float>(x));
  Array<float> to(*room, 500);
  std::vector<float> before;
  for (const std::int64_t step : {0, 1, 70'000}) {
    one.jump(step);
    Dropout args{.size = 500, .rate = 0.5f, .seed = 3, .stream = 2};
    args.from = from.data();
    args.to = to.data();
    args.step = static_cast<std::uint32_t>(step);
    room->dropout(args);
    const std::vector<float> given = to.to_host();
    EXPECT_NE(given, before) << "steps differ";
    args.step = 12345;
    args.plan = one.plan.get();
    room->dropout(args);
    EXPECT_EQ(to.to_host(), given) << step;
    before = given;
  }
}

TEST_P(StepNumbers, RatesAreTheSchedulesAcrossTheEndOfAWindow) {
  constexpr std::int64_t kWindow = train::RateTable::kWindow;
  const auto room = GetParam().make();
  OneWeight one(*room);
  const std::int64_t steps = 2 * kWindow + 7;
  const Schedule schedule{.kind = ScheduleKind::kCosine, .learning_rate = 0.5, .warmup = 3};
  train::RateTable table(*room, schedule);
  for (const std::int64_t step : {std::int64_t{0}, std::int64_t{1}, kWindow - 1, kWindow,
                                  kWindow + 1, steps - 1, std::int64_t{2}}) {
    table.prepare(step, steps);
    const auto want = static_cast<float>(schedule.at(step, steps));
    EXPECT_EQ(table.at(step), want) << step;
    one.set(0.0f);
    one.jump(step);
    table.follow(*one.plan);
    room->prox_step(*one.plan);
    EXPECT_EQ(one.w.to_host()[0], -want) << step;
  }
  // Another number of steps is another schedule.
  table.prepare(2000, 4000);
  EXPECT_EQ(table.at(2000), static_cast<float>(schedule.at(2000, 4000)));
  EXPECT_EQ(train::RateTable::window_end(0), kWindow);
  EXPECT_EQ(train::RateTable::window_end(kWindow), 2 * kWindow);
}

TEST_P(StepNumbers, ATableMustBeThere) {
  const auto room = GetParam().make();
  OneWeight one(*room);
  EXPECT_THROW(room->follow_rates(*one.plan, nullptr, 1), InternalError);
  EXPECT_THROW(room->follow_rates(*one.plan, one.w.data(), 0), InternalError);
}

TEST_P(StepNumbers, LambdaIsUpdatedEveryFewStepsUntilTheEnd) {
  const auto room = GetParam().make();
  // Two weights where one is wanted: λ grows with every update.
  Array<float> w(*room, 2), g(*room, 2);
  const std::vector<float> ones = {1.0f, 1.0f};
  room->upload(w.data(), ones.data(), w.bytes());
  g.zero();
  const ProxTensor tensor{w.data(), g.data(), 2, 0};
  const auto plan = room->make_plan({&tensor, 1}, 1);
  room->set_rate(*plan, {1e-6f});
  room->set_stop(*plan, {});
  ControlRule rule{0, 1, 0.5f, 1.0f, 5.0f};
  rule.every = 3;
  rule.end = 7;
  const ControlTarget target{{0}, 1, 0.1f};
  room->set_control(*plan, rule, {&target, 1});
  std::vector<std::int64_t> moved;
  float before = 0.0f;
  for (std::int64_t taken = 1; taken <= 12; ++taken) {
    room->prox_step(*plan);
    room->control(*plan);
    const float now = room->read_lambda(*plan)[0];
    if (now != before) moved.push_back(taken);
    before = now;
  }
  EXPECT_EQ(moved, (std::vector<std::int64_t>{3, 6}));
  rule.every = 0;
  EXPECT_THROW(room->set_control(*plan, rule, {&target, 1}), InternalError);
}

}  // namespace
}  // namespace cuthresh::testing
