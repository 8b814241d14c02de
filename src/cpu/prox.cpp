#include <algorithm>

#include "backend/checks.hpp"
#include "cpu/backend_impl.hpp"
#include "kernels/math/bracket.hpp"

namespace cuthresh::cpu {

// Chunks of 16 Ki elements: three arrays of 64 KiB stay in the second-level cache, and a list of
// many small tensors still divides evenly among threads.
CpuPlan::CpuPlan(std::span<const ProxTensor> list, std::int32_t group_count, StepKind step_kind)
    : tensors(list.begin(), list.end()),
      kind(step_kind),
      groups(static_cast<std::size_t>(group_count)),
      lambda(groups, 0.0f),
      rates(count_rates(list)) {
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const ProxTensor& tensor = tensors[t];
    for (std::int64_t begin = 0; begin < tensor.size; begin += kChunk) {
      chunks.push_back({t, begin, std::min(begin + kChunk, tensor.size)});
    }
    elements += tensor.size;
  }
  chunk_counts.resize(chunks.size());
  status.nnz.assign(groups, 0);
}

float CpuPlan::threshold_of(const ProxTensor& tensor) const {
  if (tensor.group < 0) return 0.0f;
  return rate_of(tensor).learning_rate * lambda[static_cast<std::size_t>(tensor.group)];
}

const std::uint32_t* CpuPlan::support_of(const PlanChunk& chunk) const {
  if (support.empty() || support[chunk.tensor].empty()) return nullptr;
  return support[chunk.tensor].data() + chunk.begin / 32;
}

void CpuPlan::add_up_counts() {
  std::fill(status.nnz.begin(), status.nnz.end(), 0);
  status.total = 0;
  status.nonfinite = 0;
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    const std::int32_t group = tensors[chunks[i].tensor].group;
    if (group >= 0)
      status.nnz[static_cast<std::size_t>(group)] +=
          static_cast<std::uint64_t>(chunk_counts[i].nonzero);
    status.nonfinite += static_cast<std::uint64_t>(chunk_counts[i].nonfinite);
  }
  for (const std::uint64_t n : status.nnz) status.total += n;
}

CpuPlan& as_cpu_plan(ProxPlan& plan) {
  return static_cast<CpuPlan&>(plan);
}

std::unique_ptr<ProxPlan> CpuBackend::make_plan(std::span<const ProxTensor> tensors,
                                                std::int32_t groups, StepKind kind) {
  check_list(tensors, groups, kind);
  return std::make_unique<CpuPlan>(tensors, groups, kind);
}

void CpuBackend::set_lambda(ProxPlan& plan, std::span<const float> lambda) {
  CpuPlan& p = as_cpu_plan(plan);
  check_lambda(lambda, p.groups);
  p.lambda.assign(lambda.begin(), lambda.end());
}

void CpuBackend::set_rates(ProxPlan& plan, std::span<const StepRate> rates) {
  CpuPlan& p = as_cpu_plan(plan);
  check_rates(rates, p.rates.size());
  p.rates.assign(rates.begin(), rates.end());
}

void CpuBackend::set_gradients(ProxPlan& plan, std::span<const float* const> gradients) {
  CpuPlan& p = as_cpu_plan(plan);
  if (!same_gradients(p.tensors, gradients)) {
    p.tensors = with_gradients(p.tensors, gradients, p.kind);
  }
}

void CpuBackend::set_skip(ProxPlan& plan, const float* flag) {
  check_skip(flag);
  as_cpu_plan(plan).skip = flag;
}

void CpuBackend::set_stop(ProxPlan& plan, const StopRule& rule) {
  CpuPlan& p = as_cpu_plan(plan);
  check_stop(rule, p.groups);
  p.rule = rule;
  p.controlled = {};
  p.support.clear();
  p.status = {};
  p.status.nnz.assign(p.groups, 0);
}

void CpuBackend::prox_step(ProxPlan& plan) {
  step_all(as_cpu_plan(plan), false);
}

StepCounts CpuBackend::step_chunk(const CpuPlan& p, const PlanChunk& chunk,
                                  bool with_threshold) const {
  const ProxTensor& tensor = p.tensors[chunk.tensor];
  float* const w = tensor.w + chunk.begin;
  const std::int64_t n = chunk.end - chunk.begin;
  const bool has_gradient = tensor.g != nullptr;
  if (!has_gradient && reads_gradient(p.kind)) return loops_.count_entries(w, n);
  const float* const g = has_gradient ? tensor.g + chunk.begin : nullptr;
  float* const v = tensor.v == nullptr ? nullptr : tensor.v + chunk.begin;
  const std::uint32_t* const bits = p.support_of(chunk);
  if (bits != nullptr) return loops_.frozen_step(p.kind, w, g, v, n, p.rate_of(tensor), bits);
  const float threshold = with_threshold ? p.threshold_of(tensor) : 0.0f;
  return loops_.prox_step(p.kind, w, g, v, n, p.rate_of(tensor), threshold);
}

