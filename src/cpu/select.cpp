
#include "cpu/backend_impl.hpp"
#include "cuthresh/error.hpp"
#include "kernels/math/bracket.hpp"

namespace cuthresh::cpu {
namespace {

constexpr std::int32_t kAllGroups = -2;

bool belongs(const ProxTensor& tensor, std::int32_t group) {
  return group == kAllGroups ? tensor.group >= 0 : tensor.group == group;
}

/// Exact order statistics of |g| strictly inside (lo, hi), as keys, by radix: each pass counts the
/// keys of the current range into at most 4096 bins and keeps the bin that holds the wanted rank.
/// Three passes at most over a whole float range, all of them reads; integer counts, so the thread
/// count does not matter.
class Selection {
 public:
  Selection(const CpuPlan& plan, const Threads& threads, const Loops& loops, std::int32_t group)
      : plan_(plan), threads_(threads), loops_(loops), group_(group) {}

  /// How many keys lie strictly inside (lo, hi); their histogram is kept.
  std::uint64_t count(std::uint32_t lo, std::uint32_t hi) {
    lo_ = lo;
    hi_ = hi;
    shift_ = 0;
    while ((hi >> shift_) - (lo >> shift_) >= kBins) ++shift_;
    const std::size_t width = (hi >> shift_) - (lo >> shift_) + 1;
    const auto parts = static_cast<std::size_t>(threads_.count());
    bins_.assign(width * parts, 0);
    std::vector<std::int64_t> inside(parts, 0);
    threads_.run(static_cast<int>(parts), [&](int part, int all) {
      const std::size_t begin =
          plan_.chunks.size() * static_cast<std::size_t>(part) / static_cast<std::size_t>(all);
      const std::size_t end =
          plan_.chunks.size() * static_cast<std::size_t>(part + 1) / static_cast<std::size_t>(all);
      std::int64_t sum = 0;
      for (std::size_t i = begin; i < end; ++i) {
        const PlanChunk& chunk = plan_.chunks[i];
        const ProxTensor& tensor = plan_.tensors[chunk.tensor];
        if (!belongs(tensor, group_)) continue;
        sum += loops_.histogram(tensor.g + chunk.begin, chunk.end - chunk.begin, lo, hi, shift_,
                                bins_.data() + width * static_cast<std::size_t>(part));
      }
      inside[static_cast<std::size_t>(part)] = sum;
    });
    for (std::size_t part = 1; part < parts; ++part) {
      for (std::size_t i = 0; i < width; ++i) bins_[i] += bins_[part * width + i];
    }
    bins_.resize(width);
    std::uint64_t total = 0;
    for (const std::int64_t n : inside) total += static_cast<std::uint64_t>(n);
    return total;
  }

  /// The key of ascending rank `rank` (from 0) among those that count() just found.
  std::uint32_t key_of_rank(std::uint64_t rank) {
    for (;;) {
      std::size_t bin = 0;
      while (rank >= bins_[bin]) rank -= bins_[bin++];
      const std::uint32_t first = static_cast<std::uint32_t>((lo_ >> shift_) + bin) << shift_;
      if (shift_ == 0) return first;
      const std::uint32_t last = first + ((1U << shift_) - 1U);
      // The bin's keys, as an open interval cut to the one asked for.
      count(first > lo_ ? first - 1U : lo_, last < hi_ ? last + 1U : hi_);
    }
  }

 private:
  static constexpr std::uint32_t kBins = 4096;

  const CpuPlan& plan_;
  const Threads& threads_;
  const Loops& loops_;
  std::int32_t group_;
  std::uint32_t lo_ = 0;
  std::uint32_t hi_ = 0;
  std::uint32_t shift_ = 0;
  std::vector<std::uint64_t> bins_;
};

}  // namespace

std::vector<MedianResult> CpuBackend::read_bracket_medians(
    ProxPlan& plan, std::span<const std::pair<float, float>> brackets) {
  const CpuPlan& p = as_cpu_plan(plan);
  const bool over_all = brackets.size() == 1 && p.groups != 1;
  if (!over_all && brackets.size() != p.groups) {
    throw InternalError({"read_bracket_medians", "one bracket in all or one a group is wanted",
                         std::to_string(brackets.size()), "pass as many as the plan has groups"});
  }
  std::vector<MedianResult> results(brackets.size());
  for (std::size_t i = 0; i < brackets.size(); ++i) {
    const auto [lo, hi] = brackets[i];
    if (!(lo >= 0.0f && lo < hi)) continue;  // an empty bracket holds nothing
    Selection selection(p, threads_, loops_, over_all ? kAllGroups : static_cast<std::int32_t>(i));
    results[i].inside = selection.count(magnitude_key(lo), magnitude_key(hi));
    if (results[i].inside > 0) {
      results[i].median = magnitude_from_key(selection.key_of_rank((results[i].inside - 1) / 2));
    }
  }
  bytes_to_host_ += 8 * 2 * results.size();
  return results;
}

float CpuBackend::read_kth_gradient(ProxPlan& plan, std::int64_t k) {
  const CpuPlan& p = as_cpu_plan(plan);
  std::int64_t size = 0;
  std::int64_t zeros = 0;
  for (const ProxTensor& tensor : p.tensors) {
    if (tensor.group < 0) continue;
    size += tensor.size;
    zeros += tensor.size - loops_.count_nonzero(tensor.g, tensor.size);
  }
  if (k < 1 || k > size) {
    throw InternalError(
        {"read_kth_gradient",
         "k must be from 1 to the number of penalised weights, " + std::to_string(size),
         std::to_string(k), "ask for a rank that exists"});
  }
  bytes_to_host_ += 8;
  // Ascending rank among all; zeros, which no open interval from 0 holds, come first.
  const std::int64_t rank = size - k;
  if (rank < zeros) return 0.0f;
  Selection selection(p, threads_, loops_, kAllGroups);
  selection.count(0U, 0x80000000U);
  return magnitude_from_key(selection.key_of_rank(static_cast<std::uint64_t>(rank - zeros)));
}

}  // namespace cuthresh::cpu
