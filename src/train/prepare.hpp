#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/registry.hpp"
#include "cuthresh/config.hpp"
#include "cuthresh/data.hpp"
#include "nn/network.hpp"
#include "train/trainer.hpp"

namespace cuthresh::train {

DataSplit load_data(const DataConfig& config, std::uint64_t seed);
/// Throws InputError when the data do not fit the network, which has so many outputs, or the loss.
void check_data(const DataSplit& data, const FitConfig& config, std::int64_t outputs);

/// Throws InputError, with the room's reason, when the device lacks an operation that the run
/// needs.
void check_operations(const Backend& backend, const FitConfig& config, const nn::Graph& graph);
/// Of each room that the run needs.
BackendOptions backend_options(const FitConfig& config);
/// The first of them. Throws InputError where there is none, and as check_operations() does.
ChosenBackend choose_backend(const FitConfig& config, const nn::Graph& graph);

/// The network for these data. Throws InputError when its description has a fault.
nn::NetworkSpec model_spec(const FitConfig& config, const DataSplit& data);
nn::Initialisation initialisation(const ModelConfig& config);
LossKind loss_kind(const TrainConfig& config);
StepKind step_kind(const TrainConfig& config);
Schedule make_schedule(const TrainConfig& config);
Execution execution(const RunConfig& config);

/// The configuration with train.epochs, where given, as train.steps: a round of e epochs has
/// e·⌈rows/batch⌉ steps. Throws InputError when another key does not fit that number.
FitConfig in_steps(const FitConfig& config, std::int64_t train_rows);

/// Reads initial weights from a safetensors file; every parameter must be there, with its shape,
/// and no other.
void load_initial(Backend& backend, nn::Parameters& parameters, const std::string& path);

}  // namespace cuthresh::train
