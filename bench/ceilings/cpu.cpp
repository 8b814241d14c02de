// The CPU's ceilings and what else measuring needs of it.

#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "bench/ceilings/cpu_loops.hpp"
#include "bench/ceilings/mover.hpp"
#include "bench/core/host_memory.hpp"
#include "bench/core/instruments.hpp"
#include "cpu/parallel.hpp"

namespace cuthresh::bench {
namespace {

// What the room itself takes for worth a second thread (src/cpu/backend_impl.hpp).
constexpr std::int64_t kFloatsWorthAThread = 8192;
constexpr std::int64_t kCacheUnknown = std::int64_t{64} << 20;

const MoveLoops& best_loops() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) return kMoveAvx512;
  if (__builtin_cpu_supports("avx2")) return kMoveAvx2;
#endif
  return kMoveBaseline;
}

using Loop = void (*)(const float* x, float* y, std::int64_t n);

/// The loop over the room's own division among as many threads.
Mover moved_by(const cpu::Threads& threads, Loop loop) {
  return [&threads, loop](const float* x, float* y, std::int64_t n) {
    threads.ranges(n, kFloatsWorthAThread, kMoverUnit, [=](std::int64_t begin, std::int64_t end) {
      loop(x + begin, y + begin, end - begin);
    });
  };
}

Mover summed_by(const cpu::Threads& threads) {
  return [&threads](const float* x, float* y, std::int64_t n) {
    auto* sum = reinterpret_cast<std::uint32_t*>(y);
    threads.ranges(n, kFloatsWorthAThread, kMoverUnit, [=](std::int64_t begin, std::int64_t end) {
      __atomic_fetch_add(sum, best_loops().sum_bits(x + begin, end - begin), __ATOMIC_RELAXED);
    });
  };
}

CeilingWay way_of(Traffic traffic, std::string how, Mover mover) {
  return {std::move(how), [=](const Room& room, std::int64_t footprint, std::int64_t sets) {
            return make_mover_workload(room, traffic, footprint, sets, mover);
          }};
}

class CpuInstruments final : public Instruments {
 public:
  CpuInstruments(Backend& backend, std::int64_t threads, const ClockOptions& options)
      : clock_(backend, options), threads_(threads), alone_(1) {}

  Clock& clock() override { return clock_; }
  std::int64_t threads() const override { return threads_.count(); }
  std::int64_t free_bytes() const override { return free_host_bytes(); }
  std::int64_t cache_bytes() const override {
    for (const int level : {_SC_LEVEL4_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE, _SC_LEVEL2_CACHE_SIZE}) {
      const long bytes = sysconf(level);
      if (bytes > 0) return bytes;
    }
    return kCacheUnknown;
  }

  std::vector<CeilingWay> ways(Traffic traffic) override {
    std::vector<CeilingWay> found;
    add_ways(found, traffic, threads_);
    // Where little is to be moved, one thread alone can be faster than two that wait for each
    // other.
    if (threads_.count() > 1) add_ways(found, traffic, alone_);
    return found;
  }

 private:
  static void add_ways(std::vector<CeilingWay>& found, Traffic traffic,
                       const cpu::Threads& threads) {
    const std::string by =
        threads.count() == 1 ? ", 1 thread" : ", " + std::to_string(threads.count()) + " threads";
    const MoveLoops& loops = best_loops();
    if (traffic == Traffic::kRead) {
      found.push_back(way_of(traffic, "plain loads" + by, summed_by(threads)));
      return;
    }
    const bool add = traffic == Traffic::kStream;
    found.push_back(
        way_of(traffic, "plain stores" + by, moved_by(threads, add ? loops.add : loops.copy)));
    found.push_back(way_of(traffic, "streaming stores" + by,
                           moved_by(threads, add ? loops.add_streaming : loops.copy_streaming)));
  }

  WallClock clock_;
  cpu::Threads threads_;
  cpu::Threads alone_;
};

}  // namespace

std::unique_ptr<Instruments> make_cpu_instruments(Backend& backend, std::int64_t threads,
                                                  const ClockOptions& options) {
  return std::make_unique<CpuInstruments>(backend, threads, options);
}

}  // namespace cuthresh::bench
