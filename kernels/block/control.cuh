#pragma once

// λ of controlled groups from the counts that the latest step left (kernels/math/control.hpp): a
// thread a target, one block. Reads 8 bytes a group and target; the limiter is the launch.
// Covered by tests/kernels/keep_largest_test.cpp.

#include <cstdint>

#include "kernels/block/multi_tensor.cuh"
#include "kernels/math/control.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

struct ControlArguments {
  ControlRule rule;
  ControlGroup* targets;          // [count]; the integral part moves
  const std::int32_t* target_of;  // [groups], −1: none
  StepHeader* status;             // then [groups] counts
  float* lambda;                  // [groups], written for groups with a target
  std::int32_t count;
  std::int32_t groups;
  const float* skip = nullptr;  // as a step's
};

/// Nothing once status->stopped is set: λ stays that of the step that stopped. Nor while *skip is.
template <std::uint32_t kThreads>
CTH_KERNEL(kThreads)
control_kernel(ControlArguments args) {
  if (device::block_index() != 0 || args.status->stopped != 0) return;
  if (args.skip != nullptr && *args.skip != 0.0f) return;
  const std::uint64_t* const counts = group_counts(args.status);
  const auto steps = static_cast<std::int64_t>(args.status->steps);
  for (auto t = static_cast<std::int32_t>(device::thread_index()); t < args.count;
       t += static_cast<std::int32_t>(kThreads)) {
    std::uint64_t count = 0;
    for (std::int32_t g = 0; g < args.groups; ++g) {
      if (args.target_of[g] == t) count += counts[g];
    }
    ControlGroup target = args.targets[t];
    const float lambda = controlled_lambda(args.rule, target, count, steps);
    args.targets[t] = target;
    for (std::int32_t g = 0; g < args.groups; ++g) {
      if (args.target_of[g] == t) args.lambda[g] = lambda;
    }
  }
}

}  // namespace cuthresh
