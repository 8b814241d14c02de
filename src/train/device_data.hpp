#pragma once

#include <cstdint>
#include <memory>

#include "backend/backend.hpp"
#include "core/array.hpp"
#include "cuthresh/data.hpp"

namespace cuthresh::train {

/// Rows as a network and its loss take them, on the device.
struct Batch {
  std::int64_t rows = 0;
  const float* inputs = nullptr;         ///< [rows, features]
  const float* targets = nullptr;        ///< [rows, outputs]; null with class labels
  const std::int32_t* labels = nullptr;  ///< [rows]; null without
};

/// What is asked of the rows.
struct BatchSettings {
  bool labels = false;       ///< the targets are class labels
  std::int64_t batch = 0;    ///< rows a training step; 0: all
  std::uint64_t seed = 0;    ///< of the order of rows in an epoch
  std::int64_t at_once = 0;  ///< most rows that are asked for in one slice
  std::int64_t crop = 0;     ///< images of a training step are moved by up to so many pixels
  bool flip = false;         ///< and every second one is mirrored, at random
  bool data_stay = false;    ///< the data outlive what is made of them
};

/// The training and the test rows, resident on the device, and the order in which steps take them.
/// Images stay bytes there; those asked for become floats in a buffer.
class DeviceData {
 public:
  enum class Part : std::uint8_t { kTrain, kTest };

  /// `twin`, on the same device: its rows, which no step changes, serve here as well. They must
  /// have arrived there.
  DeviceData(Backend& backend, const DataSplit& data, const BatchSettings& settings,
             const DeviceData* twin = nullptr);

  std::int64_t rows(Part part) const { return of(part).rows; }
  /// Rows that step `step` of a round trains on: all, or those of a batch, the last of an epoch
  /// being what is left.
  std::int64_t batch_rows(std::int64_t step) const;
  /// All that step `step` needs and its work does not make by itself: the order of its epoch, and a
  /// full batch of images that do not move. Before steps that are replayed.
  void prepare(std::int64_t step);
  /// `rows` of them from the `first` on, batches in the epoch's order. Valid until the next call.
  /// With a plan they are those of the step that it takes next, whose number `step` is: the work
  /// reads it where it is done.
  Batch batch(std::int64_t step, std::int64_t first, std::int64_t rows,
              const ProxPlan* plan = nullptr);
  Batch batch(std::int64_t step) { return batch(step, 0, batch_rows(step)); }
  /// The first step after `step` that needs prepare() anew: of another epoch.
  std::int64_t epoch_end(std::int64_t step) const;
  /// Rows [first, first + rows) as they are, for evaluation and full gradients. Valid until the
  /// next call.
  Batch slice(Part part, std::int64_t first, std::int64_t rows);

 private:
  struct Resident {
    std::int64_t rows = 0;
    Array<float> inputs;         // without images
    Array<std::uint8_t> pixels;  // with them
    Array<float> targets;        // without class labels
    Array<std::int32_t> labels;  // with them
  };

  /// Of step `step`'s batch, in the epoch's order.
  std::int64_t first_row(std::int64_t step) const;
  void prepare_images(const Dataset& train);
  bool moves_images() const { return settings_.crop > 0 || settings_.flip; }
  void gather_images(const Resident& from, std::int64_t first, const std::int64_t* index,
                     std::int64_t rows, const StepRows* of_step);
  struct Rows {
    Resident train;
    Resident test;
  };
  Resident upload(const Dataset& data) const;
  const Resident& of(Part part) const { return part == Part::kTrain ? train_ : test_; }

  Backend& backend_;
  BatchSettings settings_;
  std::int64_t features_;
  std::int64_t outputs_;
  std::shared_ptr<const Rows> rows_;
  const Resident& train_;
  const Resident& test_;

  // Images as floats, and which slice they are, so that a full batch is made once and not at every
  // step; no rows: none, or moved at random.
  ImageShape image_;
  bool has_images_ = false;
  Array<float> image_scale_;  // a channel
  Array<float> image_shift_;
  Array<float> images_;
  Part held_part_ = Part::kTrain;
  std::int64_t held_first_ = 0;
  std::int64_t held_rows_ = 0;

  // Mini-batches: the epoch's order and the gathered rows.
  std::int64_t epoch_ = -1;
  Array<std::int64_t> order_;  // filled up to whole batches
  Array<float> batch_inputs_;
  Array<float> batch_targets_;
  Array<std::int32_t> batch_labels_;
};

}  // namespace cuthresh::train
