#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.hpp"
#include "cuthresh/config.hpp"
#include "cuthresh/data.hpp"
#include "nn/network.hpp"
#include "search/search.hpp"
#include "train/trainer.hpp"

namespace cuthresh::train {

/// One penalised parameter: a group of the plan.
struct PenalisedLayer {
  std::size_t parameter = 0;  ///< index in the network's list
  std::string name;           ///< "fc1"; "fc1.bias" for a bias that a pattern took in
  std::int64_t numel = 0;
  std::int32_t search_group = -1;  ///< which of the search's λ it follows; −1: none, its λ is 0
};

/// What is to be found: everything in the configuration that needs the network's shape to be
/// understood.
struct Task {
  std::vector<std::int32_t> groups;    ///< for each parameter its plan group, or −1
  std::vector<PenalisedLayer> layers;  ///< a plan group each
  std::vector<std::int64_t> targets;   ///< a search group each; empty: nothing to meet
  std::int64_t search_groups = 1;
  std::int64_t required = 0;       ///< search groups that must meet their target
  std::vector<std::string> notes;  ///< what the user should know

  /// λ of the search (one a search group) as λ of the plan (one a penalised parameter).
  std::vector<float> plan_lambda(const std::vector<float>& lambda) const;
  /// The reverse: of each search group's layers λ is the same.
  std::vector<float> search_lambda(const std::vector<float>& plan) const;
  /// Counts of the plan as counts of the search; those of layers without a target go nowhere.
  std::vector<std::int64_t> search_counts(const std::vector<std::uint64_t>& nnz) const;
  /// The sum of the targets; none when there are none.
  std::optional<std::int64_t> target_total() const;
};

DataSplit load_data(const DataConfig& config, std::uint64_t seed);
/// Throws InputError when the data do not fit the network, which has so many outputs, or the loss.
void check_data(const DataSplit& data, const FitConfig& config, std::int64_t outputs);

/// Throws InputError, with the room's reason, when the device lacks an operation that the run
/// needs.
void check_operations(const Backend& backend, const FitConfig& config, const nn::Graph& graph);

/// The network for these data. Throws InputError when its description has a fault.
nn::NetworkSpec model_spec(const FitConfig& config, const DataSplit& data);
nn::Initialisation initialisation(const ModelConfig& config);
LossKind loss_kind(const TrainConfig& config);
StepKind step_kind(const TrainConfig& config);
Schedule make_schedule(const TrainConfig& config);

/// The configuration with train.epochs, where given, as train.steps: a round of e epochs has
/// e·⌈rows/batch⌉ steps. Throws InputError when another key does not fit that number.
FitConfig in_steps(const FitConfig& config, std::int64_t train_rows);

/// Selects the penalised parameters and turns counts, fractions and per-layer targets into
/// Task::targets.
Task make_task(const FitConfig& config, const std::vector<nn::Parameter>& parameters);

/// When a round ends early: by count with stop = "first-hit", never with "converged", "fixed" or
/// without a target.
StopRule stop_rule(const FitConfig& config, const Task& task);

/// The phases and gains of search.method = "one-run", shares of the steps turned into steps. Throws
/// InputError when there are too few of them.
ControlledRun controlled_run(const FitConfig& config, const Task& task,
                             const std::vector<nn::Parameter>& parameters);

/// Reads initial weights from a safetensors file; every parameter must be there, with its shape,
/// and no other.
void load_initial(Backend& backend, nn::Parameters& parameters, const std::string& path);

}  // namespace cuthresh::train
