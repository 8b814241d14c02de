#pragma once

// Up to kCount values that ride in the launch itself, so that a host that sets them before every
// step neither stages a copy nor waits for one, and a graph can capture it. They go to places
// `stride` bytes apart: a member of consecutive records. The limiter is the launch.
// Covered by tests/kernels/set_values_test.cpp and tests/cuda/launch_path_test.cpp.

#include <cstddef>
#include <cstdint>

#include "kernels/platform.hpp"

namespace cuthresh {

template <class T, std::int32_t kCount>
struct ValuesToSet {
  T value[kCount];
  std::int32_t count;  // ≤ kCount
};

template <class T, std::int32_t kCount, std::uint32_t kThreads = 128>
CTH_KERNEL(kThreads)
set_values_kernel(T* first, std::int64_t stride, ValuesToSet<T, kCount> values) {
  if (device::block_index() != 0) return;
  for (auto i = static_cast<std::int32_t>(device::thread_index()); i < values.count;
       i += static_cast<std::int32_t>(kThreads)) {
    *reinterpret_cast<T*>(reinterpret_cast<std::byte*>(first) + i * stride) = values.value[i];
  }
}

}  // namespace cuthresh
