// The fused step on a small list, twice, against the definition: weights to the bit, counts, the
// stop rule, and that nothing else is written.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "kernels/block/prox_step.cuh"
#include "mutants/harness.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::uint32_t kThreads = 64;
constexpr std::int32_t kGroups = 3;
constexpr std::int32_t kTile = 1504;  // all threads have packs, one by one and four at a time
constexpr StepRate kRates[] = {{0.125f}, {0.25f}};
constexpr float kLambda[kGroups] = {0.5f, 2.0f, 4.0f};

struct Shape {
  std::int64_t size;
  std::int32_t group;
  std::size_t offset;  // entries past a 16-byte boundary
  std::int32_t rate = 0;
  bool has_gradient = true;
};
// Heads, bodies and tails; several tiles a tensor; a group in two tensors; one without a group; one
// of another rate, and one without a gradient.
constexpr Shape kShapes[] = {{1, 0, 0},    {4001, 1, 1}, {1497, -1, 0},  {1900, 0, 3},
                             {3000, 2, 0}, {3, 1, 2},    {700, 2, 1, 1}, {900, 0, 0, 0, false}};

// sign(z)·max(|z| − t, 0), as the paper writes it.
float definition(float w, float g, float alpha, float t) {
  const float z = std::fmaf(-alpha, g, w);
  const float shrunk = std::fmax(std::fabs(z) - t, 0.0f);
  return shrunk == 0.0f ? 0.0f : std::copysign(shrunk, z);
}

// Exactly as long as it says under a sanitizer, a guard entry behind it elsewhere.
struct Buffer {
  Buffer(std::size_t offset_, std::vector<float> values) : offset(offset_), size(values.size()) {
#if !defined(__SANITIZE_ADDRESS__)
    values.push_back(kGuard);
#endif
    void* block = nullptr;
    if (posix_memalign(&block, 64, (offset + values.size()) * sizeof(float)) != 0) {
      throw std::bad_alloc();
    }
    memory.reset(static_cast<float*>(block));
    std::memcpy(memory.get() + offset, values.data(), values.size() * sizeof(float));
  }
  float* data() const {
    return memory.get() + offset;
  }
  bool guard_holds() const {
#if defined(__SANITIZE_ADDRESS__)
    return true;
#else
    return data()[size] == kGuard;
#endif
  }
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  static constexpr float kGuard = 12345.0f;
  std::size_t offset, size;
  std::unique_ptr<float, Free> memory;
};

struct Status {
  StepHeader header{};
  std::uint64_t nnz[kGroups] = {};
};
struct Sums {
  StepSums header{};
  std::uint64_t nnz[kGroups] = {};
};

void check(std::uint32_t grid) {
  Random random(17);
  std::vector<Buffer> w, g;
  std::vector<std::vector<float>> expected;
  std::vector<TensorRecord> tensors;
  std::vector<Tile> tiles;
  for (const Shape& s : kShapes) {
    const auto n = static_cast<std::size_t>(s.size);
    w.emplace_back(s.offset, random.vector(n, -1.0f, 1.0f));
    g.emplace_back(s.offset, random.vector(n, -1.0f, 1.0f));
    expected.emplace_back(w.back().data(), w.back().data() + n);
    for (std::int64_t begin = 0; begin < s.size; begin += kTile) {
      tiles.push_back({begin, static_cast<std::int32_t>(tensors.size()),
                       static_cast<std::int32_t>(std::min<std::int64_t>(kTile, s.size - begin))});
    }
    tensors.push_back({w.back().data(), s.has_gradient ? g.back().data() : nullptr, nullptr,
                       nullptr, s.size, s.group, s.rate});
  }
  // Stops after the second step: by then the total lies in this band.
  const CountBand band = {1, 8000};
  const StopRecord stop = {1, 1, 1, 7};
  std::uint32_t announcement = 0;
  Status status;
  Sums sums;
  const ProxStepArguments<float> args = {
      {tensors.data(), tiles.data(), static_cast<std::int64_t>(tiles.size()), kGroups},
      kLambda,
      kRates,
      &stop,
      &band,
      &status.header,
      &sums.header,
      nullptr,
      nullptr,
      nullptr,
      nullptr,
      nullptr,
      &announcement};
  for (std::uint64_t step = 1; step <= 3; ++step) {
    simt::launch(grid, kThreads,
                 prox_step_kernel<float, PlainStep<float>, L1Penalty<float>, kNoExtras, kThreads>,
                 args, L1Penalty<float>{});
    std::uint64_t nnz[kGroups] = {};
    for (std::size_t t = 0; t < w.size(); ++t) {
      const std::int32_t group = kShapes[t].group;
      const float alpha = kRates[kShapes[t].rate].learning_rate;
      const float threshold = group < 0 ? 0.0f : alpha * kLambda[group];
      for (std::size_t i = 0; i < expected[t].size(); ++i) {
        float& e = expected[t][i];
        if (step <= 2 && kShapes[t].has_gradient) {
          e = definition(e, g[t].data()[i], alpha, threshold);
        }
        require(std::memcmp(&e, w[t].data() + i, sizeof e) == 0,
                "weight " + std::to_string(i) + " of tensor " + std::to_string(t));
        if (group >= 0 && e != 0.0f) ++nnz[group];
      }
      require(w[t].guard_holds() && g[t].guard_holds(), "an entry behind a tensor was written");
    }
    require(status.header.steps == std::min<std::uint64_t>(step, 2), "the number of steps");
    require(std::memcmp(nnz, status.nnz, sizeof nnz) == 0, "the counts of nonzeros");
    require(status.header.total == nnz[0] + nnz[1] + nnz[2], "the total");
    require(status.header.stopped == (step >= 2 ? 1U : 0U), "the stop flag");
    require(announcement == (step >= 2 ? 7U : 0U), "what the host is told");
    require(status.header.nonfinite == 0, "the count of non-finite values");
    require(sums.header.ticket == 0 && sums.nnz[0] + sums.nnz[1] + sums.nnz[2] == 0,
            "sums are left zero");
  }
  const float flag = 1.0f;
  ProxStepArguments<float> skipped = args;
  skipped.skip = &flag;
  status = {};
  simt::launch(grid, kThreads,
               prox_step_kernel<float, PlainStep<float>, L1Penalty<float>, kNoExtras, kThreads>,
               skipped, L1Penalty<float>{});
  require(status.header.steps == 0, "a step that was to be left out");
  // Counts are 64 bits wide: as if other blocks had left 2^40 in the sum.
  status = {};
  sums.nnz[1] = std::uint64_t{1} << 40;
  simt::launch(grid, kThreads,
               prox_step_kernel<float, PlainStep<float>, L1Penalty<float>, kNoExtras, kThreads>,
               args, L1Penalty<float>{});
  require(status.nnz[1] >> 40 == 1, "a count above 2^32");
}

}  // namespace
}  // namespace cuthresh::testing

int main() {
  using namespace cuthresh::testing;
  return report([] { for_each_launch({1, 5, 3}, check); });
}