void CpuBackend::step_all(CpuPlan& p, bool keeping) {
  StepStatus& status = p.status;
  if (status.stopped || p.skipped()) return;
  p.for_chunks(threads_, [&](std::size_t i) {
    const bool cut = keeping && p.is_cut(p.tensors[p.chunks[i].tensor].group);
    p.chunk_counts[i] = step_chunk(p, p.chunks[i], !cut);
  });
  p.add_up_counts();
  ++status.steps;
  if (status.nonfinite != 0) status.stopped = true;
  if (!p.rule.bands.empty() && status.steps > p.rule.after && !status.stopped) {
    const bool over_total = p.rule.bands.size() == 1;
    status.stopped =
        counts_meet(over_total ? &status.total : status.nnz.data(), p.rule.bands.data(),
                    static_cast<int>(p.rule.bands.size()), p.rule.required);
  }
}

bool CpuBackend::known_to_have_stopped(const ProxPlan& plan) {
  return static_cast<const CpuPlan&>(plan).status.stopped;
}

const StepStatus& CpuBackend::read_status(ProxPlan& plan) {
  const StepStatus& status = as_cpu_plan(plan).status;
  bytes_to_host_ += 8 * (status.nnz.size() + 4);  // total, nonfinite, steps, stopped
  return status;
}

std::vector<std::uint64_t> CpuBackend::read_nonzeros(ProxPlan& plan) {
  CpuPlan& p = as_cpu_plan(plan);
  std::vector<std::uint64_t> per_chunk(p.chunks.size());
  p.for_chunks(threads_, [&](std::size_t i) {
    const PlanChunk& chunk = p.chunks[i];
    per_chunk[i] = static_cast<std::uint64_t>(
        loops_.count_nonzero(p.tensors[chunk.tensor].w + chunk.begin, chunk.end - chunk.begin));
  });
  std::vector<std::uint64_t> nnz(p.groups, 0);
  for (std::size_t i = 0; i < p.chunks.size(); ++i) {
    const std::int32_t group = p.tensors[p.chunks[i].tensor].group;
    if (group >= 0) nnz[static_cast<std::size_t>(group)] += per_chunk[i];
  }
  bytes_to_host_ += 8 * nnz.size();
  return nnz;
}

std::vector<KktResult> CpuBackend::read_kkt(ProxPlan& plan) {
  CpuPlan& p = as_cpu_plan(plan);
  check_gradients("read_kkt", p.tensors);
  std::vector<KktKeys> keys(p.chunks.size());
  p.for_chunks(threads_, [&](std::size_t i) {
    const PlanChunk& chunk = p.chunks[i];
    const ProxTensor& tensor = p.tensors[chunk.tensor];
    if (tensor.group < 0) return;
    keys[i] = loops_.kkt(tensor.w + chunk.begin, tensor.g + chunk.begin, chunk.end - chunk.begin,
                         p.lambda[static_cast<std::size_t>(tensor.group)]);
  });
  const std::vector<std::uint64_t> nnz = read_nonzeros(plan);
  std::vector<KktKeys> worst(p.groups);
  std::vector<std::uint64_t> size(p.groups, 0);
  for (std::size_t i = 0; i < p.chunks.size(); ++i) {
    const std::int32_t group = p.tensors[p.chunks[i].tensor].group;
    if (group < 0) continue;
    KktKeys& w = worst[static_cast<std::size_t>(group)];
    w.on_nonzero = std::max(w.on_nonzero, keys[i].on_nonzero);
    w.on_zero = std::max(w.on_zero, keys[i].on_zero);
    size[static_cast<std::size_t>(group)] +=
        static_cast<std::uint64_t>(p.chunks[i].end - p.chunks[i].begin);
  }
  std::vector<KktResult> results(p.groups);
  for (std::size_t group = 0; group < p.groups; ++group) {
    results[group] = {nnz[group], size[group] - nnz[group],
                      magnitude_from_key(worst[group].on_nonzero),
                      magnitude_from_key(worst[group].on_zero)};
  }
  bytes_to_host_ += 8 * 3 * results.size();  // read_nonzeros counted the fourth number
  return results;
}

}  // namespace cuthresh::cpu
