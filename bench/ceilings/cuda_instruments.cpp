// The CUDA room's ceilings and what else measuring needs of it.

#include <cuda_runtime.h>

#include <algorithm>
#include <string>
#include <utility>

#include "bench/cases/step_shapes.hpp"
#include "bench/ceilings/cuda.hpp"
#include "bench/ceilings/mover.hpp"
#include "bench/core/cuda_clock.hpp"
#include "bench/core/cuda_graph.hpp"
#include "bench/core/instruments.hpp"
#include "core/array.hpp"

namespace cuthresh::bench {
namespace {

// For cuBLAS, cuDNN, graphs and the driver's own.
constexpr std::int64_t kReserve = std::int64_t{1} << 30;

/// A kernel start without a kernel's work; as it stands, or as a graph that is replayed.
class EmptyKernel final : public Workload {
 public:
  EmptyKernel(Backend& room, bool replayed)
      : stream_(stream_of(room)), count_(room, 1), replayed_(replayed) {}

  std::string check() override {
    count_.zero();
    do_nothing(count_.data(), stream_);
    Graph counting(stream_, [&] { do_nothing(count_.data(), stream_); });
    counting.launch();
    const std::uint32_t runs = count_.to_host().front();
    if (runs != 2) throw CheckFailed("ran " + std::to_string(runs) + " times, not twice");
    if (replayed_) {
      graph_ = std::make_unique<Graph>(stream_, [&] { do_nothing(nullptr, stream_); });
    }
    return "a start and a replay were counted";
  }
  void call(std::int64_t) override { graph_ ? graph_->launch() : do_nothing(nullptr, stream_); }

 private:
  cudaStream_t stream_;
  Array<std::uint32_t> count_;
  bool replayed_;
  std::unique_ptr<Graph> graph_;
};

Case empty_case(const std::string& name, const std::string& what, bool replayed) {
  Case c;
  c.name = name;
  c.what = what;
  c.waits = replayed;  // a graph's launch cannot be captured: by the wall clock
  c.make = [replayed](const Room& room, std::int64_t) {
    return std::make_unique<EmptyKernel>(room.backend, replayed);
  };
  return c;
}

int device_attribute(cudaDeviceAttr attribute) {
  int device = 0;
  int value = 0;
  expect_success(cudaGetDevice(&device), "cudaGetDevice");
  expect_success(cudaDeviceGetAttribute(&value, attribute, device), "cudaDeviceGetAttribute");
  return value;
}

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

class CudaInstruments final : public Instruments {
 public:
  CudaInstruments(Backend& backend, const ClockOptions& options)
      : stream_(stream_of(backend)), clock_(backend, options) {}

  Clock& clock() override { return clock_; }
  std::int64_t threads() const override { return 1; }
  std::int64_t free_bytes() const override {
    std::size_t free = 0;
    std::size_t total = 0;
    expect_success(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    return std::max<std::int64_t>(0, static_cast<std::int64_t>(free) - kReserve);
  }
  std::int64_t cache_bytes() const override { return device_attribute(cudaDevAttrL2CacheSize); }

  std::vector<CeilingWay> ways(Traffic traffic) override {
    return {way(traffic, Spread::kResident, "resident blocks"),
            way(traffic, Spread::kTiles, "a block a tile")};
  }

  std::vector<Case> overhead_cases() override {
    return {
        empty_case("start/kernel_in_graph", "start of a kernel that does nothing, in a graph",
                   false),
        empty_case("start/graph_replay",
                   "replay of a graph of one kernel that does nothing, one after another", true)};
  }

  std::vector<Case> room_cases(bool smoke) override { return step_shape_cases(smoke); }

  std::map<std::string, std::string> libraries() const override {
    int driver = 0;
    int runtime = 0;
    expect_success(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
    expect_success(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
    return {{"CUDA driver", version_text(driver)}, {"CUDA runtime", version_text(runtime)}};
  }

 private:
  CeilingWay way(Traffic traffic, Spread spread, std::string how) {
    const auto kernel = traffic == Traffic::kRead   ? sum_bits
                        : traffic == Traffic::kCopy ? copy
                                                    : add;
    const Mover mover = [kernel, spread, stream = stream_](const float* x, float* y,
                                                           std::int64_t n) {
      kernel(x, y, n, spread, stream);
    };
    return {std::move(how), [=](const Room& room, std::int64_t footprint, std::int64_t sets) {
              return make_mover_workload(room, traffic, footprint, sets, mover);
            }};
  }

  cudaStream_t stream_;
  CudaClock clock_;
};

}  // namespace

std::unique_ptr<Instruments> make_cuda_instruments(Backend& backend, const ClockOptions& options) {
  if (dynamic_cast<cuda::CudaBackend*>(&backend) == nullptr) return nullptr;
  return std::make_unique<CudaInstruments>(backend, options);
}

}  // namespace cuthresh::bench
