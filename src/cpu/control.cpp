#include <algorithm>
#include <limits>

#include "backend/checks.hpp"
#include "cpu/backend_impl.hpp"
#include "cpu/selection.hpp"
#include "cuthresh/error.hpp"
#include "kernels/math/keep_largest.hpp"
#include "kernels/math/step.hpp"

namespace cuthresh::cpu {
namespace {

/// Up to which entry of each chunk those with this key stay, so that `wanted` entries are at or
/// above it in all: the first in the list's order.
std::vector<std::int64_t> find_ties(const CpuPlan& p, const Threads& threads, const Loops& loops,
                                    const std::function<bool(std::int32_t)>& in_target,
                                    std::uint32_t key, std::uint64_t wanted) {
  std::vector<KeyCounts> counts(p.chunks.size());
  p.for_chunks(threads, [&](std::size_t i) {
    const PlanChunk& chunk = p.chunks[i];
    const ProxTensor& tensor = p.tensors[chunk.tensor];
    if (!in_target(tensor.group)) return;
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

}  // namespace

void CpuBackend::set_control(ProxPlan& plan, const ControlRule& rule,
                             std::span<const ControlTarget> targets) {
  CpuPlan& p = as_cpu_plan(plan);
  p.target_of = check_control(rule, targets, p.tensors, p.groups);
  p.control_rule = rule;
  p.controlled = control_groups(targets, p.tensors, p.target_of);
  std::fill(p.lambda.begin(), p.lambda.end(), 0.0f);
}

void CpuBackend::control(ProxPlan& plan) {
  CpuPlan& p = as_cpu_plan(plan);
  if (p.status.stopped || p.skipped() || p.controlled.empty()) return;
  std::vector<std::uint64_t> counts(p.controlled.size(), 0);
  for (std::size_t group = 0; group < p.groups; ++group) {
    if (p.target_of[group] >= 0)
      counts[static_cast<std::size_t>(p.target_of[group])] += p.status.nnz[group];
  }
  std::vector<float> lambda;
  for (std::size_t t = 0; t < counts.size(); ++t) {
    lambda.push_back(controlled_lambda(p.control_rule, p.controlled[t], counts[t], p.status.steps));
  }
  for (std::size_t group = 0; group < p.groups; ++group) {
    if (p.target_of[group] >= 0)
      p.lambda[group] = lambda[static_cast<std::size_t>(p.target_of[group])];
  }
}

void CpuBackend::control(ProxPlan&, const std::int64_t*) {
  throw InternalError({"control", "not yet", "", ""});
}

void CpuBackend::copy_counts(ProxPlan&, std::int64_t*) {
  throw InternalError({"copy_counts", "not yet", "", ""});
}

ControlState CpuBackend::read_control(ProxPlan&) {
  throw InternalError({"read_control", "not yet", "", ""});
}

void CpuBackend::restore_control(ProxPlan&, const ControlState&) {
  throw InternalError({"restore_control", "not yet", "", ""});
}

void CpuBackend::keep_targets(ProxPlan& plan) {
  CpuPlan& p = as_cpu_plan(plan);
  step_all(p, false);
  if (p.status.stopped || p.skipped()) return;
  for (std::size_t t = 0; t < p.controlled.size(); ++t) keep_target(p, t);
  p.add_up_counts();
}

/// Leaves the largest entries of one target's tensors and counts them anew.
void CpuBackend::keep_target(CpuPlan& p, std::size_t target) {
  const auto in_target = [&](std::int32_t group) {
    return group >= 0 &&
           p.target_of[static_cast<std::size_t>(group)] == static_cast<std::int32_t>(target);
  };
  std::uint64_t nonzero = 0;  // after the gradient step
  for (std::size_t i = 0; i < p.chunks.size(); ++i) {
    if (in_target(p.tensors[p.chunks[i].tensor].group))
      nonzero += static_cast<std::uint64_t>(p.chunk_counts[i].nonzero);
  }
  const std::uint64_t wanted = p.controlled[target].target;
  if (nonzero < wanted) return;  // nothing to cut, and nothing that could be shrunk
  Selection selection(p, threads_, loops_, Selection::Of::kWeights, in_target);
  const std::uint64_t rank = p.controlled[target].size - wanted;  // ascending
  selection.survey(kAllKeys,
                   static_cast<double>(rank) / static_cast<double>(p.controlled[target].size));
  const std::uint32_t key = selection.key_of_rank(rank);
  const float least = magnitude_from_key(key);
  const std::vector<std::int64_t> ties_end = find_ties(p, threads_, loops_, in_target, key, wanted);
  p.for_chunks(threads_, [&](std::size_t i) {
    const PlanChunk& chunk = p.chunks[i];
    const ProxTensor& tensor = p.tensors[chunk.tensor];
    if (!in_target(tensor.group)) return;
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
