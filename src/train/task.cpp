#include "train/task.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "config/layer_names.hpp"
#include "cuthresh/error.hpp"
#include "nn/presets.hpp"
#include "search/allocation.hpp"
#include "search/search.hpp"

namespace cuthresh::train {
namespace {

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

void add_penalised(Task& task, const SparsityConfig& sparsity,
                   const std::vector<nn::Parameter>& parameters) {
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
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const nn::Parameter& p = parameters[i];
    if (!p.trained() || std::none_of(sparsity.penalise.begin(), sparsity.penalise.end(),
                                     [&](const auto& pattern) { return penalises(pattern, p); })) {
      continue;
    }
    const std::string& name = p.role == nn::Role::kWeight ? p.layer : p.name;
    task.layers.push_back({i, name, p.numel, -1, 0, p.numel});
  }
  if (task.layers.empty()) {
    throw InputError({"sparsity.penalise", "no parameter is penalised", "an empty list",
                      "name one, e.g. \"*.weight\""});
  }
}

/// The penalised layer of this name, which may also be its parameter's.
std::size_t find_layer(const Task& task, const std::vector<nn::Parameter>& parameters,
                       const std::string& name, const std::string& key) {
  std::vector<std::string> penalised;
  for (std::size_t i = 0; i < task.layers.size(); ++i) {
    const PenalisedLayer& layer = task.layers[i];
    if (layer.name == name || parameters[layer.parameter].name == name) return i;
    penalised.push_back(layer.name);
  }
  throw InputError(
      {key, "no penalised layer has this name", name, "use one of " + join(penalised)});
}

std::int64_t weights_of(const Task& task, const SearchGroup& group) {
  std::int64_t numel = 0;
  for (const std::size_t i : group.layers) numel += task.layers[i].numel;
  return numel;
}

/// One group of all layers; its target, if there is one.
void target_in_all(Task& task, const SparsityConfig& sparsity) {
  task.search_groups.emplace_back();
  for (std::size_t i = 0; i < task.layers.size(); ++i) task.search_groups[0].layers.push_back(i);
  const std::int64_t numel = weights_of(task, task.search_groups[0]);
  if (sparsity.target_nnz) {
    check_target("sparsity.target_nnz", *sparsity.target_nnz, numel, "the network");
    task.targets = {*sparsity.target_nnz};
  } else if (sparsity.target_sparsity) {
    task.targets = {std::llround((1.0 - *sparsity.target_sparsity) * static_cast<double>(numel))};
  }
}

/// [sparsity.layers]: groups in the order of their first layers.
void targets_by_layer(Task& task, const SparsityConfig& sparsity,
                      const std::vector<nn::Parameter>& parameters) {
  task.layerwise = true;
  std::vector<std::pair<SearchGroup, std::int64_t>> groups;
  std::vector<bool> named(task.layers.size(), false);
  for (const auto& [key, target] : sparsity.layers) {
    const std::string path = "sparsity.layers." + key;
    SearchGroup group;
    for (const std::string& name : config::split_layers(key)) {
      const std::size_t layer = find_layer(task, parameters, name, path);
      if (named[layer]) {
        throw InputError({path, "the layer has a target already", name, "name each layer once"});
      }
      named[layer] = true;
      group.layers.push_back(layer);
    }
    std::sort(group.layers.begin(), group.layers.end());
    for (const std::size_t i : group.layers)
      group.name += (group.name.empty() ? "" : ", ") + task.layers[i].name;
    check_target(path, target, weights_of(task, group),
                 (group.layers.size() > 1 ? "layers " : "layer ") + group.name);
    groups.emplace_back(std::move(group), target);
  }
  std::sort(groups.begin(), groups.end(), [](const auto& a, const auto& b) {
    return a.first.layers.front() < b.first.layers.front();
  });
  for (auto& [group, target] : groups) {
    task.search_groups.push_back(std::move(group));
    task.targets.push_back(target);
  }
  for (std::size_t i = 0; i < task.layers.size(); ++i) {
    if (named[i]) continue;
    task.notes.push_back("layer " + task.layers[i].name +
                         " has no target in [sparsity.layers]: its λ is 0");
  }
}

/// The one target of all layers, divided among them.
void allocate_target(Task& task, const SparsityConfig& sparsity,
                     const std::vector<nn::Parameter>& parameters) {
  const std::int64_t total = task.targets.front();
  const auto layers = static_cast<std::int64_t>(task.layers.size());
  if (total < layers) {
    throw InputError({"sparsity.allocation",
                      "gives each of the " + std::to_string(layers) +
                          " penalised layers at least one nonzero weight",
                      std::to_string(total) + " in all", "ask for more, or remove the key"});
  }
  std::vector<std::int64_t> sizes;
  std::vector<std::int64_t> extents;
  for (const PenalisedLayer& layer : task.layers) {
    const std::vector<std::int64_t>& shape = parameters[layer.parameter].shape;
    sizes.push_back(layer.numel);
    extents.push_back(std::accumulate(shape.begin(), shape.end(), std::int64_t{0}));
  }
  task.layerwise = true;
  task.search_groups.clear();
  task.targets.clear();
  const bool uniform = sparsity.allocation == "uniform";
  for (const std::uint64_t share :
       search::allocate(sizes, uniform ? sizes : extents, static_cast<std::uint64_t>(total))) {
    const std::size_t layer = task.search_groups.size();
    task.search_groups.push_back({task.layers[layer].name, {layer}});
    task.targets.push_back(static_cast<std::int64_t>(share));
  }
}

void set_bounds(Task& task, const SparsityConfig& sparsity,
                const std::vector<nn::Parameter>& parameters) {
  for (const auto& [name, bounds] : sparsity.bounds) {
    const std::string path = "sparsity.bounds." + name;
    PenalisedLayer& layer = task.layers[find_layer(task, parameters, name, path)];
    if (bounds[1] > layer.numel) {
      throw InputError({path, "the layer has only " + std::to_string(layer.numel) + " weights",
                        std::to_string(bounds[1]), "lower the upper bound"});
    }
    if (layer.search_group < 0 ||
        task.search_groups[static_cast<std::size_t>(layer.search_group)].layers.size() == 1) {
      throw InputError({path, "bounds are for layers that share a target with others", name,
                        "remove them, or name the layer together with others in "
                        "[sparsity.layers], as in \"fc1, fc2\" = 500"});
    }
    layer.least = bounds[0];
    layer.most = bounds[1];
  }
  for (std::size_t g = 0; g < task.targets.size(); ++g) {
    std::int64_t least = 0;
    std::int64_t most = 0;
    for (const std::size_t i : task.search_groups[g].layers) {
      least += task.layers[i].least;
      most += task.layers[i].most;
    }
    if (task.targets[g] >= least && task.targets[g] <= most) continue;
    const std::string& name = task.search_groups[g].name;
    throw InputError({"sparsity.bounds",
                      "allow from " + std::to_string(least) + " to " + std::to_string(most) +
                          " nonzero weights in " + (name.empty() ? "the network" : name),
                      "a target of " + std::to_string(task.targets[g]),
                      "widen the bounds, or ask for a number between them"});
  }
}

/// Which layers are one group of the plan.
void make_plan_groups(Task& task, bool retrains, std::size_t parameters) {
  task.groups.assign(parameters, -1);
  const bool merged = retrains && task.layerwise;
  if (merged) {
    for (std::size_t g = 0; g < task.search_groups.size(); ++g)
      task.search_group_of.push_back(static_cast<std::int32_t>(g));
  }
  for (const PenalisedLayer& layer : task.layers) {
    std::int32_t group = layer.search_group;
    if (!merged || group < 0) {
      group = static_cast<std::int32_t>(task.search_group_of.size());
      task.search_group_of.push_back(layer.search_group);
    }
    task.groups[layer.parameter] = group;
  }
}

}  // namespace

