#include <algorithm>
#include <limits>

#include "backend/checks.hpp"
#include "cpu/backend_impl.hpp"
#include "cpu/selection.hpp"
#include "kernels/math/keep_largest.hpp"
#include "kernels/math/step.hpp"

namespace cuthresh::cpu {
namespace {

/// Up to which entry of each chunk those with this key stay, so that `wanted` entries are at or
/// above it in all: the first in the list's order.
std::vector<std::int64_t> find_ties(const CpuPlan& p, const Threads& threads, const Loops& loops,
                                    const std::function<bool(std::int32_t)>& takes,
                                    std::uint32_t key, std::uint64_t wanted) {
  std::vector<KeyCounts> counts(p.chunks.size());
  p.for_chunks(threads, [&](std::size_t i) {
    const PlanChunk& chunk = p.chunks[i];
    const ProxTensor& tensor = p.tensors[chunk.tensor];
    if (!takes(tensor.group)) return;
    counts[i] = loops.select_keys(tensor.w + chunk.begin, chunk.end - chunk.begin,
                                  {key, kAllKeys.last}, {key, key}, nullptr);
  });
  KeyCounts all;
  for (const KeyCounts& of_chunk : counts) all += of_chunk;
  std::int64_t stay = static_cast<std::int64_t>(wanted) - (all.inside - all.among);
  std::vector<std::int64_t> ends(p.chunks.size(), std::numeric_limits<std::int64_t>::max());
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i].among <= stay) {
      stay -= counts[i].among;
      continue;
    }
    const PlanChunk& chunk = p.chunks[i];
    const float* w = p.tensors[chunk.tensor].w + chunk.begin;
    for (ends[i] = 0; stay > 0; ++ends[i]) stay -= magnitude_key(w[ends[i]]) == key ? 1 : 0;
  }
  return ends;
}

/// A group of a target with bounds, while the magnitude is looked for from which on all entries
/// would be the target's.
struct SharingGroup {
  std::size_t group;
  GroupBounds bounds;
  std::uint64_t nonzero;
  Selection selection;
  std::uint64_t above = 0;  // keys above the range that is left
  std::uint64_t equal = 0;  // keys in it
  std::vector<std::uint64_t> bins = {};

  std::uint64_t kept(std::uint64_t more) const { return bounds.kept(above + more, nonzero); }
};

std::uint64_t sum_of_kept(const std::vector<SharingGroup>& groups) {
  std::uint64_t sum = 0;
  for (const SharingGroup& group : groups) sum += group.kept(0);
  return sum;
}

/// The highest bin of the range from which on the groups keep the target, in all.
KeyRange narrowed(std::vector<SharingGroup>& groups, KeyRange range, std::uint64_t target) {
  const std::uint32_t shift = Selection::bin_shift(range);
  for (SharingGroup& group : groups) group.bins = group.selection.histogram(range, shift);
  for (std::size_t bin = groups.front().bins.size() - 1;; --bin) {
    std::uint64_t sum = 0;
    for (SharingGroup& group : groups) sum += group.kept(group.equal = group.bins[bin]);
    if (sum >= target) return Selection::bin_range(range, shift, bin);
    for (SharingGroup& group : groups) group.above += group.equal;
  }
}

}  // namespace

void CpuBackend::set_control(ProxPlan& plan, const ControlRule& rule,
                             std::span<const ControlTarget> targets) {
  CpuPlan& p = as_cpu_plan(plan);
  p.controlled = check_control(rule, targets, p.tensors, p.groups);
  p.control_rule = rule;
  std::fill(p.lambda.begin(), p.lambda.end(), 0.0f);
}

std::vector<std::int64_t> CpuPlan::target_counts() const {
  std::vector<std::int64_t> counts(controlled.targets.size(), 0);
  for (std::size_t group = 0; group < controlled.target_of.size(); ++group) {
    const std::int32_t target = controlled.target_of[group];
    if (target >= 0)
      counts[static_cast<std::size_t>(target)] += static_cast<std::int64_t>(status.nnz[group]);
  }
  return counts;
}

void CpuBackend::control(ProxPlan& plan) {
  const std::vector<std::int64_t> counts = as_cpu_plan(plan).target_counts();
  if (!counts.empty()) control(plan, counts.data());
}

void CpuBackend::control(ProxPlan& plan, const std::int64_t* counts) {
  check_counts(counts);
  CpuPlan& p = as_cpu_plan(plan);
  if (p.status.stopped || p.skipped()) return;
  if (!p.control_rule.updates_after(p.status.steps)) return;
  std::vector<float> lambda;
  for (std::size_t t = 0; t < p.controlled.targets.size(); ++t) {
    lambda.push_back(
        controlled_lambda(p.control_rule, p.controlled.targets[t], counts[t], p.status.steps));
  }
  for (std::size_t group = 0; group < p.controlled.target_of.size(); ++group) {
    const std::int32_t target = p.controlled.target_of[group];
    if (target < 0) continue;
    float& own = p.lambda[group];
    own = p.controlled.bounds[group].lambda(lambda[static_cast<std::size_t>(target)], own,
                                            p.status.nnz[group]);
  }
}

void CpuBackend::copy_counts(ProxPlan& plan, std::int64_t* counts) {
  check_counts(counts);
  const std::vector<std::int64_t> own = as_cpu_plan(plan).target_counts();
  std::copy(own.begin(), own.end(), counts);
}

