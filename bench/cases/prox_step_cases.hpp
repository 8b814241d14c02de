#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "bench/cases/lists.hpp"
#include "bench/core/case.hpp"

namespace cuthresh::bench {

/// How a case makes its plan and steps.
struct StepWay {
  std::function<std::unique_ptr<ProxPlan>(const Room& room, std::span<const ProxTensor> tensors,
                                          std::int32_t groups)>
      make_plan;
  std::function<void(const Room& room, ProxPlan& plan)> step;
};

/// Plain float32 steps of a dense list, taken and checked as those of prox_step_cases().
Case plain_step_case(const std::string& name, const std::string& how, const ListShape& list,
                     const StepWay& way);

}  // namespace cuthresh::bench
