#pragma once

// What a case is. Cases are values: a name, what it needs and moves, and how to make the thing that
// is timed. Which cases there are: bench/cases/cases.hpp.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "backend/backend.hpp"
#include "bench/core/result.hpp"

namespace cuthresh::bench {

/// The result of a case is not what its definition says; the row is not printed.
class CheckFailed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Where a case runs.
struct Room {
  Backend& backend;
  std::int64_t threads = 1;
  std::int64_t free_bytes = 0;   ///< memory that a case may take
  std::int64_t cache_bytes = 0;  ///< the last level
  bool smoke = false;            ///< every check, hardly any time
};

/// What is timed. Made with as many sets of buffers as its calls are to be rotated over: one, or as
/// many as exceed the cache several times. Everything is allocated and filled by the constructor.
class Workload {
 public:
  Workload() = default;
  Workload(const Workload&) = delete;
  Workload& operator=(const Workload&) = delete;
  virtual ~Workload() = default;

  /// Runs the case once from its initial state and compares with a float64 reference (or, where the
  /// operation is exact, to the bit). Returns what was compared; throws CheckFailed.
  virtual std::string check() = 0;
  /// Back to the initial state, before each sample and outside its time. For a workload whose calls
  /// change what the next one finds. Enqueues only.
  virtual void reset() {}
  /// One call on set `set`. Enqueues only, unless the case's `waits` says that its result is read.
  virtual void call(std::int64_t set) = 0;
  /// After all samples: throws CheckFailed when the timed calls did not do their work (a step that
  /// had stopped, a value that is not finite). `calls` were made since the last reset().
  virtual void check_after(std::int64_t /*calls*/) {}
  /// Further figures of the row.
  virtual std::map<std::string, double> more() { return {}; }
};

struct Case {
  std::string name;             ///< lower case, parts separated by '/'; the first is the group
  std::string what;             ///< a sentence for --list
  std::int64_t set_bytes = 0;   ///< memory of one set of buffers
  std::int64_t more_bytes = 0;  ///< memory beside the sets, host copies included
  Work work = {};               ///< a call
  Traffic traffic = Traffic::kNone;
  bool rotates = false;  ///< has a cold column: more sets than one can be made
  bool waits =
      false;  ///< a call reads its result: timed by the wall clock, not by a replayed graph
  std::int64_t max_calls = 0;  ///< calls a sample at most (then reset()); 0: any number
  /// Samples of one measurement at most, and then none to warm up; 0: as many as the clock wants.
  std::int64_t max_samples = 0;
  std::function<std::unique_ptr<Workload>(const Room& room, std::int64_t sets)> make;
  /// Empty when this room has what the case needs; else the reason why it is left out.
  std::function<std::string(const Room& room)> lacks = {};
};

}  // namespace cuthresh::bench
