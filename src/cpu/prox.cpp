#include <algorithm>

#include "backend/checks.hpp"
#include "cpu/backend_impl.hpp"
#include "kernels/math/bracket.hpp"

namespace cuthresh::cpu {

// Chunks of 16 Ki elements: three arrays of 64 KiB stay in the second-level cache, and a list of
// many small tensors still divides evenly among threads.
CpuPlan::CpuPlan(std::span<const ProxTensor> list, std::int32_t group_count, StepKind step_kind,
                 Dtype dtype)
    : ProxPlan(dtype),
      tensors(list.begin(), list.end()),
      kind(step_kind),
      groups(static_cast<std::size_t>(group_count)),
      lambda(groups, 0.0),
      rates(count_rates(list)) {
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    ProxTensor& tensor = tensors[t];
    if (has_master(dtype) && tensor.master == nullptr) {
      masters.emplace_back(static_cast<std::size_t>(tensor.size), 0.0f);
      tensor.master = masters.back().data();
    }
    for (std::int64_t begin = 0; begin < tensor.size; begin += kChunk) {
      chunks.push_back({t, begin, std::min(begin + kChunk, tensor.size)});
    }
    elements += tensor.size;
  }
  chunk_counts.resize(chunks.size());
  status.nnz.assign(groups, 0);
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
                                                std::int32_t groups, StepKind kind, Dtype dtype) {
  check_list(tensors, groups, kind, dtype);
  auto plan = std::make_unique<CpuPlan>(tensors, groups, kind, dtype);
  refresh_master(*plan);
  return plan;
}

void CpuBackend::refresh_master(ProxPlan& plan) {
  const CpuPlan& p = as_cpu_plan(plan);
  if (!has_master(p.dtype())) return;
  with_storage(p.dtype(), [&]<class Storage>(std::type_identity<Storage>) {
    p.for_chunks(threads_, [&](std::size_t i) {
      const PlanChunk& chunk = p.chunks[i];
      loops_.lists<Storage>().refresh_master(p.arrays_of<Storage>(chunk), chunk.end - chunk.begin);
    });
  });
}

void CpuBackend::set_lambda(ProxPlan& plan, std::span<const double> lambda) {
  CpuPlan& p = as_cpu_plan(plan);
  check_lambda(lambda, p.groups, p.dtype());
  p.lambda.assign(lambda.begin(), lambda.end());
}

void CpuBackend::set_rates(ProxPlan& plan, std::span<const StepRateOf<double>> rates) {
  CpuPlan& p = as_cpu_plan(plan);
  check_rates(rates, p.rates.size(), p.dtype());
  p.rates.assign(rates.begin(), rates.end());
}

void CpuBackend::set_gradients(ProxPlan& plan, std::span<const void* const> gradients) {
  CpuPlan& p = as_cpu_plan(plan);
  if (!same_gradients(p.tensors, gradients)) {
    p.tensors = with_gradients(p.tensors, gradients, p.kind, p.dtype());
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

template <class Storage>
StepCounts CpuBackend::step_chunk(const CpuPlan& p, const PlanChunk& chunk,
                                  bool with_threshold) const {
  using Compute = typename StorageTraits<Storage>::Compute;
  const ListLoops<Storage>& loops = loops_.lists<Storage>();
  const ProxTensor& tensor = p.tensors[chunk.tensor];
  const ListArrays<Storage> a = p.arrays_of<Storage>(chunk);
  const std::int64_t n = chunk.end - chunk.begin;
  if (a.g == nullptr && reads_gradient(p.kind)) return loops.count_entries(a.stored, n);
  const StepRateOf<Compute> rate = p.rate_of<Compute>(tensor);
  const std::uint32_t* const bits = p.support_of(chunk);
  if (bits != nullptr) return loops.frozen_step(p.kind, a, n, rate, bits);
  const Compute threshold = with_threshold ? p.threshold_of<Compute>(tensor) : Compute(0);
  return loops.prox_step(p.kind, a, n, rate, threshold);
}

void CpuBackend::step_all(CpuPlan& p, bool keeping) {
  StepStatus& status = p.status;
  if (status.stopped || p.skipped()) return;
  with_storage(p.dtype(), [&]<class Storage>(std::type_identity<Storage>) {
    p.for_chunks(threads_, [&](std::size_t i) {
      const bool cut = keeping && p.is_cut(p.tensors[p.chunks[i].tensor].group);
      p.chunk_counts[i] = step_chunk<Storage>(p, p.chunks[i], !cut);
    });
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
  with_storage(p.dtype(), [&]<class Storage>(std::type_identity<Storage>) {
    p.for_chunks(threads_, [&](std::size_t i) {
      const PlanChunk& chunk = p.chunks[i];
      per_chunk[i] = static_cast<std::uint64_t>(loops_.lists<Storage>().count_nonzero(
          p.arrays_of<Storage>(chunk).stored, chunk.end - chunk.begin));
    });
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
  with_storage(p.dtype(), [&]<class Storage>(std::type_identity<Storage>) {
    using Compute = typename StorageTraits<Storage>::Compute;
    p.for_chunks(threads_, [&](std::size_t i) {
      const PlanChunk& chunk = p.chunks[i];
      const std::int32_t group = p.tensors[chunk.tensor].group;
      if (group < 0) return;
      const ListArrays<Storage> a = p.arrays_of<Storage>(chunk);
      keys[i] = loops_.lists<Storage>().kkt(
          a.stored, a.g, chunk.end - chunk.begin,
          static_cast<Compute>(p.lambda[static_cast<std::size_t>(group)]));
    });
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
