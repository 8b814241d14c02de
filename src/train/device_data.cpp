#include "train/device_data.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

#include "cuthresh/error.hpp"
#include "train/batches.hpp"

namespace cuthresh::train {

DeviceData::DeviceData(Backend& backend, const DataSplit& data, const BatchSettings& settings,
                       const DeviceData* twin)
    : backend_(backend),
      settings_(settings),
      features_(data.train.features),
      outputs_(data.train.outputs),
      rows_(twin != nullptr
                ? twin->rows_
                : std::make_shared<const Rows>(Rows{upload(data.train), upload(data.test)})),
      train_(rows_->train),
      test_(rows_->test) {
  if (data.train.has_images()) prepare_images(data.train);
  if (settings.batch == 0) return;
  order_ =
      Array<std::int64_t>(backend, steps_an_epoch(train_.rows, settings.batch) * settings.batch);
  if (!has_images_) batch_inputs_ = Array<float>(backend, settings.batch * features_);
  if (settings.labels) {
    batch_labels_ = Array<std::int32_t>(backend, settings.batch);
  } else {
    batch_targets_ = Array<float>(backend, settings.batch * outputs_);
  }
}

void DeviceData::prepare_images(const Dataset& train) {
  has_images_ = true;
  image_ = {train.height, train.width, train.channels};
  std::vector<float> scale, shift;
  for (std::size_t c = 0; c < train.mean.size(); ++c) {
    scale.push_back(static_cast<float>(1.0 / (255.0 * train.std[c])));
    shift.push_back(static_cast<float>(-train.mean[c] / train.std[c]));
  }
  image_scale_ = Array<float>(backend_, scale);
  image_shift_ = Array<float>(backend_, shift);
  const std::int64_t most = std::min(settings_.at_once, std::max(train_.rows, test_.rows));
  images_ = Array<float>(backend_, std::max(most, settings_.batch) * features_);
}

/// With a step: as that training step has them; without: as they are.
void DeviceData::gather_images(const Resident& from, std::int64_t first, const std::int64_t* index,
                               std::int64_t rows, const StepRows* of_step) {
  if (rows * features_ > images_.size()) {
    throw InternalError(
        {"images",
         "more rows than room was made for, " + std::to_string(images_.size() / features_),
         std::to_string(rows), "ask for at most at_once"});
  }
  GatherImages args;
  args.shape = image_;
  args.rows = rows;
  args.to = images_.data();
  args.from = from.pixels.data() + first * features_;
  args.index = index;
  args.scale = image_scale_.data();
  args.shift = image_shift_.data();
  if (of_step != nullptr) {
    args.crop = settings_.crop;
    args.flip = settings_.flip;
    args.seed = settings_.seed + static_cast<std::uint64_t>(first);  // parts of a step differ
    args.of_step = *of_step;
  }
  backend_.gather_images(args);
  held_rows_ = 0;
}

DeviceData::Resident DeviceData::upload(const Dataset& data) const {
  Resident device;
  device.rows = data.rows;
  if (data.has_images()) {
    const bool in_place =
        settings_.data_stay && backend_.unsupported(Operation::kHostMemory).empty();
    device.pixels = in_place ? Array<std::uint8_t>::view(data.pixels)
                             : Array<std::uint8_t>(backend_, data.pixels);
  } else {
    device.inputs = Array<float>(backend_, data.inputs);
  }
  if (settings_.labels) {
    std::vector<std::int32_t> labels(data.targets.size());
    std::transform(data.targets.begin(), data.targets.end(), labels.begin(),
                   [](float v) { return static_cast<std::int32_t>(v); });
    device.labels = Array<std::int32_t>(backend_, labels);
  } else {
    device.targets = Array<float>(backend_, data.targets);
  }
  return device;
}

std::int64_t DeviceData::first_row(std::int64_t step) const {
  return step % steps_an_epoch(train_.rows, settings_.batch) * settings_.batch;
}

std::int64_t DeviceData::batch_rows(std::int64_t step) const {
  if (settings_.batch == 0) return train_.rows;
  return std::min(settings_.batch, train_.rows - first_row(step));
}

std::int64_t DeviceData::epoch_end(std::int64_t step) const {
  if (settings_.batch == 0) return std::numeric_limits<std::int64_t>::max();
  const std::int64_t each = steps_an_epoch(train_.rows, settings_.batch);
  return (step / each + 1) * each;
}

void DeviceData::prepare(std::int64_t step) {
  if (settings_.batch > 0) {
    const std::int64_t epoch = step / steps_an_epoch(train_.rows, settings_.batch);
    if (epoch != epoch_) {
      epoch_ = epoch;
      std::vector<std::int64_t> order =
          epoch_order(train_.rows, settings_.seed, static_cast<std::uint32_t>(epoch_));
      // Once a round has stopped its number of steps stands still, maybe at a short last batch,
      // while whole ones are still enqueued, to no effect: they must find rows that are there.
      order.resize(static_cast<std::size_t>(order_.size()), 0);
      backend_.upload(order_.data(), order.data(), order_.bytes());
    }
  }
  if (!has_images_) return;
  if (settings_.batch == 0 && !moves_images() && train_.rows <= settings_.at_once) {
    slice(Part::kTrain, 0, train_.rows);
  } else {
    held_rows_ = 0;  // the step's own images take the place of a slice
  }
}

Batch DeviceData::batch(std::int64_t step, std::int64_t first, std::int64_t rows,
                        const ProxPlan* plan) {
  const StepRows of_step{plan, step, settings_.batch, steps_an_epoch(train_.rows, settings_.batch)};
  if (settings_.batch == 0) {
    if (!has_images_ || !moves_images()) return slice(Part::kTrain, first, rows);
    gather_images(train_, first, nullptr, rows, &of_step);
    const std::int64_t outputs_before = first * outputs_;
    return {rows, images_.data(),
            settings_.labels ? nullptr : train_.targets.data() + outputs_before,
            settings_.labels ? train_.labels.data() + first : nullptr};
  }
  prepare(step);
  const std::int64_t* index = order_.data() + first;
  const auto row_bytes = [](std::int64_t elements) {
    return static_cast<std::size_t>(elements) * 4;
  };
  if (has_images_) {
    gather_images(train_, 0, index, rows, &of_step);
  } else {
    backend_.gather_rows(batch_inputs_.data(), train_.inputs.data(), index, rows,
                         row_bytes(features_), of_step);
  }
  if (settings_.labels) {
    backend_.gather_rows(batch_labels_.data(), train_.labels.data(), index, rows, row_bytes(1),
                         of_step);
  } else {
    backend_.gather_rows(batch_targets_.data(), train_.targets.data(), index, rows,
                         row_bytes(outputs_), of_step);
  }
  return {rows, has_images_ ? images_.data() : batch_inputs_.data(), batch_targets_.data(),
          batch_labels_.data()};
}

Batch DeviceData::slice(Part part, std::int64_t first, std::int64_t rows) {
  const Resident& from = of(part);
  Batch batch;
  batch.rows = rows;
  if (has_images_) {
    if (held_part_ != part || held_first_ != first || held_rows_ != rows) {
      gather_images(from, first, nullptr, rows, nullptr);
      held_part_ = part;
      held_first_ = first;
      held_rows_ = rows;
    }
    batch.inputs = images_.data();
  } else {
    batch.inputs = from.inputs.data() + first * features_;
  }
  if (settings_.labels) {
    batch.labels = from.labels.data() + first;
  } else {
    batch.targets = from.targets.data() + first * outputs_;
  }
  return batch;
}

}  // namespace cuthresh::train
