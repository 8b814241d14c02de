// Reductions over a plan's list, of its contents as they are.

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
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
    p.of_weights = p.backend().make_plan(tensors, static_cast<std::int32_t>(p.groups),
                                         StepKind::kPlain, p.dtype);
  }
  return *p.of_weights;
}

template <class Bracket>
std::pair<double, double> read_bracket(const std::string& where, const Bracket& bracket) {
  if (!(bracket.low >= 0 && bracket.low <= bracket.high)) {
    invalid(where, "must have 0 <= low <= high",
            text_of(bracket.low) + " to " + text_of(bracket.high), "infinity is allowed as high");
  }
  return {static_cast<double>(bracket.low), static_cast<double>(bracket.high)};
}

/// Before magnitudes are given as float32.
void require_narrow(const char* function, const Plan& p) {
  if (p.dtype != Dtype::kFloat64) return;
  unsupported(argument(function, "plan"),
              "its tensors are float64, whose magnitudes do not fit here", "float64",
              std::string("call ") + function + "64");
}

/// T: what magnitudes are given as.
template <class T, class Bracket, class Median>
cth_status bracket_median(const char* function, cth_plan* plan, const cth_operand& operand,
                          const Bracket* brackets, Median* medians, std::size_t count) {
  return with_plan(function, plan, [&](Plan& p) {
    require(function, "brackets", brackets);
    require(function, "medians", medians);
    if (count != 1) require_count(function, "count", count, p.groups, "groups of the plan, or 1");
    if (std::is_same_v<T, float>) require_narrow(function, p);
    std::vector<std::pair<double, double>> pairs;
    pairs.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      pairs.push_back(read_bracket(argument(function, element("brackets", i)), brackets[i]));
    }
    ProxPlan& of = plan_of(function, p, operand);
    const auto results = p.backend().read_bracket_medians(of, pairs);
    for (std::size_t i = 0; i < count; ++i) {
      constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
      medians[i] = {results[i].inside, static_cast<T>(results[i].median.value_or(kNone))};
    }
  });
}

template <class T>
cth_status kth_magnitude(const char* function, cth_plan* plan, const cth_operand& operand,
                         std::int64_t k, T* magnitude) {
  return with_plan(function, plan, [&](Plan& p) {
    require(function, "magnitude", magnitude);
    if (std::is_same_v<T, float>) require_narrow(function, p);
    ProxPlan& of = plan_of(function, p, operand);
    *magnitude = static_cast<T>(p.backend().read_kth_magnitude(of, k));
  });
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
  return bracket_median<float>("cth_bracket_median", plan, operand, brackets, medians, count);
}

cth_status cth_bracket_median64(cth_plan* plan, cth_operand operand, const cth_bracket64* brackets,
                                cth_median64* medians, size_t count) {
  return bracket_median<double>("cth_bracket_median64", plan, operand, brackets, medians, count);
}

cth_status cth_kth_magnitude(cth_plan* plan, cth_operand operand, int64_t k, float* magnitude) {
  return kth_magnitude("cth_kth_magnitude", plan, operand, k, magnitude);
}

cth_status cth_kth_magnitude64(cth_plan* plan, cth_operand operand, int64_t k, double* magnitude) {
  return kth_magnitude("cth_kth_magnitude64", plan, operand, k, magnitude);
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
