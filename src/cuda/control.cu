#include <algorithm>
#include <cstring>

#include "backend/checks.hpp"
#include "cuda/backend_impl.hpp"
#include "cuda/launch.hpp"
#include "kernels/block/control.cuh"
#include "kernels/block/keep_largest.cuh"
#include "kernels/block/prox_step.cuh"
#include "kernels/block/share_target.cuh"
#include "kernels/block/support.cuh"

namespace cuthresh::cuda {
namespace {

constexpr std::uint32_t kThreads = 256;
constexpr std::uint32_t kSelectThreads = 512;

}  // namespace

void CudaBackend::set_control(ProxPlan& plan, const ControlRule& rule,
                              std::span<const ControlTarget> targets) {
  CudaPlan& p = as_cuda_plan(plan);
  p.control = check_control(rule, targets, p.tensors(), p.groups());
  p.control_rule = rule;
  const auto upload = [&](auto* to, const auto& from) {
    context_.upload(to, from.data(), from.size() * sizeof(from[0]));
  };
  upload(p.control_groups(), p.control.targets);
  upload(p.target_of(), p.control.target_of);
  upload(p.selection_of(), p.control.selection_of);
  upload(p.group_bounds(), p.control.bounds);
  upload(p.wanted(), p.control.wanted);
  upload(p.bounded(), p.control.bounded);
  const std::size_t bytes = p.groups() * compute_bytes(p.dtype());
  context_.zero(p.lambda(), bytes);
  context_.zero(p.keep_lambda<float>(), bytes);
  p.zeros.forget();
}

void CudaBackend::control(ProxPlan& plan) {
  launch_control(as_cuda_plan(plan), nullptr);
}

void CudaBackend::control(ProxPlan& plan, const std::int64_t* counts) {
  check_counts(counts);
  launch_control(as_cuda_plan(plan), counts);
}

void CudaBackend::launch_control(const CudaPlan& p, const std::int64_t* counts) {
  if (p.control.targets.empty()) return;
  with_compute(p.dtype(), [&]<class Compute>(std::type_identity<Compute>) {
    const ControlArgumentsOf<Compute> args{p.control_rule,
                                           p.control_groups(),
                                           p.target_of(),
                                           p.group_bounds(),
                                           p.status(),
                                           p.lambda<Compute>(),
                                           static_cast<std::int32_t>(p.control.targets.size()),
                                           static_cast<std::int32_t>(p.groups()),
                                           counts,
                                           p.skip};
    launch(context_, {"control_kernel", 1, kThreads}, control_kernel<kThreads, Compute>, args);
  });
}

void CudaBackend::copy_counts(ProxPlan& plan, std::int64_t* counts) {
  check_counts(counts);
  const CudaPlan& p = as_cuda_plan(plan);
  const auto targets = static_cast<std::int32_t>(p.control.targets.size());
  if (targets == 0) return;
  launch(context_, {"copy_counts_kernel", 1, kThreads}, copy_counts_kernel<kThreads>, p.target_of(),
         p.status(), counts, targets, static_cast<std::int32_t>(p.groups()));
}

ControlState CudaBackend::read_control(ProxPlan& plan) {
  const CudaPlan& p = as_cuda_plan(plan);
  ControlState state;
  state.lambda = read_lambda(plan);
  std::uint64_t steps = 0;
  std::memcpy(&steps, context_.read(&p.status()->steps, sizeof steps), sizeof steps);
  state.steps = static_cast<std::int64_t>(steps);
  std::vector<ControlGroup> targets(p.control.targets.size());
  if (targets.empty()) return state;
  const std::size_t bytes = targets.size() * sizeof(ControlGroup);
  std::memcpy(targets.data(), context_.read(p.control_groups(), bytes, 8 * targets.size()), bytes);
  for (const ControlGroup& target : targets) state.log_integral.push_back(target.log_integral);
  return state;
}

void CudaBackend::restore_control(ProxPlan& plan, const ControlState& state) {
  CudaPlan& p = as_cuda_plan(plan);
  std::vector<ControlGroup> targets = p.control.targets;
  check_state(state, p.groups(), targets.size());
  for (std::size_t t = 0; t < targets.size(); ++t) targets[t].log_integral = state.log_integral[t];
  const auto steps = static_cast<std::uint64_t>(state.steps);
  context_.upload(&p.status()->steps, &steps, sizeof steps);
  set_lambda(plan, state.lambda);
  context_.upload(p.control_groups(), targets.data(), targets.size() * sizeof(ControlGroup));
  p.zeros.forget();
}

void CudaBackend::keep_targets(ProxPlan& plan) {
  CudaPlan& p = as_cuda_plan(plan);
  if (p.control.wanted.empty()) return prox_step(plan);
  with_storage(p.dtype(),
               [&]<class Storage>(std::type_identity<Storage>) { keep_targets_of<Storage>(p); });
}

template <class Storage>
void CudaBackend::keep_targets_of(CudaPlan& p) {
  using Compute = typename StorageTraits<Storage>::Compute;
  using Key = typename WeightSourceOf<Storage>::Key;
  const auto selections = static_cast<std::int32_t>(p.control.wanted.size());
  if (p.control.some_left_alone) {
    launch(context_, {"keep_lambda_kernel", 1, kThreads}, keep_lambda_kernel<kThreads, Compute>,
           p.lambda<Compute>(), p.selection_of(), p.keep_lambda<Compute>(),
           static_cast<std::int32_t>(p.groups()));
  }
  gradient_step(p);
  const SelectGroups groups(p.selection_of());
  if (!p.control.bounded.empty()) share_targets<Storage>(p, groups);
  launch(context_, {"keep_begin_kernel", 1, kThreads}, keep_begin_kernel<kThreads, Key>, p.wanted(),
         selections, p.select_header(), p.select_states<Key>());
  for (std::int32_t pass = 0; pass < kSelectPasses<Key>; ++pass) {
    count_weights<Storage>(p, groups);
    launch(context_, {"select_pick_kernel", selections, kSelectThreads},
           select_pick_kernel<kSelectThreads, Key>, p.select_header(), p.select_states<Key>(),
           p.select_results<Key>(), p.bins(), selections);
  }
  launch(context_, {"keep_ties_kernel", selections, kThreads}, keep_ties_kernel<kThreads, Storage>,
         p.list(), groups, p.select_states<Key>(), p.tie_ends(), selections);
  using Penalty = KeepLargestPenaltyOf<Storage>;
  const Penalty penalty{p.list().tensors, groups, p.select_states<Key>(), p.tie_ends()};
  launch(context_, {"prox_step_kernel", p.tile_count(), kThreads},
         prox_step_kernel<Storage, ThresholdStep<Compute>, Penalty, kSecondHalf, kThreads>,
         step_arguments<Compute>(p), penalty);
}

/// A pass over the weights of every selection that runs.
template <class Storage>
void CudaBackend::count_weights(CudaPlan& p, const SelectGroups& groups) {
  launch(context_, {"select_count_kernel", p.tile_count(), kSelectThreads},
         select_count_kernel<WeightSourceOf<Storage>, kSelectThreads>, p.list(), groups,
         p.select_header(), p.select_states<typename WeightSourceOf<Storage>::Key>(), p.bins());
}

template <class Storage>
void CudaBackend::share_targets(CudaPlan& p, const SelectGroups& groups) {
  using Key = typename WeightSourceOf<Storage>::Key;
  const auto count = static_cast<std::int32_t>(p.control.bounded.size());
  const ShareArgumentsOf<Key> args{p.control_groups(),
                                   p.bounded(),
                                   p.target_of(),
                                   p.selection_of(),
                                   p.group_bounds(),
                                   p.status(),
                                   p.select_header(),
                                   p.select_states<Key>(),
                                   p.bins(),
                                   p.share_counts(),
                                   p.wanted(),
                                   count,
                                   static_cast<std::int32_t>(p.groups()),
                                   static_cast<std::int32_t>(p.control.wanted.size())};
  launch(context_, {"share_begin_kernel", 1, kThreads}, share_begin_kernel<kThreads, Key>, args);
  for (std::int32_t pass = 0; pass < kSelectPasses<Key>; ++pass) {
    count_weights<Storage>(p, groups);
    launch(context_, {"share_pick_kernel", count, kThreads}, share_pick_kernel<kThreads, Key>,
           args);
  }
}

void CudaBackend::freeze(ProxPlan& plan) {
  CudaPlan& p = as_cuda_plan(plan);
  with_storage(p.dtype(), [&]<class Storage>(std::type_identity<Storage>) {
    launch(context_, {"support_kernel", p.tile_count(), kThreads},
           support_kernel<kThreads, Storage>, p.list(), p.support());
  });
  p.frozen = true;
}

std::vector<float> CudaBackend::read_lambda(ProxPlan& plan) {
  const CudaPlan& p = as_cuda_plan(plan);
  std::vector<float> lambda(p.groups());
  if (lambda.empty()) return lambda;
  with_compute(p.dtype(), [&]<class Compute>(std::type_identity<Compute>) {
    std::vector<Compute> values(lambda.size());
    const std::size_t bytes = values.size() * sizeof(Compute);
    std::memcpy(values.data(), context_.read(p.lambda<Compute>(), bytes, 8 * values.size()), bytes);
    std::transform(values.begin(), values.end(), lambda.begin(),
                   [](Compute value) { return static_cast<float>(value); });
  });
  return lambda;
}

}  // namespace cuthresh::cuda