std::vector<float> Task::plan_lambda(const std::vector<float>& lambda) const {
  std::vector<float> all;
  for (const std::int32_t group : search_group_of)
    all.push_back(group < 0 ? 0.0f : lambda[static_cast<std::size_t>(group)]);
  return all;
}

std::vector<float> Task::layer_lambda(const std::vector<float>& lambda) const {
  std::vector<float> all;
  for (const PenalisedLayer& layer : layers) {
    all.push_back(layer.search_group < 0 ? 0.0f
                                         : lambda[static_cast<std::size_t>(layer.search_group)]);
  }
  return all;
}

std::vector<float> Task::search_lambda(const std::vector<float>& plan) const {
  std::vector<float> all(search_groups.size(), 0.0f);
  for (std::size_t i = 0; i < search_group_of.size(); ++i) {
    if (search_group_of[i] < 0) continue;
    float& own = all[static_cast<std::size_t>(search_group_of[i])];
    own = std::max(own, plan[i]);
  }
  return all;
}

std::vector<std::int64_t> Task::search_counts(const std::vector<std::uint64_t>& nnz) const {
  std::vector<std::int64_t> counts(search_groups.size(), 0);
  for (std::size_t i = 0; i < search_group_of.size(); ++i) {
    const std::int32_t group = search_group_of[i];
    if (group >= 0) counts[static_cast<std::size_t>(group)] += static_cast<std::int64_t>(nnz[i]);
  }
  return counts;
}

