#include "train/device_data.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "train/batches.hpp"

namespace cuthresh::train {

DeviceData::DeviceData(Backend& backend, const DataSplit& data, const BatchSettings& settings)
    : backend_(backend),
      settings_(settings),
      features_(data.train.features),
      outputs_(data.train.outputs),
      train_(upload(data.train)),
      test_(upload(data.test)) {
  if (settings.batch == 0) return;
  order_ = Array<std::int64_t>(backend, train_.rows);
  batch_inputs_ = Array<float>(backend, settings.batch * features_);
  if (settings.labels) {
    batch_labels_ = Array<std::int32_t>(backend, settings.batch);
  } else {
    batch_targets_ = Array<float>(backend, settings.batch * outputs_);
  }
}

DeviceData::Resident DeviceData::upload(const Dataset& data) const {
  Resident device;
  device.rows = data.rows;
  device.inputs = Array<float>(backend_, data.inputs);
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

Batch DeviceData::batch(std::int64_t step) {
  if (settings_.batch == 0) return slice(Part::kTrain, 0, train_.rows);
  const std::int64_t an_epoch = (train_.rows + settings_.batch - 1) / settings_.batch;
  if (step / an_epoch != epoch_) {
    epoch_ = step / an_epoch;
    const std::vector<std::int64_t> order =
        epoch_order(train_.rows, settings_.seed, static_cast<std::uint32_t>(epoch_));
    backend_.upload(order_.data(), order.data(), order_.bytes());
  }
  const std::int64_t first = step % an_epoch * settings_.batch;
  const std::int64_t rows = std::min(settings_.batch, train_.rows - first);
  const std::int64_t* index = order_.data() + first;
  const auto row_bytes = [](std::int64_t elements) {
    return static_cast<std::size_t>(elements) * 4;
  };
  backend_.gather_rows(batch_inputs_.data(), train_.inputs.data(), index, rows,
                       row_bytes(features_));
  if (settings_.labels) {
    backend_.gather_rows(batch_labels_.data(), train_.labels.data(), index, rows, row_bytes(1));
  } else {
    backend_.gather_rows(batch_targets_.data(), train_.targets.data(), index, rows,
                         row_bytes(outputs_));
  }
  return {rows, batch_inputs_.data(), batch_targets_.data(), batch_labels_.data()};
}

Batch DeviceData::slice(Part part, std::int64_t first, std::int64_t rows) {
  const Resident& from = of(part);
  Batch batch;
  batch.rows = rows;
  batch.inputs = from.inputs.data() + first * features_;
  if (settings_.labels) {
    batch.labels = from.labels.data() + first;
  } else {
    batch.targets = from.targets.data() + first * outputs_;
  }
  return batch;
}

}  // namespace cuthresh::train
