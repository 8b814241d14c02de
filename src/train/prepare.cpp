#include "train/prepare.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "cuthresh/error.hpp"
#include "cuthresh/model_file.hpp"
#include "nn/activation_names.hpp"
#include "nn/presets.hpp"
#include "train/batches.hpp"

namespace cuthresh::train {
namespace {

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i)
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

/// The key that says how many outputs the network has.
std::string outputs_key(const FitConfig& config) {
  if (config.model.kind == "mlp") return "model.widths";
  return config.model.kind == "layers" ? "model.layers" : "model.classes";
}

void check_part(const Dataset& data, const FitConfig& config, std::int64_t outputs,
                const std::string& part) {
  const std::vector<std::int64_t>& widths = config.model.widths;
  if (config.model.kind == "mlp" && data.features != widths.front()) {
    throw InputError({"model.widths",
                      "the first width must be the number of inputs of the " + part + " data (" +
                          data.source + "), " + std::to_string(data.features),
                      std::to_string(widths.front()),
                      "set widths = [" + std::to_string(data.features) + ", …]"});
  }
  if (config.train.loss == "mse") {
    if (data.outputs != outputs) {
      throw InputError(
          {outputs_key(config),
           "with loss mse the network must end in as many outputs as the " + part + " data (" +
               data.source + ") have targets, " + std::to_string(data.outputs),
           std::to_string(outputs), "end it in " + std::to_string(data.outputs) + " outputs"});
    }
    return;
  }
  if (data.outputs != 1) {
    throw InputError(
        {data.source, "cross-entropy wants one column of class labels in the " + part + " data",
         std::to_string(data.outputs) + " columns", "name one target column, or use loss mse"});
  }
  for (std::int64_t row = 0; row < data.rows; ++row) {
    const float label = data.targets[static_cast<std::size_t>(row)];
    if (label != std::floor(label) || label < 0.0f || label >= static_cast<float>(outputs)) {
      throw InputError(
          {data.source + ", " + part + " row " + std::to_string(row + 1),
           "cross-entropy wants whole class labels from 0 to " + std::to_string(outputs - 1) +
               " (the network's outputs, minus one; " + outputs_key(config) + ")",
           std::to_string(label), "renumber the classes, widen the last layer, or use loss mse"});
    }
  }
}

ImageShape input_shape(const Dataset& data) {
  if (data.has_images()) return {data.height, data.width, data.channels};
  return {1, 1, data.features};
}

/// Classes, as the data say or by the largest label; with other losses columns to learn.
std::int64_t outputs_wanted(const DataSplit& data, const FitConfig& config) {
  if (config.train.loss == "mse") return data.train.outputs;
  if (data.train.classes > 0) return data.train.classes;
  // A label beyond this is a measurement, not a class, and would ask for a layer of that width.
  constexpr float kMostClasses = 65536.0f;
  float largest = 1.0f;
  for (const Dataset* part : {&data.train, &data.test}) {
    for (const float label : part->targets) largest = std::max(largest, label);
  }
  if (!(largest < kMostClasses)) {
    throw InputError({data.train.source, "cross-entropy wants class labels below 65536",
                      std::to_string(largest), "renumber the classes, or use loss mse"});
  }
  return static_cast<std::int64_t>(largest) + 1;
}

}  // namespace

void check_data(const DataSplit& data, const FitConfig& config, std::int64_t outputs) {
  check_part(data.train, config, outputs, "training");
  if (data.test.rows > 0) check_part(data.test, config, outputs, "test");
  if (config.train.batch > data.train.rows) {
    throw InputError({"train.batch",
                      "larger than the " + std::to_string(data.train.rows) + " training rows",
                      std::to_string(config.train.batch), "use a smaller batch or \"full\""});
  }
}

void check_operations(const Backend& backend, const FitConfig& config, const nn::Graph& graph) {
  std::vector<Operation> needed = {Operation::kProxStep, Operation::kKkt};
  for (const nn::Node& node : graph.nodes) {
    if (node.kind == nn::NodeKind::kConv) needed.push_back(Operation::kConv);
    if (node.kind == nn::NodeKind::kDense) needed.push_back(Operation::kDense);
    if (node.kind == nn::NodeKind::kPool) needed.push_back(Operation::kPool);
    if (node.kind == nn::NodeKind::kBatchNorm) needed.push_back(Operation::kBatchNorm);
    if (node.kind == nn::NodeKind::kDropout) needed.push_back(Operation::kDropout);
  }
  if (config.train.momentum > 0.0) needed.push_back(Operation::kMomentum);
  needed.push_back(loss_kind(config.train) == LossKind::kMse ? Operation::kMse
                                                             : Operation::kSoftmaxCrossEntropy);
  const std::string& method = config.search.method;
  const bool bracket_found = method != "fixed" && config.search.lambda.empty();
  if (method == "gradient-median" || method == "one-run" || bracket_found)
    needed.push_back(Operation::kSelect);
  if (config.data.has_images()) needed.push_back(Operation::kImages);
  for (const Operation operation : needed) {
    const std::string reason = backend.unsupported(operation);
    if (reason.empty()) continue;
    throw InputError({"run.device", "this device cannot do what the run needs: " + reason,
                      backend.description(), "use device = \"cpu\""});
  }
  const std::string no_graph = backend.unsupported(Operation::kGraph);
  if (execution(config.run) == Execution::kGraph && !no_graph.empty()) {
    throw InputError({"run.execution", "this device takes no captured steps: " + no_graph,
                      config.run.execution, "use execution = \"auto\""});
  }
  const std::string no_fused = backend.unsupported(Operation::kSmallNetwork);
  if (execution(config.run) == Execution::kFused && !no_fused.empty()) {
    throw InputError({"run.execution", "this device takes no fused steps: " + no_fused,
                      config.run.execution, "use execution = \"auto\""});
  }
}

