// What training and evaluation get of the data, against the data set itself: batches in the order
// of the epoch, slices as they are, images normalised, and moved at random in training only.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "cuthresh/error.hpp"
#include "support/engines.hpp"
#include "support/seeded.hpp"
#include "train/batches.hpp"
#include "train/device_data.hpp"

namespace cuthresh::testing {
namespace {

using train::Batch;
using train::DeviceData;
using Part = train::DeviceData::Part;

/// One engine of the CPU room, with threads, and the CUDA room.
std::vector<Room> data_rooms() {
  std::vector<Room> rooms;
  for (const Room& room : all_rooms()) {
    if (room.engine == "cuda" || (room.engine == "reference" && room.threads > 1)) {
      rooms.push_back(room);
    }
  }
  return rooms;
}

/// Images of 4 x 3 pixels and two channels; labels are 0 to 9 in turn.
Dataset pictures(std::int64_t rows, Random& random) {
  Dataset data;
  data.rows = rows;
  data.height = 4;
  data.width = 3;
  data.channels = 2;
  data.features = 24;
  data.outputs = 1;
  data.mean = {0.5, 0.25};
  data.std = {0.5, 2.0};
  data.source = "pictures";
  for (std::int64_t i = 0; i < rows * 24; ++i) {
    data.pixels.push_back(static_cast<std::uint8_t>(random.integer(1, 255)));
  }
  for (std::int64_t i = 0; i < rows; ++i) data.targets.push_back(static_cast<float>(i % 10));
  return data;
}

Dataset numbers(std::int64_t rows, std::int64_t outputs, Random& random) {
  Dataset data;
  data.rows = rows;
  data.features = 5;
  data.outputs = outputs;
  data.inputs = random.vector(static_cast<std::size_t>(rows * 5), -1.0f, 1.0f);
  data.targets = random.vector(static_cast<std::size_t>(rows * outputs), -1.0f, 1.0f);
  data.source = "numbers";
  return data;
}

template <class T>
std::vector<T> down(Backend& room, const T* from, std::int64_t count) {
  std::vector<T> host(static_cast<std::size_t>(count));
  room.download(host.data(), from, host.size() * sizeof(T));
  return host;
}

/// Input i of a row by the definition.
double wanted_input(const Dataset& data, std::int64_t row, std::int64_t i) {
  const auto at = static_cast<std::size_t>(row * data.features + i);
  if (!data.has_images()) return static_cast<double>(data.inputs[at]);
  const auto c = static_cast<std::size_t>(i % data.channels);
  return (data.pixels[at] / 255.0 - data.mean[c]) / data.std[c];
}

void expect_rows(Backend& room, const Batch& batch, const Dataset& data,
                 const std::vector<std::int64_t>& rows, bool labels) {
  ASSERT_EQ(batch.rows, static_cast<std::int64_t>(rows.size()));
  const auto inputs = down(room, batch.inputs, batch.rows * data.features);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::int64_t i = 0; i < data.features; ++i) {
      const auto at = r * static_cast<std::size_t>(data.features) + static_cast<std::size_t>(i);
      ASSERT_NEAR(static_cast<double>(inputs[at]), wanted_input(data, rows[r], i), 1e-6)
          << "row " << r << ", input " << i;
    }
  }
  if (labels) {
    ASSERT_EQ(batch.targets, nullptr);
    const auto got = down(room, batch.labels, batch.rows);
    for (std::size_t r = 0; r < rows.size(); ++r) {
      ASSERT_EQ(static_cast<float>(got[r]), data.targets[static_cast<std::size_t>(rows[r])]);
    }
  } else {
    ASSERT_EQ(batch.labels, nullptr);
    const auto got = down(room, batch.targets, batch.rows * data.outputs);
    for (std::size_t i = 0; i < got.size(); ++i) {
      const auto outputs = static_cast<std::size_t>(data.outputs);
      ASSERT_EQ(got[i],
                data.targets[static_cast<std::size_t>(rows[i / outputs]) * outputs + i % outputs]);
    }
  }
}

std::vector<std::int64_t> consecutive(std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> rows;
  for (std::int64_t i = first; i < first + count; ++i) rows.push_back(i);
  return rows;
}

class DeviceRows : public ::testing::TestWithParam<Room> {};
INSTANTIATE_TEST_SUITE_P(Rooms, DeviceRows, ::testing::ValuesIn(data_rooms()),
                         [](const auto& p) { return p.param.name(); });

