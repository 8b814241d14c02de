// Reductions over a plan's list, of its contents as they are.

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "capi/handles.hpp"

namespace cuthresh::capi {
namespace {

/// The plan that reads an operand in the place of gradients.
ProxPlan& plan_of(const char* function, Plan& p, const cth_operand& operand) {
  const std::int32_t number = number_of(operand);
  if (number == CTH_OF_GRADIENTS) {
    p.require_gradients(function);
    return *p.room_plan;
  }
  if (number != CTH_OF_WEIGHTS) {
    invalid(argument(function, "operand"), "must be CTH_OF_WEIGHTS or CTH_OF_GRADIENTS",
            std::to_string(number), "use one of them");
  }
  if (p.of_weights == nullptr) {
    std::vector<ProxTensor> tensors = p.tensors;
    for (ProxTensor& tensor : tensors) tensor.g = tensor.w;
    p.of_weights = p.backend().make_plan(tensors, static_cast<std::int32_t>(p.groups));
  }
  return *p.of_weights;
}

std::pair<float, float> read_bracket(const std::string& where, const cth_bracket& bracket) {
  if (!(bracket.low >= 0.0f && bracket.low <= bracket.high)) {
    invalid(where, "must have 0 <= low <= high",
            text_of(bracket.low) + " to " + text_of(bracket.high), "infinity is allowed as high");
  }
  return {bracket.low, bracket.high};
}

}  // namespace
}  // namespace cuthresh::capi

using namespace cuthresh::capi;

cth_status cth_count_nonzero(cth_plan* plan, uint64_t* nonzeros, size_t groups) {
  constexpr char kFunction[] = "cth_count_nonzero";
  return with_plan(kFunction, plan, [&](Plan& p) {
    require(kFunction, "nonzeros", nonzeros);
    require_count(kFunction, "groups", groups, p.groups, "groups of the plan");
    const std::vector<std::uint64_t> counts = p.backend().read_nonzeros(*p.room_plan);
    std::copy(counts.begin(), counts.end(), nonzeros);
  });
}

cth_status cth_bracket_median(cth_plan* plan, cth_operand operand, const cth_bracket* brackets,
                              cth_median* medians, size_t count) {
  constexpr char kFunction[] = "cth_bracket_median";
  return with_plan(kFunction, plan, [&](Plan& p) {
    require(kFunction, "brackets", brackets);
    require(kFunction, "medians", medians);
    if (count != 1) require_count(kFunction, "count", count, p.groups, "groups of the plan, or 1");
    std::vector<std::pair<float, float>> pairs;
    pairs.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      pairs.push_back(read_bracket(argument(kFunction, element("brackets", i)), brackets[i]));
    }
    cuthresh::ProxPlan& of = plan_of(kFunction, p, operand);
    const std::vector<cuthresh::MedianResult> results = p.backend().read_bracket_medians(of, pairs);
    for (std::size_t i = 0; i < count; ++i) {
      constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
      medians[i] = {results[i].inside, results[i].median.value_or(kNone)};
    }
  });
}

cth_status cth_kth_magnitude(cth_plan* plan, cth_operand operand, int64_t k, float* magnitude) {
  constexpr char kFunction[] = "cth_kth_magnitude";
  return with_plan(kFunction, plan, [&](Plan& p) {
    require(kFunction, "magnitude", magnitude);
    cuthresh::ProxPlan& of = plan_of(kFunction, p, operand);
    *magnitude = p.backend().read_kth_gradient(of, k);
  });
}

cth_status cth_kkt_residual(cth_plan* plan, cth_kkt* residuals, size_t groups) {
  constexpr char kFunction[] = "cth_kkt_residual";
  return with_plan(kFunction, plan, [&](Plan& p) {
    require(kFunction, "residuals", residuals);
    require_count(kFunction, "groups", groups, p.groups, "groups of the plan");
    p.require_gradients(kFunction);
    const std::vector<cuthresh::KktResult> results = p.backend().read_kkt(*p.room_plan);
    std::transform(results.begin(), results.end(), residuals, [](const cuthresh::KktResult& r) {
      return cth_kkt{r.nonzeros, r.zeros, r.on_nonzero, r.on_zero};
    });
  });
}
