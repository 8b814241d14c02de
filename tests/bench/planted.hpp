#pragma once

// Workloads that do what a test wants, and a clock that says what it was asked.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bench/core/clock.hpp"
#include "bench/core/runner.hpp"

namespace cuthresh::testing {

/// What happened to all workloads of a test, in order.
struct Log {
  std::vector<std::string> lines;
  void operator()(const std::string& line) { lines.push_back(line); }
};

/// Which promise a planted workload breaks.
enum class Breaks { kNothing, kMaking, kCheck, kCall, kAfter };

class Planted final : public bench::Workload {
 public:
  Planted(std::string name, std::int64_t sets, Breaks breaks, Log& log)
      : name_(std::move(name)), breaks_(breaks), log_(log) {
    if (breaks == Breaks::kMaking) throw std::runtime_error("out of memory");
    log_("make " + name_ + " " + std::to_string(sets));
  }
  ~Planted() override { log_("drop " + name_); }

  std::string check() override {
    log_("check " + name_);
    if (breaks_ == Breaks::kCheck) throw bench::CheckFailed("entry 3 is 1, not 2");
    return "3 entries";
  }
  void call(std::int64_t) override {
    if (breaks_ == Breaks::kCall) throw std::runtime_error("launch failed");
  }
  void check_after(std::int64_t calls) override {
    log_("after " + name_ + " " + std::to_string(calls));
    if (breaks_ == Breaks::kAfter) throw bench::CheckFailed("steps were not taken");
  }
  std::map<std::string, double> more() override { return {{"nnz", 7.0}}; }

 private:
  std::string name_;
  Breaks breaks_;
  Log& log_;
};

inline bench::Case planted_case(const std::string& name, Log& log,
                                Breaks breaks = Breaks::kNothing) {
  bench::Case c;
  c.name = name;
  c.what = "planted";
  c.set_bytes = 1000;
  c.make = [=, &log](const bench::Room&, std::int64_t sets) {
    return std::make_unique<Planted>(name, sets, breaks, log);
  };
  return c;
}

/// Makes one call, and says that a call took 10 µs, 11 µs the next time, and so on.
class FakeClock final : public bench::Clock {
 public:
  explicit FakeClock(Log& log) : log_(log) {}

  bench::Timing time(bench::Workload& workload, const bench::CallLimits& limits) override {
    log_("time " + std::to_string(limits.sets) + " " + std::to_string(limits.max_calls) + " " +
         std::to_string(limits.max_samples) + (limits.waits ? " waits" : ""));
    workload.call(0);
    const double us = next_us_;
    next_us_ += 1.0;
    return {us, us, us, 30, 5};
  }

 private:
  Log& log_;
  double next_us_ = 10.0;
};

}  // namespace cuthresh::testing