TEST_P(DeviceRows, BatchesFollowTheEpochAndSlicesTheFile) {
  Random random(401);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto room = GetParam().make();
  const DataSplit sets[] = {{pictures(11, random), pictures(7, random)},
                            {numbers(11, 3, random), numbers(7, 3, random)}};
  for (const auto& [set, stay] : {std::pair(0, false), {1, false}, {0, true}}) {
    const DataSplit& split = sets[set];
    const bool labels = split.train.has_images();
    DeviceData data(*room, split, {labels, 4, 9, 6, 0, false, stay});
    EXPECT_EQ(data.rows(Part::kTrain), 11);
    EXPECT_EQ(data.rows(Part::kTest), 7);
    for (std::int64_t step = 0; step < 7; ++step) {
      SCOPED_TRACE(::testing::Message() << split.train.source << ", step " << step);
      const auto order = train::epoch_order(11, 9, static_cast<std::uint32_t>(step / 3));
      const std::int64_t first = step % 3 * 4;
      const std::vector<std::int64_t> rows(order.begin() + first,
                                           order.begin() + std::min<std::int64_t>(first + 4, 11));
      expect_rows(*room, data.batch(step), split.train, rows, labels);
      // Evaluation between two steps, the same slice after another and after a batch.
      expect_rows(*room, data.slice(Part::kTest, 1, 6), split.test, consecutive(1, 6), labels);
      expect_rows(*room, data.slice(Part::kTrain, 1, 6), split.train, consecutive(1, 6), labels);
      expect_rows(*room, data.slice(Part::kTrain, 5, 6), split.train, consecutive(5, 6), labels);
      // And the slice that the next step's evaluation begins with: it must not be taken for the
      // batch in between.
      expect_rows(*room, data.slice(Part::kTest, 1, 6), split.test, consecutive(1, 6), labels);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(DeviceRows, AFullBatchIsAllRowsAsTheyAre) {
  Random random(402);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto room = GetParam().make();
  const DataSplit sets[] = {{pictures(5, random), pictures(3, random)},
                            {numbers(5, 1, random), {}}};
  for (const DataSplit& split : sets) {
    const bool labels = split.train.has_images();
    DeviceData data(*room, split, {labels, 0, 9, 5, 0, false});
    expect_rows(*room, data.batch(0), split.train, consecutive(0, 5), labels);
    expect_rows(*room, data.batch(1), split.train, consecutive(0, 5), labels);
    if (split.test.rows == 0) continue;
    expect_rows(*room, data.slice(Part::kTest, 0, 3), split.test, consecutive(0, 3), labels);
    expect_rows(*room, data.batch(2), split.train, consecutive(0, 5), labels);
  }
}

// Whether every input of a batch is what the file says: false once something has moved.
bool unmoved(Backend& room, const Batch& batch, const Dataset& data,
             const std::vector<std::int64_t>& rows) {
  const auto inputs = down(room, batch.inputs, batch.rows * data.features);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const auto features = static_cast<std::size_t>(data.features);
    const double want =
        wanted_input(data, rows[i / features], static_cast<std::int64_t>(i % features));
    if (std::fabs(static_cast<double>(inputs[i]) - want) > 1e-6) return false;
  }
  return true;
}

TEST_P(DeviceRows, OnlyTrainingStepsMoveImages) {
  Random random(403);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto room = GetParam().make();
  const DataSplit split{pictures(8, random), pictures(4, random)};
  for (const std::int64_t batch : {0, 8}) {
    for (const bool crop : {false, true}) {
      SCOPED_TRACE(::testing::Message() << "batch " << batch << ", crop " << crop);
      DeviceData data(*room, split, {true, batch, 9, 8, crop ? 2 : 0, !crop});
      const auto order = batch == 0 ? consecutive(0, 8) : train::epoch_order(8, 9, 0);
      const Batch first = data.batch(0);
      const auto step_0 = down(*room, first.inputs, 8 * 24);
      EXPECT_FALSE(unmoved(*room, first, split.train, order));
      expect_rows(*room, data.slice(Part::kTrain, 0, 8), split.train, consecutive(0, 8), true);
      const auto step_1 = down(*room, data.batch(1).inputs, 8 * 24);
      expect_rows(*room, data.slice(Part::kTest, 0, 4), split.test, consecutive(0, 4), true);
      // Another round of the search sees what the first saw.
      EXPECT_EQ(down(*room, data.batch(0).inputs, 8 * 24), step_0);
      EXPECT_NE(step_0, step_1);
      EXPECT_EQ(down(*room, data.batch(1).inputs, 8 * 24), step_1);
      // Labels stay with their images.
      const auto labels = down(*room, data.batch(0).labels, 8);
      for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(labels[i], order[i] % 10);
    }
  }
}

TEST_P(DeviceRows, ServeAnotherRoomAsWell) {
  Random random(405);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const DataSplit sets[] = {{pictures(11, random), pictures(7, random)},
                            {numbers(11, 3, random), numbers(7, 3, random)}};
  for (const DataSplit& split : sets) {
    const bool labels = split.train.has_images();
    const auto first = GetParam().make();
    const auto second = GetParam().make();
    std::optional<DeviceData> one;
    const train::BatchSettings settings{labels, 4, 9, 6, 0, false};
    one.emplace(*first, split, settings);
    first->synchronize();
    DeviceData two(*second, split, settings, &*one);
    const train::Batch mine = two.slice(Part::kTrain, 1, 6);
    const train::Batch its = one->slice(Part::kTrain, 1, 6);
    EXPECT_EQ(mine.labels, its.labels);
    EXPECT_EQ(mine.targets, its.targets);
    EXPECT_EQ(mine.inputs == its.inputs, !labels) << "images become floats in each room";
    expect_rows(*second, two.slice(Part::kTrain, 1, 6), split.train, consecutive(1, 6), labels);
    const auto order = train::epoch_order(11, 9, 0);
    expect_rows(*second, two.batch(1), split.train, {order[4], order[5], order[6], order[7]},
                labels);
    one.reset();
    expect_rows(*second, two.slice(Part::kTest, 1, 6), split.test, consecutive(1, 6), labels);
  }
}

TEST_P(DeviceRows, MoreRowsThanRoomAreRefused) {
  Random random(404);
  const auto room = GetParam().make();
  DeviceData data(*room, {pictures(8, random), {}}, {true, 2, 9, 4, 0, false});
  EXPECT_NO_THROW(data.slice(Part::kTrain, 4, 4));
  EXPECT_THROW(data.slice(Part::kTrain, 0, 5), InternalError);
}

}  // namespace
}  // namespace cuthresh::testing