BackendOptions backend_options(const FitConfig& config) {
  BackendOptions options{config.run.device, config.run.engine, config.run.threads,
                         config.run.precision};
  options.rooms = config.search.parallel;
  return options;
}

ChosenBackend choose_backend(const FitConfig& config, const nn::Graph& graph) {
  ChosenBackend chosen = make_backend(backend_options(config));
  check_operations(*chosen.backend, config, graph);
  if (config.search.parallel > 1) {
    chosen.why += "; a room of its own for each of " + std::to_string(config.search.parallel) +
                  " trainings at the same time";
  }
  return chosen;
}

nn::NetworkSpec model_spec(const FitConfig& config, const DataSplit& data) {
  const ModelConfig& m = config.model;
  const auto activation = nn::activation_from_name(m.activation);
  if (!activation) {
    throw InputError({"model.activation", "unknown activation", m.activation,
                      "use identity, relu, leaky-relu, tanh, sigmoid, gelu or silu"});
  }
  const auto slope = static_cast<float>(m.leaky_slope);
  nn::NetworkSpec spec;
  if (m.kind == "mlp") {
    spec = nn::MlpSpec{m.widths, *activation, slope};
  } else if (m.kind == "layers") {
    spec.layers = nn::parse_layers(m.layers);
  } else {
    const std::int64_t outputs = m.classes > 0 ? m.classes : outputs_wanted(data, config);
    const auto lines = nn::preset_layers(m.kind, m.activation, outputs);
    if (!lines) {
      throw InputError({"model.kind", "unknown model", m.kind,
                        "use mlp, layers, cnn-paper, lenet5 or resnet20"});
    }
    spec.layers = nn::parse_layers(*lines);
  }
  spec.leaky_slope = slope;
  spec.input = input_shape(data.train);
  return spec;
}

nn::Initialisation initialisation(const ModelConfig& config) {
  if (config.init == "he") return nn::Initialisation::kHe;
  return config.init == "glorot" ? nn::Initialisation::kGlorot : nn::Initialisation::kPytorch;
}

LossKind loss_kind(const TrainConfig& config) {
  return config.loss == "mse" ? LossKind::kMse : LossKind::kCrossEntropy;
}

StepKind step_kind(const TrainConfig& config) {
  if (config.momentum == 0.0) return StepKind::kPlain;
  return config.nesterov ? StepKind::kNesterov : StepKind::kMomentum;
}

Execution execution(const RunConfig& config) {
  if (config.execution == "plain") return Execution::kPlain;
  if (config.execution == "graph") return Execution::kGraph;
  return config.execution == "fused" ? Execution::kFused : Execution::kAuto;
}

Schedule make_schedule(const TrainConfig& config) {
  Schedule schedule;
  if (config.schedule == "step") schedule.kind = ScheduleKind::kStep;
  if (config.schedule == "cosine") schedule.kind = ScheduleKind::kCosine;
  schedule.learning_rate = config.learning_rate;
  schedule.warmup = config.warmup;
  schedule.decay_every = std::max<std::int64_t>(1, config.decay_every);
  schedule.decay_factor = config.decay_factor;
  schedule.final_learning_rate = config.final_learning_rate;
  return schedule;
}

FitConfig in_steps(const FitConfig& config, std::int64_t train_rows) {
  if (config.train.epochs == 0) return config;
  FitConfig resolved = config;
  TrainConfig& train = resolved.train;
  const std::int64_t an_epoch = steps_an_epoch(train_rows, train.batch);
  // No more steps than train.steps may say.
  constexpr std::int64_t kMost = 1'000'000'000'000;
  if (an_epoch > 0 && train.epochs > kMost / an_epoch) {
    throw InputError(
        {"train.epochs",
         "more than 10^12 steps of a round, at " + std::to_string(an_epoch) + " steps an epoch",
         std::to_string(train.epochs), "take a smaller number"});
  }
  train.steps = train.epochs * an_epoch;
  train.epochs = 0;
  validate(resolved);
  return resolved;
}

void load_initial(Backend& backend, nn::Parameters& parameters, const std::string& path) {
  const ModelFile file = read_safetensors(path);
  const std::vector<nn::Parameter>& list = parameters.list();
  std::map<std::string, const NamedTensor*> found;
  for (const NamedTensor& tensor : file.tensors) {
    if (std::none_of(list.begin(), list.end(),
                     [&](const auto& p) { return p.name == tensor.name; })) {
      throw InputError({path, "holds a tensor that the network does not have", tensor.name,
                        "remove it, or change model.widths to the network it belongs to"});
    }
    found[tensor.name] = &tensor;
  }
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto at = found.find(list[i].name);
    if (at == found.end()) {
      throw InputError(
          {path, "lacks the tensor " + list[i].name + " of shape " + shape_text(list[i].shape), "",
           "give a file with every parameter of the network"});
    }
    const NamedTensor& tensor = *at->second;
    if (tensor.shape != list[i].shape) {
      throw InputError(
          {path, "tensor " + tensor.name + " must have the shape " + shape_text(list[i].shape),
           shape_text(tensor.shape), "give weights of this network, or change model.widths"});
    }
    for (std::size_t e = 0; e < tensor.values.size(); ++e) {
      if (!std::isfinite(tensor.values[e])) {
        throw InputError(
            {path, "tensor " + tensor.name + " has a non-finite element " + std::to_string(e),
             std::to_string(tensor.values[e]), "give finite initial weights"});
      }
    }
    backend.upload(parameters.value(i), tensor.values.data(), tensor.values.size() * sizeof(float));
  }
  parameters.initialise_here();
}

}  // namespace cuthresh::train
