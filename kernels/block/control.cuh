#pragma once

// λ of controlled groups from the counts that the latest step left, or from counts that the caller
// has (kernels/math/control.hpp); and these counts for the caller: a thread a target, one block.
// Reads 8 bytes a group and target; the limiter is the launch. Covered by
// tests/kernels/keep_largest_test.cpp.

#include <cstdint>

#include "kernels/block/multi_tensor.cuh"
#include "kernels/math/control.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

struct ControlArguments {
  ControlRule rule;
  ControlGroup* targets;          // [count]; the integral part moves
  const std::int32_t* target_of;  // [groups], −1: none
  const GroupBounds* bounds;      // [groups]
  StepHeader* status;             // then [groups] counts
  float* lambda;                  // [groups], written for groups with a target
  std::int32_t count;
  std::int32_t groups;
  const std::int64_t* given;  // [count]; null: those of the status
  const float* skip;          // while it is not 0 nothing is done; null: never
};

/// Nonzeros of a target's groups after the latest step.
CTH_HD std::int64_t target_count(std::int32_t target, const std::int32_t* target_of,
                                 const std::uint64_t* counts, std::int32_t groups) {
  std::uint64_t count = 0;
  for (std::int32_t g = 0; g < groups; ++g) {
    if (target_of[g] == target) count += counts[g];
  }
  return static_cast<std::int64_t>(count);
}

/// Nothing once status->stopped is set: λ stays that of the step that stopped.
template <std::uint32_t kThreads>
CTH_KERNEL(kThreads)
control_kernel(ControlArguments args) {
  if (device::block_index() != 0 || args.status->stopped != 0) return;
  if (args.skip != nullptr && *args.skip != 0.0f) return;
  const std::uint64_t* const counts = group_counts(args.status);
  const auto steps = static_cast<std::int64_t>(args.status->steps);
  if (!args.rule.updates_after(steps)) return;
  for (auto t = static_cast<std::int32_t>(device::thread_index()); t < args.count;
       t += static_cast<std::int32_t>(kThreads)) {
    const std::int64_t count = args.given != nullptr
                                   ? args.given[t]
                                   : target_count(t, args.target_of, counts, args.groups);
    ControlGroup target = args.targets[t];
    const float lambda = controlled_lambda(args.rule, target, count, steps);
    args.targets[t] = target;
    for (std::int32_t g = 0; g < args.groups; ++g) {
      if (args.target_of[g] == t)
        args.lambda[g] = args.bounds[g].lambda(lambda, args.lambda[g], counts[g]);
    }
  }
}

template <std::uint32_t kThreads>
CTH_KERNEL(kThreads)
copy_counts_kernel(const std::int32_t* target_of, StepHeader* status, std::int64_t* to,
                   std::int32_t count, std::int32_t groups) {
  if (device::block_index() != 0) return;
  for (auto t = static_cast<std::int32_t>(device::thread_index()); t < count;
       t += static_cast<std::int32_t>(kThreads)) {
    to[t] = target_count(t, target_of, group_counts(status), groups);
  }
}

}  // namespace cuthresh
