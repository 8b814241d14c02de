#pragma once

// What measuring needs of a kind of room and Backend does not have.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bench/core/clock.hpp"

namespace cuthresh::bench {

/// One way to move memory in a pattern; which is the fastest, the machine decides.
struct CeilingWay {
  std::string how;
  /// Sets that touch `footprint` bytes each.
  std::function<std::unique_ptr<Workload>(const Room& room, std::int64_t footprint,
                                          std::int64_t sets)>
      make;
};

class Instruments {
 public:
  Instruments() = default;
  Instruments(const Instruments&) = delete;
  Instruments& operator=(const Instruments&) = delete;
  virtual ~Instruments() = default;

  virtual Clock& clock() = 0;
  virtual std::int64_t threads() const = 0;      ///< of the host that the room computes with
  virtual std::int64_t free_bytes() const = 0;   ///< of the room's memory, less a reserve
  virtual std::int64_t cache_bytes() const = 0;  ///< of its last level
  virtual std::vector<CeilingWay> ways(Traffic traffic) = 0;
  /// What starting work costs, where that is apart from the work.
  virtual std::vector<Case> overhead_cases() { return {}; }
  /// Of this kind of room alone.
  virtual std::vector<Case> room_cases(bool /*smoke*/) { return {}; }
  /// Versions of what the room runs on: "CUDA driver": "13.0".
  virtual std::map<std::string, std::string> libraries() const { return {}; }
};

/// `threads` as BackendOptions has it.
std::unique_ptr<Instruments> make_cpu_instruments(Backend& backend, std::int64_t threads,
                                                  const ClockOptions& options);
/// Null when `backend` is no CUDA room. Only in executables that have one.
std::unique_ptr<Instruments> make_cuda_instruments(Backend& backend, const ClockOptions& options);

/// Those of the room that `backend` is.
std::unique_ptr<Instruments> make_instruments(Backend& backend, std::int64_t threads,
                                              const ClockOptions& options);

}  // namespace cuthresh::bench
