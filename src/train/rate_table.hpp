#pragma once

#include <cstdint>
#include <vector>

#include "backend/backend.hpp"
#include "core/array.hpp"
#include "kernels/math/schedule.hpp"

namespace cuthresh::train {

/// The learning rates of a round's steps, on the device a window at a time, where plain and
/// captured steps find theirs by the plan's number of steps.
class RateTable {
 public:
  /// Steps of a window: 16 KiB, uploaded once in so many steps.
  static constexpr std::int64_t kWindow = 4096;

  RateTable(Backend& backend, const Schedule& schedule);

  /// Of a round of `steps`: has the rates from step `step` to the end of its window.
  void prepare(std::int64_t step, std::int64_t steps);
  /// The first step after `step` in another window.
  static std::int64_t window_end(std::int64_t step) { return (step / kWindow + 1) * kWindow; }
  /// Of a step in the window that was prepared.
  float at(std::int64_t step) const { return rates_[static_cast<std::size_t>(step % kWindow)]; }
  /// Gives the plan the rate of the step that it takes next.
  void follow(ProxPlan& plan) { backend_.follow_rates(plan, table_.data(), kWindow); }

 private:
  Backend& backend_;
  Schedule schedule_;
  std::vector<float> rates_;
  Array<float> table_;
  std::int64_t window_ = -1;
  std::int64_t steps_ = -1;
};

}  // namespace cuthresh::train
