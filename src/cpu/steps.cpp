// What a captured step needs of a room, in one that has nothing to capture: its work is done when a
// call returns.

#include "backend/checks.hpp"
#include "cpu/backend_impl.hpp"
#include "cuthresh/error.hpp"
#include "kernels/math/step_number.hpp"

namespace cuthresh::cpu {

std::int64_t step_number(const ProxPlan* plan, std::int64_t number) {
  return plan == nullptr ? number : static_cast<const CpuPlan*>(plan)->status.steps;
}

std::int64_t first_row(const StepRows& of_step) {
  const RowsOfStep rows{
      {nullptr, step_number(of_step.plan, of_step.step)}, of_step.batch, of_step.steps_an_epoch};
  return rows.first();
}

void CpuBackend::follow_rates(ProxPlan& plan, const float* learning_rate, std::int64_t length) {
  CpuPlan& p = as_cpu_plan(plan);
  check_rate_table(learning_rate, length, p.dtype());
  for (auto& rate : p.rates) rate.learning_rate = learning_rate[p.status.steps % length];
}

Captured CpuBackend::capture(const std::function<void()>&) {
  return {nullptr, unsupported(Operation::kGraph)};
}

void CpuBackend::replay(StepGraph&) {
  throw InternalError({"replay", "the CPU room captures nothing", "a graph of another room",
                       "replay graphs in the room that captured them"});
}

}  // namespace cuthresh::cpu
