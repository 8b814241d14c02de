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

/// The network that fit(config) would train, in the order of its layers; the first row is the
/// input. Reads the data, which fix the input's shape and the number of classes. Throws InputError.
CTH_API std::vector<LayerRow> describe_model(const FitConfig& config);

}  // namespace cuthresh
