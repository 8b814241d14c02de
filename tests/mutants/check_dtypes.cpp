// Steps of binary16 weights with a master copy, refreshed and cut, against the definition: master,
// what is stored of it, and the counts of that.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/block/keep_largest.cuh"
#include "kernels/block/prox_step.cuh"
#include "kernels/block/refresh_master.cuh"
#include "mutants/harness.hpp"
#include "support/seeded.hpp"
#include "support/soft_threshold.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::uint32_t kDtypeThreads = 64;
constexpr std::size_t kDtypeSize = 1043;  // one tile: packs and a scalar tail
constexpr StepRate kDtypeRate = {0.5f};
constexpr float kDtypeLambda = 0.25f;

struct alignas(64) DtypeArrays {
  Fp16 w[kDtypeSize];
  alignas(64) Fp16 g[kDtypeSize];
  alignas(64) float master[kDtypeSize];
};
struct DtypeStatus {
  StepHeader header{};
  std::uint64_t nnz = 0;
};
struct DtypeSums {
  StepSums header{};
  std::uint64_t nnz = 0;
};

void check(std::uint32_t grid) {
  Random random(29);
  std::vector<DtypeArrays> memory(1);
  DtypeArrays& a = memory[0];
  std::vector<float> want(kDtypeSize);
  for (std::size_t i = 0; i < kDtypeSize; ++i) {
    // A third of them: masters that are more than zero and stored as zero.
    a.master[i] = i % 3 == 0 ? 0x1p-26f : random.uniform(-1.0f, 1.0f);
    a.w[i] = i % 5 == 0 ? to_fp16(0.75f) : to_fp16(a.master[i]);  // some written by others
    a.g[i] = i % 3 == 0 ? Fp16{0} : to_fp16(random.uniform(-1.0f, 1.0f));
    want[i] = i % 5 == 0 ? 0.75f : a.master[i];
  }
  const TensorRecord tensor = {a.w, a.g, nullptr, a.master, kDtypeSize, 0};
  const Tile tile = {0, 0, kDtypeSize};
  const TensorList list = {&tensor, &tile, 1, 1};
  simt::launch(grid, kDtypeThreads, refresh_master_kernel<Fp16, kDtypeThreads>, list);
  require(std::memcmp(a.master, want.data(), sizeof a.master) == 0, "refreshed masters");

  const StopRecord stop{};
  DtypeStatus status;
  DtypeSums sums;
  ProxStepArguments<float> args{};
  args.list = list;
  args.lambda = &kDtypeLambda;
  args.rates = &kDtypeRate;
  args.stop = &stop;
  args.status = &status.header;
  args.sums = &sums.header;
  for (int step = 1; step <= 2; ++step) {
    // The first one without a threshold, so that small masters stay.
    const float lambda = step == 1 ? 0.0f : kDtypeLambda;
    args.lambda = &lambda;
    simt::launch(
        grid, kDtypeThreads,
        prox_step_kernel<Fp16, PlainStep<float>, L1Penalty<float>, kNoExtras, kDtypeThreads>, args,
        L1Penalty<float>{});
    std::uint64_t nonzero = 0;
    for (std::size_t i = 0; i < kDtypeSize; ++i) {
      want[i] = soft_by_definition(std::fma(-kDtypeRate.learning_rate, widen(a.g[i]), want[i]),
                                   kDtypeRate.learning_rate * lambda);
      require(std::memcmp(&a.master[i], &want[i], sizeof want[i]) == 0,
              "master " + std::to_string(i));
      require(a.w[i].bits == to_fp16(want[i]).bits, "what is stored of " + std::to_string(i));
      nonzero += widen(a.w[i]) != 0.0f ? 1U : 0U;
    }
    require(status.nnz == nonzero, "the count of what is stored");
  }
  for (const float least : {0x1p-24f, 0x1.8p-24f, 0.3f, 1.0f}) {
    const float kept = least - survivor_shrinkage<Fp16>(1e6f, least);
    require(widen(to_fp16(kept)) != 0.0f, "the smallest survivor of a cut");
  }
}

}  // namespace
}  // namespace cuthresh::testing

int main() {
  using namespace cuthresh::testing;
  return report([] { for_each_launch({1, 3}, check); });
}
