#pragma once

// The learning rate of a step, from the step's number alone: a round that is begun again begins its
// schedule again. In float64; who uses it rounds once.

#include <cmath>
#include <cstdint>

namespace cuthresh {

enum class ScheduleKind : std::uint8_t { kConstant, kStep, kCosine };

/// For `warmup` steps α·(t + 1)/warmup, which begins above 0 and ends at α. From there on, s steps
/// after the warm-up of a round that has S of them:
///   kConstant  α
///   kStep      α·decay_factor^⌊s/decay_every⌋
///   kCosine    β + (α − β)·(1 + cos(πs/S))/2, with β = final_learning_rate
/// The last two are PyTorch's StepLR and CosineAnnealingLR (T_max = S) in closed form.
struct Schedule {
  ScheduleKind kind = ScheduleKind::kConstant;
  double learning_rate = 0.1;  ///< α > 0
  std::int64_t warmup = 0;
  std::int64_t decay_every = 1;  ///< ≥ 1
  double decay_factor = 0.1;
  double final_learning_rate = 0.0;

  /// Of step `step`, from 0, of a round of `steps`.
  double at(std::int64_t step, std::int64_t steps) const {
    if (step < warmup) {
      return learning_rate * (static_cast<double>(step + 1) / static_cast<double>(warmup));
    }
    const std::int64_t since = step - warmup;
    switch (kind) {
      case ScheduleKind::kConstant:
        break;
      case ScheduleKind::kStep:
        return learning_rate * std::pow(decay_factor, static_cast<double>(since / decay_every));
      case ScheduleKind::kCosine: {
        constexpr double kPi = 3.14159265358979323846;
        const double turn = static_cast<double>(since) / static_cast<double>(steps - warmup);
        return final_learning_rate +
               (learning_rate - final_learning_rate) * 0.5 * (1.0 + std::cos(kPi * turn));
      }
    }
    return learning_rate;
  }
};

}  // namespace cuthresh
