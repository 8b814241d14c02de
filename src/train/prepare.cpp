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

std::string join(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

void check_target(const std::string& key, std::int64_t target, std::int64_t numel,
                  const std::string& of) {
  if (target > numel) {
    throw InputError(
        {key, "target above the " + std::to_string(numel) + " penalised weights of " + of,
         std::to_string(target), "choose a target from 0 to " + std::to_string(numel)});
  }
}

/// Scale and shift of a normalisation are no weights: only a pattern that says so takes them in.
bool penalises(const std::string& pattern, const nn::Parameter& p) {
  const bool norm = p.role == nn::Role::kNormScale || p.role == nn::Role::kNormShift;
  return nn::matches_pattern(p.name, pattern) && (!norm || pattern.starts_with("bn"));
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

std::vector<float> Task::plan_lambda(const std::vector<float>& lambda) const {
  std::vector<float> all;
  for (const PenalisedLayer& layer : layers) {
    all.push_back(layer.search_group < 0 ? 0.0f
                                         : lambda[static_cast<std::size_t>(layer.search_group)]);
  }
  return all;
}

std::vector<float> Task::search_lambda(const std::vector<float>& plan) const {
  std::vector<float> all(static_cast<std::size_t>(search_groups), 0.0f);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::int32_t group = layers[i].search_group;
    if (group >= 0) all[static_cast<std::size_t>(group)] = plan[i];
  }
  return all;
}

std::vector<std::int64_t> Task::search_counts(const std::vector<std::uint64_t>& nnz) const {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(search_groups), 0);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::int32_t group = layers[i].search_group;
    if (group >= 0) counts[static_cast<std::size_t>(group)] += static_cast<std::int64_t>(nnz[i]);
  }
  return counts;
}

std::optional<std::int64_t> Task::target_total() const {
  if (targets.empty()) return std::nullopt;
  return std::accumulate(targets.begin(), targets.end(), std::int64_t{0});
}

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

Task make_task(const FitConfig& config, const std::vector<nn::Parameter>& parameters) {
  Task task;
  const SparsityConfig& sparsity = config.sparsity;
  std::vector<std::string> names;
  for (const nn::Parameter& p : parameters) {
    if (p.trained()) names.push_back(p.name);
  }
  for (const std::string& pattern : sparsity.penalise) {
    if (std::none_of(parameters.begin(), parameters.end(),
                     [&](const auto& p) { return p.trained() && penalises(pattern, p); })) {
      throw InputError({"sparsity.penalise", "no parameter has such a name", pattern,
                        "use a pattern that fits one of " + join(names)});
    }
  }
  std::int64_t numel = 0;
  task.groups.assign(parameters.size(), -1);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const nn::Parameter& p = parameters[i];
    if (!p.trained() || std::none_of(sparsity.penalise.begin(), sparsity.penalise.end(),
                                     [&](const auto& pattern) { return penalises(pattern, p); })) {
      continue;
    }
    task.groups[i] = static_cast<std::int32_t>(task.layers.size());
    task.layers.push_back({i, p.role == nn::Role::kWeight ? p.layer : p.name, p.numel, -1});
    numel += p.numel;
  }
  if (task.layers.empty()) {
    throw InputError({"sparsity.penalise", "no parameter is penalised", "an empty list",
                      "name one, e.g. \"*.weight\""});
  }

  if (sparsity.layers.empty()) {
    for (PenalisedLayer& layer : task.layers) layer.search_group = 0;
    task.search_groups = 1;
    task.required = 1;
    if (sparsity.target_nnz) {
      check_target("sparsity.target_nnz", *sparsity.target_nnz, numel, "the network");
      task.targets = {*sparsity.target_nnz};
    } else if (sparsity.target_sparsity) {
      task.targets = {std::llround((1.0 - *sparsity.target_sparsity) * static_cast<double>(numel))};
    }
    return task;
  }

  std::vector<std::string> penalised;
  for (const PenalisedLayer& layer : task.layers) penalised.push_back(layer.name);
  task.search_groups = 0;
  std::map<std::string, std::int64_t> wanted = sparsity.layers;
  for (PenalisedLayer& layer : task.layers) {
    auto found = wanted.find(layer.name);
    if (found == wanted.end()) found = wanted.find(parameters[layer.parameter].name);
    if (found == wanted.end()) {
      task.notes.push_back("layer " + layer.name +
                           " has no target in [sparsity.layers]: its λ is 0");
      continue;
    }
    check_target("sparsity.layers." + found->first, found->second, layer.numel,
                 "layer " + layer.name);
    layer.search_group = static_cast<std::int32_t>(task.search_groups++);
    task.targets.push_back(found->second);
    wanted.erase(found);
  }
  if (!wanted.empty()) {
    throw InputError({"sparsity.layers." + wanted.begin()->first,
                      "no penalised layer has this name", wanted.begin()->first,
                      "use one of " + join(penalised)});
  }
  task.required = sparsity.layers_required == 0 ? task.search_groups : sparsity.layers_required;
  return task;
}

