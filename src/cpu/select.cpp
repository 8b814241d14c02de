#include "backend/checks.hpp"
#include "cpu/backend_impl.hpp"
#include "cpu/selection.hpp"
#include "kernels/math/bracket.hpp"

namespace cuthresh::cpu {

std::vector<MedianResultOf<double>> CpuBackend::read_bracket_medians(
    ProxPlan& plan, std::span<const std::pair<double, double>> brackets) {
  const CpuPlan& p = as_cpu_plan(plan);
  const bool over_all = check_brackets(brackets.size(), p.groups);
  check_gradients("read_bracket_medians", p.tensors);
  std::vector<MedianResultOf<double>> results(brackets.size());
  with_storage(p.dtype(), [&]<class Storage>(std::type_identity<Storage>) {
    using Gradients = Selection<Storage, Selected::kGradients>;
    using Key = typename Gradients::Key;
    for (std::size_t i = 0; i < brackets.size(); ++i) {
      const auto [lo, hi] = brackets[i];
      if (!(lo >= 0.0 && lo < hi)) continue;  // an empty bracket holds nothing
      const OpenKeys<Key> keys = keys_between(lo, hi, Key{});
      if (keys.first > keys.last) continue;  // neighbours
      Gradients selection(p, threads_, loops_, [&](std::int32_t group) {
        return over_all ? group >= 0 : group == static_cast<std::int32_t>(i);
      });
      const std::uint64_t inside = selection.survey({keys.first, keys.last}, 0.5);
      results[i].inside = inside;
      if (inside > 0) {
        results[i].median =
            static_cast<double>(magnitude_from_key(selection.key_of_rank((inside - 1) / 2)));
      }
    }
  });
  bytes_to_host_ += 8 * 2 * results.size();
  return results;
}

double CpuBackend::read_kth_magnitude(ProxPlan& plan, std::int64_t k) {
  const CpuPlan& p = as_cpu_plan(plan);
  check_gradients("read_kth_gradient", p.tensors);
  return with_storage(p.dtype(), [&]<class Storage>(std::type_identity<Storage>) {
    using Gradients = Selection<Storage, Selected::kGradients>;
    Gradients selection(p, threads_, loops_, [](std::int32_t group) { return group >= 0; });
    const std::int64_t size = selection.size();
    check_rank(k, size);
    bytes_to_host_ += 8;
    const std::int64_t rank = size - k;  // ascending
    selection.survey(kAllKeys<typename Gradients::Key>,
                     static_cast<double>(rank) / static_cast<double>(size));
    return static_cast<double>(
        magnitude_from_key(selection.key_of_rank(static_cast<std::uint64_t>(rank))));
  });
}

}  // namespace cuthresh::cpu
