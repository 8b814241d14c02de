#pragma once

// Runs cases: ceilings first, each case checked before it is timed, ceilings again.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/core/clock.hpp"
#include "bench/core/instruments.hpp"
#include "bench/core/result.hpp"

namespace cuthresh::bench {

/// Who wants to know while it runs.
class Observer {
 public:
  virtual ~Observer() = default;
  /// Item `number` (from 1) of `all`.
  virtual void begin(const std::string& /*what*/, std::int64_t /*number*/, std::int64_t /*all*/) {}
  virtual void failed(const std::string& /*name*/, const std::string& /*message*/) {}
  virtual void end() {}
};

struct Findings {
  std::vector<Ceiling> ceilings;
  std::vector<Row> rows;
  std::vector<LeftOut> left_out;  ///< what failed and what an interrupt kept from running, too
  std::int64_t failures = 0;
  bool interrupted = false;
};

using CeilingWays = std::function<std::vector<CeilingWay>(Traffic)>;

class Runner {
 public:
  /// `interrupted` is asked before each item; once true nothing more begins.
  Runner(
      const Room& room, Clock& clock, CeilingWays ways, Observer& observer,
      std::function<bool()> interrupted = [] { return false; })
      : room_(room),
        clock_(clock),
        ways_(std::move(ways)),
        observer_(observer),
        interrupted_(std::move(interrupted)) {}

  /// What a case or a ceiling throws is a failure of that one; all others run.
  Findings run(const std::vector<Case>& cases);

 private:
  /// A row to be.
  struct Job {
    const Case* of = nullptr;
    bool cold = false;
    std::int64_t sets = 1;
    std::string name() const { return cold && of->rotates ? of->name + ", cold" : of->name; }
  };

  void plan(const Case& c);
  void plan_fitting(const Job& job);
  void plan_ceiling(const Job& job);
  /// False once interrupted.
  bool begin(const std::string& what);
  void fail(const std::string& name, const std::string& message);
  void measure_ceilings(bool again);
  void measure_ceiling(Ceiling& ceiling);
  void measure_again(Ceiling& ceiling);
  Timing time_way(const CeilingWay& way, const Ceiling& ceiling);
  Row measure(const Job& job);
  void run_jobs();
  void attach_ceilings();
  std::int64_t cold_sets(std::int64_t bytes) const;

  Room room_;
  Clock& clock_;
  CeilingWays ways_;
  Observer& observer_;
  std::function<bool()> interrupted_;
  std::vector<Job> jobs_;
  Findings findings_;
  std::int64_t begun_ = 0;
  std::int64_t items_ = 0;
};

/// Bytes that one call of a case touches: each once, however often it is moved.
std::int64_t footprint_of(const Work& work, Traffic traffic);

}  // namespace cuthresh::bench
