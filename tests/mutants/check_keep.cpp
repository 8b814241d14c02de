// λ of a controlled run, and the exact finish of a target with bounds beside one without, with many
// equal magnitudes, against the definitions.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/block/control.cuh"
#include "kernels/block/keep_largest.cuh"
#include "kernels/block/prox_step.cuh"
#include "kernels/block/share_target.cuh"
#include "mutants/harness.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::uint32_t kKeepThreads = 64;
constexpr std::int32_t kKeepGroups = 3;
constexpr std::int64_t kKeepTile = 96;

// Groups 0 and 1 share 150 with at most 80 in the first; group 2 has 40 for itself.
const std::vector<ControlGroup> kTargets = {{500, 150, -1.0f, -1.0f}, {200, 40, -2.0f, -2.0f}};
const std::vector<std::int32_t> kTargetOf = {0, 0, 1};
const std::vector<std::int32_t> kSelectionOf = {0, 1, 2};
const std::vector<GroupBounds> kBounds = {{0, 80}, {5, 200}, {0, 200}};

struct KeepStatus {
  StepHeader header{};
  std::uint64_t nnz[kKeepGroups] = {};
};
struct KeepSums {
  StepSums header{};
  std::uint64_t nnz[kKeepGroups] = {};
};

void check_lambda(std::uint32_t grid) {
  const ControlRule rule = {0, 6, 0.5f, 1.0f, 3.0f};
  std::vector<ControlGroup> groups = kTargets;
  std::vector<ControlGroup> expected = kTargets;
  std::vector<float> lambda(kKeepGroups, 0.0f);
  KeepStatus status;
  for (std::int64_t step = 1; step <= 5; ++step) {
    status.header.steps = static_cast<std::uint64_t>(step);
    for (std::uint64_t g = 0; g < 3; ++g)
      status.nnz[g] = 190 - 20 * g - static_cast<std::uint64_t>(step);
    const ControlArguments args = {
        rule, groups.data(), kTargetOf.data(), kBounds.data(), &status.header, lambda.data(),
        2,    kKeepGroups,   nullptr,          nullptr};
    simt::launch(grid, kKeepThreads, control_kernel<kKeepThreads>, args);
    const auto first = static_cast<std::int64_t>(status.nnz[0] + status.nnz[1]);
    const float shared = controlled_lambda(rule, expected[0], first, step);
    const float own =
        controlled_lambda(rule, expected[1], static_cast<std::int64_t>(status.nnz[2]), step);
    require(lambda == std::vector<float>({shared, shared, own}), "λ of the groups");
  }
}

/// Of the 150 that groups 0 and 1 share; magnitudes are multiples of 0.25.
std::vector<std::uint64_t> shares_by_definition(const std::vector<float>& first,
                                                const std::vector<float>& second) {
  const auto kept = [](const std::vector<float>& w, float from, std::size_t group) {
    const auto count = static_cast<std::uint64_t>(
        std::count_if(w.begin(), w.end(), [&](float x) { return std::fabs(x) >= from; }));
    return std::clamp(count, kBounds[group].least, kBounds[group].most);
  };
  for (float from = 1.0f;; from -= 0.25f) {
    if (kept(first, from, 0) + kept(second, from, 1) < 150) continue;
    const std::uint64_t above = kept(first, from + 0.25f, 0);
    const std::uint64_t missing = 150 - above - kept(second, from + 0.25f, 1);
    const std::uint64_t more = std::min(missing, kept(first, from, 0) - above);
    require(more > 0 && more < missing && above + more == kBounds[0].most,
            "the case has ties in both groups, and a bound that holds");
    return {above + more, 150 - above - more, 40};
  }
}

