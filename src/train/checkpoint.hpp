#pragma once

// A controlled training that is to be gone on with: run.out + ".checkpoint", one safetensors file,
// written atomically.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cuthresh/config.hpp"
#include "cuthresh/data.hpp"
#include "cuthresh/fit.hpp"
#include "nn/parameters.hpp"
#include "train/trainer.hpp"

namespace cuthresh::train {

/// What must be the same for a training to go on, but for the configuration.
struct TrainedOn {
  std::string layout;      ///< names and shapes of the parameters
  std::uint64_t data = 0;  ///< fingerprint of the rows
  bool operator==(const TrainedOn&) const = default;
};
TrainedOn trained_on(const std::vector<nn::Parameter>& parameters, const DataSplit& data);

struct Checkpoint {
  TrainedOn on;
  std::string config;  ///< TOML
  TrainerState state;
  std::string history;              ///< history.csv so far
  double seconds = 0.0;             ///< since the run began
  std::uint64_t bytes_to_host = 0;  ///< so far
  std::uint64_t bytes_to_host_search = 0;
  std::optional<NetworkScores> before_debias;
};

std::string checkpoint_path(const FitConfig& config);
void write_checkpoint(const std::string& path, const Checkpoint& checkpoint);
/// Throws InputError for what is no checkpoint of this version, or a damaged one.
Checkpoint read_checkpoint(const std::string& path);

/// Throws InputError, naming what differs, where a training of `config` on `on` cannot go on from
/// `checkpoint`. Gives notes on targets that have changed, which they may before the largest
/// weights are chosen: after step `finish_at`.
std::vector<std::string> check_checkpoint(const std::string& path, const Checkpoint& checkpoint,
                                          const FitConfig& config, const TrainedOn& on,
                                          std::int64_t finish_at);

}  // namespace cuthresh::train
