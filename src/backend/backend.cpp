#include "backend/backend.hpp"

#include "backend/checks.hpp"

// What callers that work in float32 throughout call.

namespace cuthresh {

void Backend::set_lambda(ProxPlan& plan, std::span<const float> lambda) {
  const std::vector<double> wide(lambda.begin(), lambda.end());
  set_lambda(plan, wide);
}

void Backend::set_rates(ProxPlan& plan, std::span<const StepRate> rates) {
  std::vector<StepRateOf<double>> wide;
  wide.reserve(rates.size());
  for (const StepRate& rate : rates) {
    wide.push_back({static_cast<double>(rate.learning_rate), static_cast<double>(rate.momentum),
                    static_cast<double>(rate.weight_decay)});
  }
  set_rates(plan, wide);
}

void Backend::set_gradients(ProxPlan& plan, std::span<const float* const> gradients) {
  const std::vector<const void*> list(gradients.begin(), gradients.end());
  set_gradients(plan, list);
}

std::vector<MedianResult> Backend::read_bracket_medians(
    ProxPlan& plan, std::span<const std::pair<float, float>> brackets) {
  check_narrow("read_bracket_medians", plan.dtype());
  const std::vector<std::pair<double, double>> wide(brackets.begin(), brackets.end());
  std::vector<MedianResult> results;
  for (const MedianResultOf<double>& found : read_bracket_medians(plan, wide)) {
    MedianResult& result = results.emplace_back();
    result.inside = found.inside;
    if (found.median) result.median = static_cast<float>(*found.median);
  }
  return results;
}

float Backend::read_kth_gradient(ProxPlan& plan, std::int64_t k) {
  check_narrow("read_kth_gradient", plan.dtype());
  return static_cast<float>(read_kth_magnitude(plan, k));
}

}  // namespace cuthresh
