// Clock and ceilings of the CUDA room, by the runtime that records what is asked of it.

#include <gmock/gmock.h>

#include "bench/core/instruments.hpp"
#include "core/array.hpp"
#include "core/registry.hpp"
#include "cuda/cuda_backend.hpp"
#include "simt/recording.hpp"

namespace cuthresh::bench {
namespace {

class CudaInstrumentsTest : public ::testing::Test {
 protected:
  simt::DeviceScope machine_{1};
  std::unique_ptr<Backend> backend_ = cuda::make_cuda_backend(cuda::Precision::kFp32);
  std::unique_ptr<Instruments> instruments_ = make_cuda_instruments(*backend_, {0.001, true});
  Room room_{*backend_};
};

/// Sets a number of its own on the device in each call.
class Setting final : public Workload {
 public:
  Setting(Backend& room, std::int64_t sets) : room_(room), one_(room, 1), counts_(room, sets) {
    const float one = 1.0f;
    room_.upload(one_.data(), &one, sizeof one);
    reset();
  }
  std::string check() override { return ""; }
  void reset() override {
    ++resets;
    counts_.zero();
  }
  void call(std::int64_t set) override {
    ++calls;
    room_.add(counts_.data() + set, one_.data(), 1);
  }
  std::vector<float> counts() const { return counts_.to_host(); }

  std::int64_t resets = 0;
  std::int64_t calls = 0;

 private:
  Backend& room_;
  Array<float> one_, counts_;
};

TEST_F(CudaInstrumentsTest, ReplaysOneGraphFromAResetEachSample) {
  Setting workload(*backend_, 3);
  workload.resets = 0;
  simt::recording().clear();
  const Timing timing = instruments_->clock().time(workload, {.sets = 3});
  EXPECT_EQ(timing.samples, 3);
  EXPECT_EQ(timing.calls, 3);
  EXPECT_EQ(workload.resets, timing.samples);
  EXPECT_EQ(workload.calls, 3) << "a call was made outside the one capture";
  EXPECT_EQ(simt::recording().count(simt::CallKind::kGraphLaunch), 3U);
  EXPECT_THAT(workload.counts(), ::testing::Each(1.0f)) << "since the last reset";
  EXPECT_GE(timing.min_us, 0.0);
}

TEST_F(CudaInstrumentsTest, CallsThatWaitAreNotCaptured) {
  Setting workload(*backend_, 1);
  simt::recording().clear();
  const Timing timing = instruments_->clock().time(workload, {.waits = true});
  EXPECT_EQ(workload.calls, timing.samples * timing.calls);
  EXPECT_EQ(simt::recording().count(simt::CallKind::kGraphLaunch), 0U);
}

TEST_F(CudaInstrumentsTest, AFullMeasurementFillsItsSamples) {
  const auto timed = make_cuda_instruments(*backend_, {0.01, false});
  Setting workload(*backend_, 2);
  const Timing timing = timed->clock().time(workload, {.sets = 2, .max_calls = 50});
  EXPECT_LE(timing.calls, 50);
  EXPECT_EQ(timing.calls % 2, 0);
  EXPECT_GE(timing.samples, 5);
  EXPECT_THAT(workload.counts(), ::testing::Each(static_cast<float>(timing.calls / 2)));
}

TEST_F(CudaInstrumentsTest, EveryWayMovesWhatItSays) {
  for (const Traffic traffic : {Traffic::kRead, Traffic::kCopy, Traffic::kStream}) {
    const std::vector<CeilingWay> ways = instruments_->ways(traffic);
    EXPECT_EQ(ways.size(), 2U);
    for (const CeilingWay& way : ways) {
      // One unit, less than a tile, several tiles and a part of one.
      for (const std::int64_t footprint : {512, 8 * 512, 300 * 512}) {
        SCOPED_TRACE(way.how + ", " + std::to_string(footprint));
        const auto workload = way.make(room_, footprint, 2);
        EXPECT_NO_THROW(workload->check());
        EXPECT_NO_THROW(instruments_->clock().time(*workload, {.sets = 2}));
        EXPECT_NO_THROW(workload->check_after(2));
      }
    }
  }
}

TEST_F(CudaInstrumentsTest, StartsAreCountedThenTimed) {
  const std::vector<Case> cases = instruments_->overhead_cases();
  ASSERT_EQ(cases.size(), 2U);
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const auto workload = c.make(room_, 1);
    EXPECT_NO_THROW(workload->check());
    EXPECT_NO_THROW(instruments_->clock().time(*workload, {.waits = c.waits}));
  }
}

TEST_F(CudaInstrumentsTest, DeviceIsKnown) {
  EXPECT_GT(instruments_->cache_bytes(), 0);
  EXPECT_GE(instruments_->free_bytes(), 0);
  EXPECT_EQ(instruments_->libraries().at("CUDA runtime"), "13.0");
}

TEST(Instruments, OfACpuRoomAreNotCudas) {
  const auto backend = make_backend({.device = "cpu", .engine = "reference", .threads = 1}).backend;
  EXPECT_EQ(make_cuda_instruments(*backend, {}), nullptr);
}

}  // namespace
}  // namespace cuthresh::bench
