#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.hpp"
#include "cuthresh/config.hpp"
#include "nn/parameters.hpp"

namespace cuthresh::train {

/// One penalised parameter.
struct PenalisedLayer {
  std::size_t parameter = 0;  ///< index in the network's list
  std::string name;           ///< "fc1"; "fc1.bias" for a bias that a pattern took in
  std::int64_t numel = 0;
  std::int32_t search_group = -1;  ///< which of the search's λ it follows; −1: none, its λ is 0
  std::int64_t least = 0;          ///< "one-run": nonzeros that it is left with, at the least
  std::int64_t most = 0;           ///< and at the most: numel unless it has bounds

  bool bounded() const { return least > 0 || most < numel; }
};

/// Layers that share a λ and a target.
struct SearchGroup {
  std::string name;                 ///< "fc1", "fc2, fc3"; "" where it is all of them
  std::vector<std::size_t> layers;  ///< of Task::layers
};

/// What is to be found: everything in the configuration that needs the network's shape to be
/// understood.
struct Task {
  std::vector<PenalisedLayer> layers;
  std::vector<SearchGroup> search_groups;
  std::vector<std::int64_t> targets;  ///< a search group each; empty: nothing to meet
  bool layerwise = false;             ///< layers have targets of their own; else one group is all
  std::vector<std::int32_t> groups;   ///< for each parameter its plan group, or −1
  /// For each plan group whose λ it has; −1: none, its λ is 0. A plan group is a layer, but with
  /// searches by retraining all layers that share a target are one: medians are over them together.
  std::vector<std::int32_t> search_group_of;
  std::int64_t required = 0;       ///< search groups that must meet their target
  std::vector<std::string> notes;  ///< what the user should know

  /// λ of the search (one a search group) as λ of the plan, or of each layer.
  std::vector<float> plan_lambda(const std::vector<float>& lambda) const;
  std::vector<float> layer_lambda(const std::vector<float>& lambda) const;
  /// λ of the search: in each of its groups the largest, for a layer at its lower bound has 0.
  std::vector<float> search_lambda(const std::vector<float>& plan) const;
  /// Counts of the plan as counts of the search; those of layers without a target go nowhere.
  std::vector<std::int64_t> search_counts(const std::vector<std::uint64_t>& nnz) const;
  /// The sum of the targets; none when there are none.
  std::optional<std::int64_t> target_total() const;
  bool bounded(const SearchGroup& group) const;
};

/// Selects the penalised parameters and turns counts, fractions, per-layer targets and allocations
/// into Task::targets.
Task make_task(const FitConfig& config, const std::vector<nn::Parameter>& parameters);

/// When a round ends early: by count with stop = "first-hit", never with "converged", "fixed" or
/// without a target.
StopRule stop_rule(const FitConfig& config, const Task& task);

}  // namespace cuthresh::train
