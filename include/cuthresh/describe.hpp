#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cuthresh/config.hpp"
#include "cuthresh/export.hpp"

namespace cuthresh {

/// One step of a network's forward pass.
struct LayerRow {
  std::string name;                  ///< "conv1"; its tensors are "conv1.weight", "conv1.bias"
  std::string layer;                 ///< as the configuration writes it, "conv 32 3x3 pad 1 relu"
  std::vector<std::int64_t> output;  ///< a sample's shape: [channels, height, width] or [features]
  std::int64_t parameters = 0;       ///< trained numbers
  std::int64_t penalised = 0;        ///< those among them that the ℓ1 penalty is on
};

/// Penalised layers with one target and, if it is searched for, one λ.
struct TargetRow {
  std::string layers;               ///< "fc1", "fc2, fc3"; "" where it is all that are penalised
  std::int64_t weights = 0;         ///< in all of them
  std::int64_t nonzeros = 0;        ///< wanted
  std::vector<std::string> bounds;  ///< layers with bounds: "fc1: 100 to 650"
};

/// What fit(config) would train.
struct ModelDescription {
  std::vector<LayerRow> rows;      ///< in the order of the layers; the first row is the input
  std::vector<TargetRow> targets;  ///< none: nothing to meet
  std::string device;              ///< which one, and why; or why this machine has none for this
  std::string execution;  ///< how steps would reach it: "plain: …", "captured graph, …"; else empty
};

/// Reads the data, which fix the input's shape and the number of classes. Throws InputError.
CTH_API ModelDescription describe_model(const FitConfig& config);

}  // namespace cuthresh