StopRule stop_rule(const FitConfig& config, const Task& task) {
  StopRule rule;
  if (config.search.method == "fixed" || config.search.stop != "first-hit" || task.targets.empty())
    return rule;
  rule.after = config.search.first_hit_after;
  const double tolerance = config.sparsity.tolerance;
  if (config.sparsity.layers.empty()) {
    rule.bands = {search::make_band(task.targets.front(), tolerance)};
    rule.required = 1;
    return rule;
  }
  rule.required = static_cast<std::int32_t>(task.required);
  for (const PenalisedLayer& layer : task.layers) {
    if (layer.search_group >= 0) {
      rule.bands.push_back(
          search::make_band(task.targets[static_cast<std::size_t>(layer.search_group)], tolerance));
    } else {  // no target of its own: always met, so that only the others decide
      rule.bands.push_back({0, std::numeric_limits<std::uint64_t>::max()});
      ++rule.required;
    }
  }
  return rule;
}

namespace {

/// The sum of the ramp's learning rates.
double ramp_way(const FitConfig& config, const ControlRule& rule) {
  const Schedule schedule = make_schedule(config.train);
  double way = 0.0;
  for (std::int64_t i = rule.ramp_begin; i < rule.ramp_end; ++i) {
    way += schedule.at(i, config.train.steps);
  }
  return way;
}

search::RunSchedule run_schedule(const FitConfig& config) {
  const SearchConfig& c = config.search;
  search::RunNames names;
  names.steps = "train.steps";
  names.ramp_begin = names.ramp_end = "search.ramp";
  names.finish = "search.finish";
  names.debias = "search.debias";
  names.integral_gain = "search.integral_gain";
  names.proportional_gain = "search.proportional_gain";
  return search::make_run_schedule(
      config.train.steps,
      {c.ramp[0], c.ramp[1], c.finish, c.debias, c.integral_gain, c.proportional_gain}, 0, names);
}

}  // namespace

ControlledRun controlled_run(const FitConfig& config, const Task& task,
                             const std::vector<nn::Parameter>& parameters) {
  ControlledRun run;
  run.schedule = run_schedule(config);
  const double way = ramp_way(config, run.schedule.rule);
  for (std::int64_t group = 0; group < task.search_groups; ++group) {
    ControlTarget target;
    if (task.targets[static_cast<std::size_t>(group)] == 0) {
      throw InputError({!config.sparsity.layers.empty() ? "sparsity.layers" : "sparsity.target_nnz",
                        "a target of 0 weights leaves nothing of the layer to train", "0",
                        "keep at least 1, or leave the layer out of the network"});
    }
    target.target = static_cast<std::uint64_t>(task.targets[static_cast<std::size_t>(group)]);
    double bounds = 0.0;
    double numel = 0.0;
    for (std::size_t i = 0; i < task.layers.size(); ++i) {
      const PenalisedLayer& layer = task.layers[i];
      if (layer.search_group != group) continue;
      target.groups.push_back(static_cast<std::int32_t>(i));
      const auto fan_in = static_cast<double>(parameters[layer.parameter].fan_in);
      bounds += static_cast<double>(layer.numel) / std::sqrt(std::max(1.0, fan_in));
      numel += static_cast<double>(layer.numel);
    }
    const std::vector<double>& given = config.search.lambda;
    target.lambda = given.empty()
                        ? search::first_lambda(
                              bounds / numel, 1.0 - static_cast<double>(target.target) / numel, way)
                        : static_cast<float>(given.front());
    run.targets.push_back(std::move(target));
  }
  return run;
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
    backend.upload(parameters.initial(i), tensor.values.data(),
                   tensor.values.size() * sizeof(float));
  }
  parameters.restore_initial();
  parameters.keep_as_best();
}

}  // namespace cuthresh::train
