#include "backend/checks.hpp"
#include "cpu/backend_impl.hpp"
#include "cpu/selection.hpp"
#include "kernels/math/bracket.hpp"

namespace cuthresh::cpu {

std::vector<MedianResult> CpuBackend::read_bracket_medians(
    ProxPlan& plan, std::span<const std::pair<float, float>> brackets) {
  const CpuPlan& p = as_cpu_plan(plan);
  const bool over_all = check_brackets(brackets.size(), p.groups);
  check_gradients("read_bracket_medians", p.tensors);
  std::vector<MedianResult> results(brackets.size());
  for (std::size_t i = 0; i < brackets.size(); ++i) {
    const auto [lo, hi] = brackets[i];
    if (!(lo >= 0.0f && lo < hi)) continue;  // an empty bracket holds nothing
    const KeyRange range = {magnitude_key(lo) + 1U, magnitude_key(hi) - 1U};
    if (range.first > range.last) continue;  // neighbours
    Selection selection(p, threads_, loops_, Selection::Of::kGradients, [&](std::int32_t group) {
      return over_all ? group >= 0 : group == static_cast<std::int32_t>(i);
    });
    results[i].inside = selection.survey(range, 0.5);
    if (results[i].inside > 0) {
      results[i].median = magnitude_from_key(selection.key_of_rank((results[i].inside - 1) / 2));
    }
  }
  bytes_to_host_ += 8 * 2 * results.size();
  return results;
}

float CpuBackend::read_kth_gradient(ProxPlan& plan, std::int64_t k) {
  const CpuPlan& p = as_cpu_plan(plan);
  check_gradients("read_kth_gradient", p.tensors);
  Selection selection(p, threads_, loops_, Selection::Of::kGradients,
                      [](std::int32_t group) { return group >= 0; });
  const std::int64_t size = selection.size();
  check_rank(k, size);
  bytes_to_host_ += 8;
  const std::int64_t rank = size - k;  // ascending
  selection.survey(kAllKeys, static_cast<double>(rank) / static_cast<double>(size));
  return magnitude_from_key(selection.key_of_rank(static_cast<std::uint64_t>(rank)));
}

}  // namespace cuthresh::cpu
