#pragma once

// The learning rate of every rate of a plan = that of the step that comes next, from a table in
// device memory that repeats: a captured step follows its schedule. One block; reads 4 bytes,
// writes 4 a rate; the limiter is the launch. Covered by tests/kernels/follow_rates_test.cpp.

#include <cstdint>

#include "kernels/math/step_number.hpp"
#include "kernels/math/step_rate.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

template <class Compute, std::uint32_t kThreads = 128>
CTH_KERNEL(kThreads)
follow_rates_kernel(StepRateOf<Compute>* rates, std::int64_t count, const Compute* learning_rate,
                    std::int64_t length, StepNumber step) {
  if (device::block_index() != 0) return;
  const Compute now = learning_rate[step() % length];
  for (std::int64_t i = device::thread_index(); i < count; i += kThreads) {
    rates[i].learning_rate = now;
  }
}

}  // namespace cuthresh
