#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>

#include "backend/checks.hpp"
#include "cuda/backend_impl.hpp"
#include "cuda/launch.hpp"
#include "kernels/block/count_nonzero.cuh"
#include "kernels/block/kkt_residual.cuh"
#include "kernels/block/prox_step.cuh"
#include "kernels/block/refresh_master.cuh"
#include "kernels/block/set_values.cuh"

namespace cuthresh::cuda {
namespace {

constexpr std::uint32_t kThreads = 256;

template <class Storage, class Step, class Compute, class Penalty>
void launch_step(Context& context, const Launch& how, const ProxStepArguments<Compute>& args,
                 const Penalty& penalty) {
  // Other types have no such kernels: ZeroBits are kept of float32 alone.
  if constexpr (Step::kGradient && std::is_same_v<Storage, float>) {
    if (args.zeros.words != nullptr) {
      return launch(context, how, prox_step_kernel<Storage, Step, Penalty, kSkipZeros, kThreads>,
                    args, penalty);
    }
  }
  launch(context, how, prox_step_kernel<Storage, Step, Penalty, kNoExtras, kThreads>, args,
         penalty);
}

template <class Storage, class Compute, class Penalty>
void launch_step(Context& context, const CudaPlan& plan, const ProxStepArguments<Compute>& args,
                 const Penalty& penalty) {
  const Launch how{"prox_step_kernel", plan.tile_count(), kThreads};
  switch (plan.kind()) {
    case StepKind::kPlain:
      return launch_step<Storage, PlainStep<Compute>>(context, how, args, penalty);
    case StepKind::kMomentum:
      return launch_step<Storage, MomentumStep<Compute>>(context, how, args, penalty);
    case StepKind::kNesterov:
      return launch_step<Storage, NesterovStep<Compute>>(context, how, args, penalty);
    case StepKind::kThreshold:
      return launch_step<Storage, ThresholdStep<Compute>>(context, how, args, penalty);
  }
}

// What a launch's 4 KiB of arguments hold.
constexpr std::int32_t kRatesALaunch = 128;  // of float64 3 KiB
constexpr std::int32_t kGradientsALaunch = 480;

/// first[i], `stride` bytes apart, = value_of(i) for i < count, by as many launches as that takes.
/// Not a copy: one from pageable memory may wait, and a graph cannot capture it.
template <std::int32_t kCount, class T, class F>
void set_values(Context& context, T* first, std::int64_t stride, std::size_t count, F value_of) {
  constexpr std::uint32_t kSetThreads = 128;
  for (std::size_t begin = 0; begin < count; begin += kCount) {
    ValuesToSet<T, kCount> values{};
    values.count = static_cast<std::int32_t>(std::min<std::size_t>(kCount, count - begin));
    for (std::int32_t i = 0; i < values.count; ++i) {
      values.value[i] = value_of(begin + static_cast<std::size_t>(i));
    }
    T* const to = reinterpret_cast<T*>(reinterpret_cast<std::byte*>(first) +
                                       static_cast<std::int64_t>(begin) * stride);
    launch(context, {"set_values_kernel", 1, kSetThreads},
           set_values_kernel<T, kCount, kSetThreads>, to, stride, values);
  }
}

}  // namespace

cudaError_t probe_kernels() {
  int blocks = 0;
  return cudaOccupancyMaxActiveBlocksPerMultiprocessor(
      &blocks, count_nonzero_kernel<float, kThreads>, static_cast<int>(kThreads), 0);
}

std::unique_ptr<ProxPlan> CudaBackend::make_plan(std::span<const ProxTensor> tensors,
                                                 std::int32_t groups, StepKind kind, Dtype dtype) {
  check_list(tensors, groups, kind, dtype);
  auto plan = std::make_unique<CudaPlan>(context_, tensors, groups, kind, dtype);
  refresh_master(*plan);
  return plan;
}

void CudaBackend::refresh_master(ProxPlan& plan) {
  const CudaPlan& p = as_cuda_plan(plan);
  with_storage(p.dtype(), [&]<class Storage>(std::type_identity<Storage>) {
    if constexpr (StorageTraits<Storage>::kMaster) {
      launch(context_, {"refresh_master_kernel", p.tile_count(), kThreads},
             refresh_master_kernel<Storage, kThreads>, p.list());
    }
  });
}

void CudaBackend::set_lambda(ProxPlan& plan, std::span<const double> lambda) {
  const CudaPlan& p = as_cuda_plan(plan);
  check_lambda(lambda, p.groups(), p.dtype());
  if (p.dtype() == Dtype::kFloat64) {
    return context_.upload(p.lambda<double>(), lambda.data(), lambda.size_bytes());
  }
  std::vector<float> narrow;
  narrow.reserve(lambda.size());
  for (const double value : lambda) narrow.push_back(static_cast<float>(value));
  context_.upload(p.lambda<float>(), narrow.data(), narrow.size() * sizeof(float));
}

void CudaBackend::set_rates(ProxPlan& plan, std::span<const StepRateOf<double>> rates) {
  const CudaPlan& p = as_cuda_plan(plan);
  check_rates(rates, p.rate_count(), p.dtype());
  with_compute(p.dtype(), [&]<class Compute>(std::type_identity<Compute>) {
    set_values<kRatesALaunch>(context_, p.rates<Compute>(), sizeof(StepRateOf<Compute>),
                              rates.size(), [&](std::size_t i) -> StepRateOf<Compute> {
                                const StepRateOf<double>& rate = rates[i];
                                return {static_cast<Compute>(rate.learning_rate),
                                        static_cast<Compute>(rate.momentum),
                                        static_cast<Compute>(rate.weight_decay)};
                              });
  });
}

void CudaBackend::set_gradients(ProxPlan& plan, std::span<const void* const> gradients) {
  CudaPlan& p = as_cuda_plan(plan);
  const bool captured = context_.is_captured();
  const bool known = !captured && !p.gradients_captured;
  if (known && same_gradients(p.tensors(), gradients)) return;
  std::vector<ProxTensor> list = with_gradients(p.tensors(), gradients, p.kind(), p.dtype());
  p.check_gradients_on_device(list);
  set_values<kGradientsALaunch>(context_, &p.records()->g, sizeof(TensorRecord), gradients.size(),
                                [&](std::size_t i) { return gradients[i]; });
  p.replace_gradients(std::move(list));
  p.gradients_captured = p.gradients_captured || captured;
}

void CudaBackend::set_skip(ProxPlan& plan, const float* flag) {
  check_skip(flag);
  if (flag != nullptr) check_device(context_, "set_skip", "the flag", flag, sizeof *flag);
  as_cuda_plan(plan).skip = flag;
}

void CudaBackend::set_stop(ProxPlan& plan, const StopRule& rule) {
  CudaPlan& p = as_cuda_plan(plan);
  check_stop(rule, p.groups());
  const StopRecord record{rule.after, static_cast<std::int32_t>(rule.bands.size()), rule.required,
                          p.begin_run()};
  context_.upload(p.stop(), &record, sizeof record);
  context_.upload(p.bands(), rule.bands.data(), rule.bands.size() * sizeof(CountBand));
  context_.zero(p.status(), p.status_bytes());
  p.control = {};
  p.frozen = false;
  p.zeros.forget();
}

void CudaBackend::prox_step(ProxPlan& plan) {
  CudaPlan& p = as_cuda_plan(plan);
  with_storage(p.dtype(), [&]<class Storage>(std::type_identity<Storage>) {
    using Compute = typename StorageTraits<Storage>::Compute;
    const auto args = step_arguments<Compute>(p);
    if (p.frozen) {
      launch_step<Storage>(context_, p, args, FrozenSupport<Compute>{p.support()});
    } else {
      launch_step<Storage>(context_, p, args, L1Penalty<Compute>{});
    }
  });
}

void CudaBackend::gradient_step(CudaPlan& p) {
  with_storage(p.dtype(), [&]<class Storage>(std::type_identity<Storage>) {
    using Compute = typename StorageTraits<Storage>::Compute;
    auto args = step_arguments<Compute>(p);
    args.lambda = p.keep_lambda<Compute>();
    launch_step<Storage>(context_, p, args, L1Penalty<Compute>{});
  });
}

bool CudaBackend::known_to_have_stopped(const ProxPlan& plan) {
  const auto& p = static_cast<const CudaPlan&>(plan);
  if (!p.stop_announced()) return false;
  count_announcement(p);
  return true;
}

void CudaBackend::count_announcement(const CudaPlan& plan) {
  if (plan.counted_run == plan.run()) return;
  plan.counted_run = plan.run();
  context_.count_to_host(sizeof(std::uint32_t));
}

const StepStatus& CudaBackend::read_status(ProxPlan& plan) {
  CudaPlan& p = as_cuda_plan(plan);
  const std::byte* from = context_.read(p.status(), p.status_bytes());
  StepHeader header{};
  std::memcpy(&header, from, sizeof header);
  StepStatus& status = p.last;
  if (p.groups() > 0) {
    std::memcpy(status.nnz.data(), from + sizeof header, p.groups() * sizeof(std::uint64_t));
  }
  status.total = header.total;
  status.nonfinite = header.nonfinite;
  status.steps = static_cast<std::int64_t>(header.steps);
  status.stopped = header.stopped != 0;
  if (p.stop_announced()) count_announcement(p);
  return status;
}

std::vector<std::uint64_t> CudaBackend::read_nonzeros(ProxPlan& plan) {
  const CudaPlan& p = as_cuda_plan(plan);
  std::vector<std::uint64_t> nnz(p.groups(), 0);
  if (nnz.empty()) return nnz;
  const std::size_t bytes = nnz.size() * sizeof(std::uint64_t);
  context_.zero(p.counts(), bytes);
  with_storage(p.dtype(), [&]<class Storage>(std::type_identity<Storage>) {
    launch(context_, {"count_nonzero_kernel", p.tile_count(), kThreads},
           count_nonzero_kernel<Storage, kThreads>, CountNonzeroArguments{p.list(), p.counts()});
  });
  std::memcpy(nnz.data(), context_.read(p.counts(), bytes), bytes);
  return nnz;
}

std::vector<KktResult> CudaBackend::read_kkt(ProxPlan& plan) {
  const CudaPlan& p = as_cuda_plan(plan);
  check_gradients("read_kkt", p.tensors());
  std::vector<KktResult> results(p.groups());
  if (results.empty()) return results;
  const std::size_t bytes = results.size() * sizeof(GroupKkt);
  context_.zero(p.kkt(), bytes);
  with_storage(p.dtype(), [&]<class Storage>(std::type_identity<Storage>) {
    using Compute = typename StorageTraits<Storage>::Compute;
    launch(context_, {"kkt_residual_kernel", p.tile_count(), kThreads},
           kkt_residual_kernel<Storage, kThreads>,
           KktResidualArguments<Storage>{p.list(), p.lambda<Compute>(), p.kkt()});
  });
  // The two maxima share a word on the way; they count as the two numbers that they are.
  const std::byte* from = context_.read(p.kkt(), bytes, results.size() * sizeof(std::uint64_t));
  for (std::size_t group = 0; group < results.size(); ++group) {
    GroupKkt of_group{};
    std::memcpy(&of_group, from + group * sizeof of_group, sizeof of_group);
    results[group] = {of_group.nonzeros, of_group.zeros, magnitude_from_key(of_group.on_nonzero),
                      magnitude_from_key(of_group.on_zero)};
  }
  return results;
}

}  // namespace cuthresh::cuda
