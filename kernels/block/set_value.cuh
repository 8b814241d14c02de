#pragma once

// *to = value: one number that rides in the launch itself, so that a host that sets it before every
// step neither stages a copy nor waits for one. 4 bytes; the limiter is the launch.
// Covered by tests/kernels/prox_step_stop_test.cpp and tests/cuda/launch_path_test.cpp.

#include "kernels/platform.hpp"

namespace cuthresh {

template <class T, std::uint32_t kThreads = 32>
CTH_KERNEL(kThreads)
set_value_kernel(T* to, T value) {
  if (device::block_index() == 0 && device::thread_index() == 0) *to = value;
}

}  // namespace cuthresh
