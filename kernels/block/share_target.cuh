#pragma once

// How many entries each group of a target with bounds keeps (kernels/math/control.hpp): as many as
// have magnitudes from some key on, within its bounds; of such keys the highest with which the
// groups keep the target in all. Where that is too much, the first groups have those that are equal
// to it. The key is found as select.cuh finds one: share_begin_kernel, then up to three times (five
// for float64) select_count_kernel, with a selection a group, and share_pick_kernel, which narrows
// all groups of a target to one range. Reads a weight an element and pass; the limiter is memory.
// Integers throughout: the same result for any grid. Covered by
// tests/kernels/keep_largest_test.cpp.

#include <cstdint>

#include "kernels/block/multi_tensor.cuh"
#include "kernels/block/reduce.cuh"
#include "kernels/block/select.cuh"
#include "kernels/math/control.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

/// A group's keys above the range that is left, and in the part of it that is looked at.
struct ShareCount {
  std::uint64_t above;
  std::uint64_t part;
};

template <class Key>
struct ShareArgumentsOf {
  const ControlGroup* targets;
  const std::int32_t* bounded;       // [count] targets
  const std::int32_t* target_of;     // [groups], −1: none
  const std::int32_t* selection_of;  // [groups], −1: none; of these targets one a group
  const GroupBounds* bounds;         // [groups]
  StepHeader* status;                // then [groups] counts: those after the gradient step
  SelectHeader* header;
  SelectStateOf<Key>* states;  // [selections]
  std::uint64_t* bins;         // [selections][kSelectBins]
  ShareCount* counts;          // [groups]
  std::uint64_t* wanted;       // [selections], the result; written for the groups of these targets
  std::int32_t count;
  std::int32_t groups;
  std::int32_t selections;
};
using ShareArguments = ShareArgumentsOf<std::uint32_t>;

/// No selection runs but those of the groups that share, over all keys.
template <std::uint32_t kThreads, class Key = std::uint32_t>
CTH_KERNEL(kThreads)
share_begin_kernel(ShareArgumentsOf<Key> args) {
  if (device::block_index() != 0) return;
  const auto thread = static_cast<std::int32_t>(device::thread_index());
  constexpr auto kStep = static_cast<std::int32_t>(kThreads);
  for (std::int32_t s = thread; s < args.selections; s += kStep) args.states[s] = {};
  device::sync_block();
  for (std::int32_t b = thread; b < args.count; b += kStep) {
    for (std::int32_t g = 0; g < args.groups; ++g) {
      if (args.target_of[g] != args.bounded[b]) continue;
      args.states[args.selection_of[g]] = select_kth_largest<Key>(1);
      args.counts[g] = {0, 0};
    }
  }
  if (thread == 0) args.header->running = 1;
}

/// A block a target; any grid is right. Leaves the bins zero. Few blocks there are: for eight of
/// them a multiprocessor the compiler would spill.
template <std::uint32_t kThreads, class Key = std::uint32_t>
CTH_KERNEL_RESIDENT(kThreads, 2)
share_pick_kernel(ShareArgumentsOf<Key> args) {
  struct Shared {
    std::uint64_t warps[kThreads / device::kWarp];
  };
  CTH_SHARED(Shared, shared);
  constexpr auto kWarps = static_cast<std::int32_t>(kThreads / device::kWarp);
  const auto warp = static_cast<std::int32_t>(device::thread_index() / device::kWarp);
  const std::uint32_t lane = device::lane();

  for (std::int64_t b = device::block_index(); b < args.count; b += device::block_count()) {
    const std::int32_t target = args.bounded[b];
    const std::uint64_t wanted = args.targets[target].target;
    // f(group) for this warp's groups of the target.
    const auto each_group = [&](auto f) {
      for (std::int32_t g = warp; g < args.groups; g += kWarps) {
        if (args.target_of[g] == target) f(g);
      }
    };
    // What the groups keep together with the keys in bins [first, end) and above. All threads call.
    const auto kept_with = [&](std::uint32_t first, std::uint32_t end) {
      std::uint64_t kept = 0;
      each_group([&](std::int32_t g) {
        const std::uint64_t* own = args.bins + args.selection_of[g] * std::int64_t{kSelectBins};
        std::uint64_t part = 0;
        for (std::uint32_t bin = first + lane; bin < end; bin += device::kWarp) part += own[bin];
        part = device::warp_sum(part);
        if (lane != 0) return;
        args.counts[g].part = part;
        kept += args.bounds[g].kept(args.counts[g].above + part, group_counts(args.status)[g]);
      });
      return device::block_sum<kThreads>(kept, shared.warps);
    };
    std::int32_t any = 0;
    while (args.target_of[any] != target) ++any;
    const SelectStateOf<Key> state = args.states[args.selection_of[any]];
    if (state.running == 0) continue;
    const auto width = static_cast<std::uint32_t>((state.last - state.first) >> state.shift) + 1U;
    // From bin `low` on they keep the target or more, from `high` on less.
    std::uint32_t low = 0;
    std::uint32_t high = width;
    const bool searched = kept_with(0, 0) < wanted;  // else their least are the target
    while (searched && high - low > 1) {
      const std::uint32_t middle = low + (high - low) / 2;
      if (kept_with(middle, high) >= wanted) {
        low = middle;
        continue;
      }
      high = middle;
      each_group([&](std::int32_t g) {
        if (lane == 0) args.counts[g].above += args.counts[g].part;
      });
    }
    if (searched) kept_with(low, high);
    each_group([&](std::int32_t g) {
      std::uint64_t* own = args.bins + args.selection_of[g] * std::int64_t{kSelectBins};
      for (std::uint32_t bin = lane; bin < width; bin += device::kWarp) own[bin] = 0;
      if (lane != 0) return;
      SelectStateOf<Key>& next = args.states[args.selection_of[g]];
      next.first = state.first + (Key{low} << state.shift);
      next.last = next.first + ((Key{1} << state.shift) - 1U);
      next.shift = select_shift(next.first, next.last);
      next.running = searched && next.first != next.last ? 1U : 0U;
    });
    device::sync_block();
    if (device::thread_index() != 0 || (searched && state.shift != 0)) continue;
    std::uint64_t missing = wanted;
    const auto kept = [&](std::int32_t g, std::uint64_t more) {
      return args.bounds[g].kept(args.counts[g].above + more, group_counts(args.status)[g]);
    };
    for (std::int32_t g = 0; g < args.groups; ++g) {
      if (args.target_of[g] == target) missing -= kept(g, 0);
    }
    for (std::int32_t g = 0; g < args.groups; ++g) {
      if (args.target_of[g] != target) continue;
      const std::uint64_t own = kept(g, 0);
      const std::uint64_t equal = kept(g, args.counts[g].part) - own;
      const std::uint64_t more = equal < missing ? equal : missing;
      args.wanted[args.selection_of[g]] = own + more;
      missing -= more;
    }
  }
}

}  // namespace cuthresh
