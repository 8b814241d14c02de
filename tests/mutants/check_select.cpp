// The bracket median of two groups against sorting.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/block/select.cuh"
#include "mutants/harness.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::uint32_t kThreads = 64;
constexpr float kLow = 0.25f, kHigh = 0.75f;

void check(std::uint32_t grid) {
  Random random(23);
  // Beyond 512 elements tiles are counted in shared memory.
  const std::size_t sizes[] = {1100, 30, 2500};
  const std::int32_t groups[] = {0, 1, 1};
  std::vector<std::vector<float>> g;
  std::vector<TensorRecord> tensors;
  std::vector<Tile> tiles;
  std::vector<float> inside[2];
  for (std::size_t t = 0; t < 3; ++t) {
    g.push_back(random.vector(sizes[t], -1.0f, 1.0f));
    for (const float x : g.back()) {
      if (std::fabs(x) > kLow && std::fabs(x) < kHigh) inside[groups[t]].push_back(std::fabs(x));
    }
  }
  for (std::size_t t = 0; t < 3; ++t) {
    const auto size = static_cast<std::int64_t>(sizes[t]);
    tensors.push_back({nullptr, g[t].data(), nullptr, nullptr, size, groups[t]});
    for (std::int64_t begin = 0; begin < size; begin += 1000) {
      tiles.push_back({begin, static_cast<std::int32_t>(t),
                       static_cast<std::int32_t>(std::min<std::int64_t>(1000, size - begin))});
    }
  }
  const TensorList list = {tensors.data(), tiles.data(), static_cast<std::int64_t>(tiles.size()),
                           2};
  std::vector<SelectState> states(2, select_bracket_median(kLow, kHigh));
  std::vector<SelectResult> results(2, SelectResult{7, 7, 7});
  std::vector<std::uint64_t> bins(2 * kSelectBins, 0);
  SelectHeader header = {2};
  const std::int32_t passes = select_passes(states[0]);
  for (std::int32_t pass = 0; pass < passes; ++pass) {
    simt::launch(grid, kThreads, select_count_kernel<GradientSource, kThreads>, list, false,
                 &header, states.data(), bins.data());
    simt::launch(grid, kThreads, select_pick_kernel<kThreads>, &header, states.data(),
                 results.data(), bins.data(), 2);
  }
  for (std::size_t group = 0; group < 2; ++group) {
    std::sort(inside[group].begin(), inside[group].end());
    const std::size_t n = inside[group].size();
    require(results[group].inside == n, "the number inside the bracket");
    require(results[group].found == 1, "a median was found");
    require(magnitude_from_key(results[group].key) == inside[group][(n - 1) / 2], "the median");
  }
  require(std::all_of(bins.begin(), bins.end(), [](std::uint64_t b) { return b == 0; }),
          "bins are left zero");
}

}  // namespace
}  // namespace cuthresh::testing

int main() {
  using namespace cuthresh::testing;
  return report([] { for_each_launch({1, 2, 3}, check); });
}