ControlState CpuBackend::read_control(ProxPlan& plan) {
  const CpuPlan& p = as_cpu_plan(plan);
  ControlState state{p.status.steps, p.lambda, {}};
  for (const ControlGroup& target : p.controlled.targets)
    state.log_integral.push_back(target.log_integral);
  bytes_to_host_ += 8 * (1 + state.lambda.size() + state.log_integral.size());
  return state;
}

void CpuBackend::restore_control(ProxPlan& plan, const ControlState& state) {
  CpuPlan& p = as_cpu_plan(plan);
  check_state(state, p.groups, p.controlled.targets.size());
  p.status.steps = state.steps;
  p.lambda = state.lambda;
  for (std::size_t t = 0; t < p.controlled.targets.size(); ++t)
    p.controlled.targets[t].log_integral = state.log_integral[t];
}

void CpuBackend::keep_targets(ProxPlan& plan) {
  CpuPlan& p = as_cpu_plan(plan);
  step_all(p, true);
  if (p.status.stopped || p.skipped()) return;
  for (const std::int32_t target : p.controlled.bounded) share_target(p, target);
  for (std::size_t s = 0; s < p.controlled.wanted.size(); ++s) keep_selection(p, s);
  p.add_up_counts();
}

/// How many each group of a target with bounds keeps: as many as have magnitudes from some key on,
/// within its bounds; of such keys the highest with which they keep the target in all. Where that
/// is too much, the first groups have those that are equal to it.
void CpuBackend::share_target(CpuPlan& p, std::int32_t target) {
  std::vector<SharingGroup> groups;
  for (std::size_t g = 0; g < p.groups; ++g) {
    if (p.controlled.target_of[g] != target) continue;
    const auto takes = [own = static_cast<std::int32_t>(g)](std::int32_t group) {
      return group == own;
    };
    groups.push_back({g, p.controlled.bounds[g], p.status.nnz[g],
                      Selection(p, threads_, loops_, Selection::Of::kWeights, takes)});
  }
  const std::uint64_t wanted = p.controlled.targets[static_cast<std::size_t>(target)].target;
  std::uint64_t kept = sum_of_kept(groups);
  if (kept < wanted) {
    for (KeyRange range = kAllKeys; range.first != range.last;)
      range = narrowed(groups, range, wanted);
    kept = sum_of_kept(groups);
  }
  for (const SharingGroup& group : groups) {
    const std::uint64_t own = group.kept(0);
    const std::uint64_t more = std::min(wanted - kept, group.kept(group.equal) - own);
    p.controlled.wanted[static_cast<std::size_t>(p.controlled.selection_of[group.group])] =
        own + more;
    kept += more;
  }
}

/// Leaves the largest entries of one selection and counts them anew.
void CpuBackend::keep_selection(CpuPlan& p, std::size_t index) {
  const auto takes = [&](std::int32_t group) {
    return group >= 0 && p.controlled.selection_of[static_cast<std::size_t>(group)] ==
                             static_cast<std::int32_t>(index);
  };
  std::uint64_t nonzero = 0;  // after the gradient step
  for (std::size_t group = 0; group < p.groups; ++group) {
    if (takes(static_cast<std::int32_t>(group))) nonzero += p.status.nnz[group];
  }
  const std::uint64_t wanted = p.controlled.wanted[index];
  if (nonzero < wanted) return;  // nothing to cut, and nothing that could be shrunk
  float least = std::numeric_limits<float>::infinity();  // all go
  std::vector<std::int64_t> ties_end(p.chunks.size(), 0);
  if (wanted > 0) {
    Selection selection(p, threads_, loops_, Selection::Of::kWeights, takes);
    const auto size = static_cast<std::uint64_t>(selection.size());
    const std::uint64_t rank = size - wanted;  // ascending
    selection.survey(kAllKeys, static_cast<double>(rank) / static_cast<double>(size));
    const std::uint32_t key = selection.key_of_rank(rank);
    least = magnitude_from_key(key);
    ties_end = find_ties(p, threads_, loops_, takes, key, wanted);
  }
  p.for_chunks(threads_, [&](std::size_t i) {
    const PlanChunk& chunk = p.chunks[i];
    const ProxTensor& tensor = p.tensors[chunk.tensor];
    if (!takes(tensor.group)) return;
    const KeepLargest keep{least, survivor_shrinkage(p.threshold_of(tensor), least)};
    p.chunk_counts[i].nonzero =
        loops_.keep_largest(tensor.w + chunk.begin, chunk.end - chunk.begin, keep, ties_end[i]);
  });
}

void CpuBackend::freeze(ProxPlan& plan) {
  CpuPlan& p = as_cpu_plan(plan);
  p.support.assign(p.tensors.size(), {});
  for (std::size_t t = 0; t < p.tensors.size(); ++t) {
    const ProxTensor& tensor = p.tensors[t];
    if (tensor.group < 0) continue;
    std::vector<std::uint32_t>& bits = p.support[t];
    bits.assign(static_cast<std::size_t>((tensor.size + 31) / 32), 0U);
    for (std::int64_t i = 0; i < tensor.size; ++i) {
      if (is_nonzero(tensor.w[i])) bits[static_cast<std::size_t>(i / 32)] |= 1U << (i % 32);
    }
  }
}

std::vector<float> CpuBackend::read_lambda(ProxPlan& plan) {
  const CpuPlan& p = as_cpu_plan(plan);
  bytes_to_host_ += 8 * p.lambda.size();
  return p.lambda;
}

}  // namespace cuthresh::cpu
