// A tile that begins past the 2^32-th entry of its tensor. 16 GiB of addresses for each array, of
// which only the pages of the tile are ever touched.

#include <sys/mman.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/block/prox_step.cuh"
#include "mutants/harness.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::uint32_t kThreads = 64;
constexpr std::int64_t kBegin = (std::int64_t{1} << 32) + 8;
constexpr std::int32_t kSize = 100;

class FarArray {
 public:
  FarArray() {
    void* p = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw CannotRun("16 GiB of address space could not be mapped");
    data_ = static_cast<float*>(p);
  }
  ~FarArray() { munmap(data_, kBytes); }
  FarArray(const FarArray&) = delete;
  FarArray& operator=(const FarArray&) = delete;
  float* data() { return data_; }

 private:
  static constexpr std::size_t kBytes = static_cast<std::size_t>(kBegin + kSize) * sizeof(float);
  float* data_;
};

void check(std::uint32_t grid) {
  FarArray w, g;
  for (std::int32_t i = 0; i < kSize; ++i) {
    w.data()[kBegin + i] = 3.0f;
    g.data()[kBegin + i] = static_cast<float>(i);
    w.data()[8 + i] = 7.0f;  // where the low half of the offset points
  }
  const TensorRecord tensor = {w.data(), g.data(), nullptr, nullptr, kBegin + kSize, 0};
  const Tile tile = {kBegin, 0, kSize};
  const float lambda = 1.0f;
  const StepRate rate = {0.5f};
  const StopRecord stop = {0, 0, 0};
  struct {
    StepHeader header{};
    std::uint64_t nnz = 0;
  } status;
  struct {
    StepSums header{};
    std::uint64_t nnz = 0;
  } sums;
  const ProxStepArguments<float> args = {
      {&tensor, &tile, 1, 1}, &lambda, &rate,   &stop,   nullptr, &status.header,
      &sums.header,           nullptr, nullptr, nullptr, nullptr, nullptr};
  simt::launch(grid, kThreads,
               prox_step_kernel<float, PlainStep<float>, L1Penalty<float>, kNoExtras, kThreads>,
               args, L1Penalty<float>{});
  for (std::int32_t i = 0; i < kSize; ++i) {
    const float z = 3.0f - 0.5f * static_cast<float>(i);
    const float expected = std::copysign(std::fmax(std::fabs(z) - 0.5f, 0.0f), z);
    require(w.data()[kBegin + i] == expected, "far weight " + std::to_string(i));
    require(w.data()[8 + i] == 7.0f, "a near weight was written");
  }
  require(status.nnz == 97, "the count");  // |3 − i/2| ≤ 1/2 for i = 5, 6, 7
}

}  // namespace
}  // namespace cuthresh::testing

int main() {
  using namespace cuthresh::testing;
  return report([] { for_each_launch({1, 2}, check); });
}