std::optional<std::int64_t> Task::target_total() const {
  if (targets.empty()) return std::nullopt;
  return std::accumulate(targets.begin(), targets.end(), std::int64_t{0});
}

bool Task::bounded(const SearchGroup& group) const {
  return std::any_of(group.layers.begin(), group.layers.end(),
                     [&](std::size_t i) { return layers[i].bounded(); });
}

Task make_task(const FitConfig& config, const std::vector<nn::Parameter>& parameters) {
  Task task;
  const SparsityConfig& sparsity = config.sparsity;
  add_penalised(task, sparsity, parameters);
  if (sparsity.layers.empty()) {
    target_in_all(task, sparsity);
    if (sparsity.allocation != "none") allocate_target(task, sparsity, parameters);
  } else {
    targets_by_layer(task, sparsity, parameters);
  }
  for (std::size_t g = 0; g < task.search_groups.size(); ++g) {
    for (const std::size_t i : task.search_groups[g].layers)
      task.layers[i].search_group = static_cast<std::int32_t>(g);
  }
  const auto groups = static_cast<std::int64_t>(task.search_groups.size());
  task.required = sparsity.layers_required == 0 ? groups : sparsity.layers_required;
  set_bounds(task, sparsity, parameters);
  make_plan_groups(task, config.search.method != "one-run", parameters.size());
  return task;
}

StopRule stop_rule(const FitConfig& config, const Task& task) {
  StopRule rule;
  if (config.search.method == "fixed" || config.search.stop != "first-hit" || task.targets.empty())
    return rule;
  rule.after = config.search.first_hit_after;
  const double tolerance = config.sparsity.tolerance;
  if (!task.layerwise) {
    rule.bands = {search::make_band(task.targets.front(), tolerance)};
    rule.required = 1;
    return rule;
  }
  rule.required = static_cast<std::int32_t>(task.required);
  for (const std::int32_t group : task.search_group_of) {
    if (group >= 0) {
      rule.bands.push_back(
          search::make_band(task.targets[static_cast<std::size_t>(group)], tolerance));
    } else {  // no target of its own: always met, so that only the others decide
      rule.bands.push_back({0, std::numeric_limits<std::uint64_t>::max()});
      ++rule.required;
    }
  }
  return rule;
}

}  // namespace cuthresh::train
