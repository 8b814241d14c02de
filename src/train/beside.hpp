#pragma once

#include <cstdint>
#include <span>

#include "core/registry.hpp"
#include "nn/network.hpp"
#include "train/trainer.hpp"

namespace cuthresh::train {

/// A room, a network and a trainer beside those of a run, for another training at the same time.
/// The rows of data are the run's own.
struct Beside {
  /// Throws InternalError where `options` give another room than the run has.
  Beside(const BackendOptions& options, const Backend& first, const nn::Network& network_of_run,
         const DataSplit& data, const TrainerSettings& settings,
         std::span<const std::int32_t> groups, Trainer& twin);

  ChosenBackend chosen;
  nn::Network network;
  Trainer trainer;
};

}  // namespace cuthresh::train
