// Steps that leave out what is zero, on two tensors that wake and die, against the definition:
// weights to the bit, counts, and words that are true after each of them.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/block/prox_step.cuh"
#include "mutants/harness.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::uint32_t kZeroThreads = 64;
constexpr std::int32_t kZeroTile = 1024;
constexpr std::size_t kZeroSize = 1600;  // a whole tile, then four words and a half
constexpr StepRate kZeroRate = {0.5f};
constexpr float kZeroLambda = 0.25f;

struct alignas(64) ZeroTensor {
  float w[kZeroSize];
  float g[kZeroSize];
};
struct ZeroStatus {
  StepHeader header{};
  std::uint64_t nnz = 0;
};
struct ZeroSums {
  StepSums header{};
  std::uint64_t nnz = 0;
};

float soft(float z, float t) {
  const float shrunk = std::fmax(std::fabs(z) - t, 0.0f);
  return shrunk == 0.0f ? 0.0f : std::copysign(shrunk, z);
}

void check_words(const ZeroTensor* tensors, const std::vector<std::uint32_t>& words,
                 std::int32_t count) {
  for (std::size_t t = 0; t < 2; ++t) {
    for (std::size_t unit = 0; unit < kZeroSize / 4; ++unit) {
      const std::size_t tile = 2 * t + unit / (kZeroTile / 4);
      const std::size_t of_tile = unit % (kZeroTile / 4);
      if (unit / 32 == kZeroSize / 128) continue;  // of a word that is not full
      bool any = false;
      for (std::size_t e = 4 * unit; e < 4 * unit + 4; ++e) any = any || tensors[t].w[e] != 0.0f;
      const std::uint32_t word = words[tile * static_cast<std::size_t>(count) + of_tile / 32];
      require((word >> (of_tile % 32) & 1U) == (any ? 1U : 0U),
              "the bit of unit " + std::to_string(unit) + " of tensor " + std::to_string(t));
    }
  }
}

void check(std::uint32_t grid) {
  Random random(23);
  std::vector<ZeroTensor> tensors(2);
  std::vector<TensorRecord> records;
  std::vector<Tile> tiles;
  for (std::int32_t t = 0; t < 2; ++t) {
    ZeroTensor& tensor = tensors[static_cast<std::size_t>(t)];
    for (float& w : tensor.w) w = random.integer(0, 9) == 0 ? random.uniform(-1.0f, 1.0f) : 0.0f;
    records.push_back({tensor.w, tensor.g, nullptr, nullptr, kZeroSize, 0});
    tiles.push_back({0, t, kZeroTile});
    tiles.push_back({kZeroTile, t, static_cast<std::int32_t>(kZeroSize) - kZeroTile});
  }
  const std::int32_t count = zero_words<float>(kZeroTile);
  std::vector<std::uint32_t> words(tiles.size() * static_cast<std::size_t>(count), 0U);
  std::uint32_t state = 0;
  const StopRecord stop = {0, 0, 0};
  const CountBand band = {0, 0};
  ZeroStatus status;
  ZeroSums sums;
  ProxStepArguments<float> args{};
  args.list = {records.data(), tiles.data(), static_cast<std::int64_t>(tiles.size()), 1};
  args.lambda = &kZeroLambda;
  args.rates = &kZeroRate;
  args.stop = &stop;
  args.bands = &band;
  args.status = &status.header;
  args.sums = &sums.header;
  args.zeros = {&state, words.data(), {2 * kZeroSize, 2 * kZeroSize}, count};
  for (int step = 1; step <= 7; ++step) {
    if (step == 5) {  // something else writes weights, and says so
      for (float& w : tensors[1].w) w = random.uniform(-1.0f, 1.0f);
      state = 0;
    }
    std::vector<float> want;
    std::uint64_t nnz = 0;
    for (ZeroTensor& tensor : tensors) {
      for (std::size_t i = 0; i < kZeroSize; ++i) {
        tensor.g[i] = random.uniform(-0.25f, 0.25f) * (random.integer(0, 63) == 0 ? 4.0f : 1.0f);
        const float z = std::fmaf(-kZeroRate.learning_rate, tensor.g[i], tensor.w[i]);
        want.push_back(soft(z, kZeroRate.learning_rate * kZeroLambda));
        nnz += want.back() != 0.0f ? 1U : 0U;
      }
    }
    simt::launch(
        grid, kZeroThreads,
        prox_step_kernel<float, PlainStep<float>, L1Penalty<float>, kSkipZeros, kZeroThreads>, args,
        L1Penalty<float>{});
    for (std::size_t t = 0; t < 2; ++t) {
      require(std::memcmp(tensors[t].w, want.data() + t * kZeroSize, sizeof tensors[t].w) == 0,
              "weights of tensor " + std::to_string(t) + " after step " + std::to_string(step));
    }
    require(status.nnz == nnz, "the count after step " + std::to_string(step));
    if (step != 1 && step != 5) check_words(tensors.data(), words, count);
  }
}

}  // namespace
}  // namespace cuthresh::testing

int main() {
  using namespace cuthresh::testing;
  return report([] { for_each_launch({1, 3}, check); });
}
