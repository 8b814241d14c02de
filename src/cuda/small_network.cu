#include <algorithm>
#include <cstddef>

#include "backend/checks_small_network.hpp"
#include "cuda/backend_impl.hpp"
#include "cuda/launch.hpp"
#include "kernels/block/small_network_pass.cuh"
#include "kernels/block/small_network_step.cuh"

namespace cuthresh::cuda {
namespace {

/// The plan's tensors and what `args` says of the layers; where the passes leave their matrices
/// comes from `memory`, or with null is only measured: floats needed.
std::int64_t lay_out(const SmallNetworkStep& args, std::span<const ProxTensor> tensors,
                     float* memory, SmallNetwork& network) {
  std::int64_t used = 0;
  const auto take = [&](std::int32_t columns) {
    float* const at = memory == nullptr ? nullptr : memory + used;
    used += blocked_size(args.rows, columns);
    return at;
  };
  network = {};
  network.layers = static_cast<std::int32_t>(args.layers.size());
  network.rows = args.rows;
  for (std::size_t l = 0; l < args.layers.size(); ++l) {
    const SmallNetworkLayer& from = args.layers[l];
    SmallLayer& layer = network.layer[l];
    layer.w = static_cast<const float*>(tensors[2 * l].w);
    layer.b = static_cast<const float*>(tensors[2 * l + 1].w);
    layer.in = static_cast<std::int32_t>(from.in);
    layer.out = static_cast<std::int32_t>(from.out);
    layer.activation = from.activation;
    layer.leaky_slope = from.leaky_slope;
    layer.dw = from.dw;
    layer.db = from.db;
    layer.x = take(layer.in);
    layer.d = take(layer.out);
    if (needs_preactivation(from.activation)) layer.z = take(layer.out);
  }
  return used;
}

std::int32_t count_tiles(const SmallNetwork& network) {
  std::int32_t tiles = 0;
  for (std::int32_t l = 0; l < network.layers; ++l) {
    tiles += gradient_tiles(network.layer[l].in, network.layer[l].out);
  }
  return tiles;
}

template <class T>
T* small_scratch(Context& context, Scratch which, std::int64_t count) {
  return static_cast<T*>(context.scratch(which, static_cast<std::size_t>(count) * sizeof(T)));
}

void launch_pass(Context& context, const CudaPlan& plan, const SmallNetworkStep& args,
                 const SmallNetwork& network) {
  SmallPassArguments pass{};
  pass.network = network;
  pass.input = args.x;
  pass.target = args.target;
  pass.label = args.label;
  pass.gradient_scale = args.gradient_scale;
  pass.status = plan.status();
  pass.skip = plan.skip;
  if (args.sum != nullptr) {
    pass.sum = {&args.sum->loss, &args.sum->correct, false};
    pass.scratch = {
        small_scratch<double>(context, Scratch::kLossPartials, softmax_partials(args.rows)),
        small_scratch<double>(context, Scratch::kLossRows, args.rows),
        small_scratch<std::uint32_t>(context, Scratch::kLossHits, args.rows), context.tickets(1)};
  }
  launch(context, {"small_network_pass_kernel", row_blocks(args.rows), kSmallThreads},
         small_network_pass_kernel, pass);
}

template <class Step, class Penalty>
void launch_small_step(Context& context, std::int64_t blocks, const SmallStepArguments& args,
                       const Penalty& penalty) {
  launch(context, {"small_network_step_kernel", blocks, kSmallThreads},
         small_network_step_kernel<Step, Penalty>, args, penalty);
}

template <class Penalty>
void launch_small_step(Context& context, StepKind kind, std::int64_t blocks,
                       const SmallStepArguments& args, const Penalty& penalty) {
  switch (kind) {
    case StepKind::kPlain:
      return launch_small_step<PlainStep<float>>(context, blocks, args, penalty);
    case StepKind::kMomentum:
      return launch_small_step<MomentumStep<float>>(context, blocks, args, penalty);
    case StepKind::kNesterov:
      return launch_small_step<NesterovStep<float>>(context, blocks, args, penalty);
    case StepKind::kThreshold:
      return;  // refused before
  }
}

}  // namespace

void CudaBackend::small_network_step(ProxPlan& plan, const SmallNetworkStep& args) {
  CudaPlan& p = as_cuda_plan(plan);
  check_small_network(args, p.tensors(), p.kind(), p.dtype());
  SmallStepArguments step{};
  const std::int64_t floats = lay_out(args, p.tensors(), nullptr, step.network);
  lay_out(args, p.tensors(), small_scratch<float>(context_, Scratch::kSmallNetwork, floats),
          step.network);
  launch_pass(context_, p, args, step.network);

  const std::int32_t tiles = count_tiles(step.network);
  step.plan = step_arguments<float>(p);
  step.parts = gradient_parts(tiles, args.rows);
  step.step = args.step;
  if (step.parts > 1) {
    step.partials = small_scratch<float>(context_, Scratch::kSmallPartials,
                                         std::int64_t{tiles} * step.parts * kGradientPartial);
    step.tickets = context_.tickets(tiles);
  }
  const std::int64_t blocks = std::int64_t{tiles} * step.parts;
  if (p.frozen) {
    return launch_small_step(context_, p.kind(), blocks, step, FrozenSupport<float>{p.support()});
  }
  launch_small_step(context_, p.kind(), blocks, step, L1Penalty<float>{});
}

}  // namespace cuthresh::cuda
