#include <cstring>

#include "backend/checks.hpp"
#include "cuda/backend_impl.hpp"
#include "cuda/launch.hpp"
#include "cuthresh/error.hpp"
#include "kernels/block/control.cuh"
#include "kernels/block/keep_largest.cuh"
#include "kernels/block/prox_step.cuh"
#include "kernels/block/support.cuh"

namespace cuthresh::cuda {
namespace {

constexpr std::uint32_t kThreads = 256;
constexpr std::uint32_t kSelectThreads = 512;

}  // namespace

void CudaBackend::set_control(ProxPlan& plan, const ControlRule& rule,
                              std::span<const ControlTarget> targets) {
  CudaPlan& p = as_cuda_plan(plan);
  const std::vector<std::int32_t> target_of = check_control(rule, targets, p.tensors(), p.groups());
  const std::vector<ControlGroup> groups = control_groups(targets, p.tensors(), target_of);
  context_.upload(p.control_groups(), groups.data(), groups.size() * sizeof(ControlGroup));
  context_.upload(p.target_of(), target_of.data(), target_of.size() * sizeof(std::int32_t));
  context_.zero(p.lambda(), p.groups() * sizeof(float));
  p.control_rule = rule;
  p.targets = static_cast<std::int32_t>(targets.size());
}

void CudaBackend::control(ProxPlan& plan) {
  const CudaPlan& p = as_cuda_plan(plan);
  if (p.targets == 0) return;
  const ControlArguments args{p.control_rule,
                              p.control_groups(),
                              p.target_of(),
                              p.status(),
                              p.lambda(),
                              p.targets,
                              static_cast<std::int32_t>(p.groups()),
                              p.skip};
  launch(context_, {"control_kernel", 1, kThreads}, control_kernel<kThreads>, args);
}

void CudaBackend::control(ProxPlan&, const std::int64_t*) {
  throw InternalError({"control", "not yet", "", ""});
}

void CudaBackend::copy_counts(ProxPlan&, std::int64_t*) {
  throw InternalError({"copy_counts", "not yet", "", ""});
}

ControlState CudaBackend::read_control(ProxPlan&) {
  throw InternalError({"read_control", "not yet", "", ""});
}

void CudaBackend::restore_control(ProxPlan&, const ControlState&) {
  throw InternalError({"restore_control", "not yet", "", ""});
}

void CudaBackend::keep_targets(ProxPlan& plan) {
  CudaPlan& p = as_cuda_plan(plan);
  gradient_step(p);
  if (p.targets == 0) return;
  const SelectGroups groups(p.target_of());
  launch(context_, {"keep_begin_kernel", 1, kThreads}, keep_begin_kernel<kThreads>,
         p.control_groups(), p.targets, p.select_header(), p.select_states());
  std::uint64_t* bins = p.bins();
  for (std::int32_t pass = 0; pass < kSelectMaxPasses; ++pass) {
    launch(context_, {"select_count_kernel", p.tile_count(), kSelectThreads},
           select_count_kernel<WeightSource, kSelectThreads>, p.list(), groups, p.select_header(),
           p.select_states(), bins);
    launch(context_, {"select_pick_kernel", p.targets, kSelectThreads},
           select_pick_kernel<kSelectThreads>, p.select_header(), p.select_states(),
           p.select_results(), bins, p.targets);
  }
  launch(context_, {"keep_ties_kernel", p.targets, kThreads}, keep_ties_kernel<kThreads>, p.list(),
         groups, p.select_states(), p.tie_ends(), p.targets);
  const KeepLargestPenalty penalty{p.list().tensors, groups, p.select_states(), p.tie_ends()};
  launch(context_, {"prox_step_kernel", p.tile_count(), kThreads},
         prox_step_kernel<float, ThresholdStep<float>, KeepLargestPenalty, kSecondHalf, kThreads>,
         step_arguments(p), penalty);
}

void CudaBackend::freeze(ProxPlan& plan) {
  CudaPlan& p = as_cuda_plan(plan);
  launch(context_, {"support_kernel", p.tile_count(), kThreads}, support_kernel<kThreads>, p.list(),
         p.support());
  p.frozen = true;
}

std::vector<float> CudaBackend::read_lambda(ProxPlan& plan) {
  const CudaPlan& p = as_cuda_plan(plan);
  std::vector<float> lambda(p.groups());
  if (!lambda.empty()) {
    std::memcpy(lambda.data(),
                context_.read(p.lambda(), lambda.size() * sizeof(float), 8 * lambda.size()),
                lambda.size() * sizeof(float));
  }
  return lambda;
}

}  // namespace cuthresh::cuda