void check_finish(std::uint32_t grid) {
  Random random(30);
  const std::int64_t sizes[] = {170, 300, 130, 200};
  const std::int32_t groups[] = {0, 1, 0, 2};
  std::vector<std::vector<float>> w(4), expected;
  std::vector<TensorRecord> tensors;
  std::vector<Tile> tiles;
  KeepStatus status;
  KeepSums sums;
  for (std::size_t t = 0; t < 4; ++t) {
    for (std::int64_t i = 0; i < sizes[t]; ++i) {
      w[t].push_back(0.25f * static_cast<float>(random.integer(-4, 4)));
      if (w[t].back() != 0.0f) ++status.nnz[groups[t]];
    }
    for (std::int64_t begin = 0; begin < sizes[t]; begin += kKeepTile) {
      tiles.push_back({begin, static_cast<std::int32_t>(t),
                       static_cast<std::int32_t>(std::min(kKeepTile, sizes[t] - begin))});
    }
    tensors.push_back({w[t].data(), w[t].data(), nullptr, nullptr, sizes[t], groups[t]});
  }
  expected = w;
  std::vector<float> first = w[0];
  first.insert(first.end(), w[2].begin(), w[2].end());
  const std::vector<std::uint64_t> shares = shares_by_definition(first, w[1]);
  for (std::int32_t g = 0; g < kKeepGroups; ++g) {
    std::vector<float*> entries;
    for (std::size_t t = 0; t < 4; ++t) {
      for (float& x : expected[t]) {
        if (groups[t] == g) entries.push_back(&x);
      }
    }
    std::stable_sort(entries.begin(), entries.end(),
                     [](const float* a, const float* b) { return std::fabs(*a) > std::fabs(*b); });
    for (std::size_t i = shares[static_cast<std::size_t>(g)]; i < entries.size(); ++i)
      *entries[i] = 0.0f;
  }

  const std::vector<std::int32_t> bounded = {0};
  std::vector<std::uint64_t> wanted = {0, 0, 40};
  std::vector<ShareCount> counts(kKeepGroups, ShareCount{0, 0});
  std::vector<SelectState> states(kKeepGroups, SelectState{});
  std::vector<SelectResult> results(kKeepGroups, SelectResult{});
  std::vector<std::uint64_t> bins(kKeepGroups * kSelectBins, 0);
  std::vector<TieEnd> ends(kKeepGroups, TieEnd{});
  SelectHeader header = {0};
  const TensorList list = {tensors.data(), tiles.data(), static_cast<std::int64_t>(tiles.size()),
                           kKeepGroups};
  const SelectGroups selection(kSelectionOf.data());
  const auto count_keys = [&] {
    simt::launch(grid, kKeepThreads, select_count_kernel<WeightSource, kKeepThreads>, list,
                 selection, &header, states.data(), bins.data());
  };
  const ShareArguments share = {
      kTargets.data(), bounded.data(), kTargetOf.data(), kSelectionOf.data(),
      kBounds.data(),  &status.header, &header,          states.data(),
      bins.data(),     counts.data(),  wanted.data(),    1,
      kKeepGroups,     kKeepGroups};
  simt::launch(grid, kKeepThreads, share_begin_kernel<kKeepThreads>, share);
  for (int pass = 0; pass < kSelectMaxPasses; ++pass) {
    count_keys();
    simt::launch(grid, kKeepThreads, share_pick_kernel<kKeepThreads>, share);
  }
  require(wanted == shares, "how many each group keeps");
  simt::launch(grid, kKeepThreads, keep_begin_kernel<kKeepThreads>, wanted.data(), kKeepGroups,
               &header, states.data());
  for (int pass = 0; pass < kSelectMaxPasses; ++pass) {
    count_keys();
    simt::launch(grid, kKeepThreads, select_pick_kernel<kKeepThreads>, &header, states.data(),
                 results.data(), bins.data(), kKeepGroups);
  }
  simt::launch(grid, kKeepThreads, keep_ties_kernel<kKeepThreads>, list, selection, states.data(),
               ends.data(), kKeepGroups);
  const std::vector<float> lambda(kKeepGroups, 0.0f);
  const StepRateOf<float> rate = {0.5f, 0.0f, 0.0f};
  const StopRecord stop = {0, 0, 0, 0};
  ProxStepArguments<float> args = {};
  args.list = list;
  args.lambda = lambda.data();
  args.rates = &rate;
  args.stop = &stop;
  args.status = &status.header;
  args.sums = &sums.header;
  simt::launch(
      grid, kKeepThreads,
      prox_step_kernel<float, ThresholdStep<float>, KeepLargestPenalty, kSecondHalf, kKeepThreads>,
      args, KeepLargestPenalty{list.tensors, selection, states.data(), ends.data()});
  for (std::size_t t = 0; t < 4; ++t)
    require(w[t] == expected[t], "weights of tensor " + std::to_string(t));
  require(std::equal(shares.begin(), shares.end(), status.nnz), "the counts of nonzeros");
  require(status.header.steps == 0, "the first half has counted the step");
}

}  // namespace
}  // namespace cuthresh::testing

int main() {
  using namespace cuthresh::testing;
  return report([] {
    for_each_launch({1, 3}, [](std::uint32_t grid) {
      check_lambda(grid);
      check_finish(grid);
    });
  });
}
