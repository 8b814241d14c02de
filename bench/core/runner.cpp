#include "bench/core/runner.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <memory>

namespace cuthresh::bench {
namespace {

// Sets that together exceed the cache four times: hardly a line is left of one when its turn comes.
constexpr std::int64_t kTimesCache = 4;
constexpr std::int64_t kSmokeSets = 2;
// Ceilings whose footprints differ by less are one.
constexpr double kSameFootprint = 0.05;

std::string size_text(std::int64_t bytes) {
  const auto value = static_cast<double>(bytes);
  return value < 1e9 ? fmt::format("{:.2f} MB", value * 1e-6)
                     : fmt::format("{:.1f} GB", value * 1e-9);
}

std::string ceiling_name(const Ceiling& ceiling) {
  return fmt::format("ceiling, {}, {}, {}", name_of(ceiling.traffic), size_text(ceiling.footprint),
                     ceiling.cold ? "cold" : "warm");
}

bool matches(const Ceiling& ceiling, Traffic traffic, std::int64_t footprint, bool cold) {
  const double apart = static_cast<double>(std::abs(ceiling.footprint - footprint));
  return ceiling.traffic == traffic && ceiling.cold == cold &&
         apart <= kSameFootprint * static_cast<double>(footprint);
}

}  // namespace

std::int64_t footprint_of(const Work& work, Traffic traffic) {
  // y = y + x moves three arrays and touches two.
  const double touched = traffic == Traffic::kStream ? work.bytes * 2.0 / 3.0 : work.bytes;
  return traffic == Traffic::kNone ? 0 : std::llround(touched);
}

std::int64_t Runner::cold_sets(std::int64_t bytes) const {
  if (room_.smoke) return kSmokeSets;
  const std::int64_t wanted = kTimesCache * room_.cache_bytes;
  return std::max<std::int64_t>(1, (wanted + bytes - 1) / std::max<std::int64_t>(bytes, 1));
}

Findings Runner::run(const std::vector<Case>& cases) {
  jobs_.clear();
  findings_ = {};
  begun_ = 0;
  for (const Case& c : cases) plan(c);
  items_ = static_cast<std::int64_t>(2 * findings_.ceilings.size() + jobs_.size());
  measure_ceilings(false);
  run_jobs();
  measure_ceilings(true);
  observer_.end();
  attach_ceilings();
  return std::move(findings_);
}

void Runner::plan(const Case& c) {
  const std::string lacking = c.lacks ? c.lacks(room_) : "";
  if (!lacking.empty()) {
    findings_.left_out.push_back({c.name, lacking});
    return;
  }
  if (!c.rotates) return plan_fitting({&c, false, 1});
  const std::int64_t sets = cold_sets(c.set_bytes);
  if (sets > 1) plan_fitting({&c, false, 1});
  plan_fitting({&c, true, sets});
}

void Runner::plan_fitting(const Job& job) {
  const std::int64_t needed = job.of->set_bytes * job.sets + job.of->more_bytes;
  if (needed > room_.free_bytes) {
    findings_.left_out.push_back(
        {job.name(),
         fmt::format("needs {}, {} are free", size_text(needed), size_text(room_.free_bytes))});
    return;
  }
  jobs_.push_back(job);
  plan_ceiling(job);
}

void Runner::plan_ceiling(const Job& job) {
  const std::int64_t footprint = footprint_of(job.of->work, job.of->traffic);
  if (footprint == 0) return;
  const auto known = [&](const Ceiling& ceiling) {
    return matches(ceiling, job.of->traffic, footprint, job.cold);
  };
  if (std::any_of(findings_.ceilings.begin(), findings_.ceilings.end(), known)) return;
  Ceiling ceiling;
  ceiling.traffic = job.of->traffic;
  ceiling.footprint = footprint;
  ceiling.cold = job.cold;
  findings_.ceilings.push_back(ceiling);
}

bool Runner::begin(const std::string& what) {
  findings_.interrupted = findings_.interrupted || interrupted_();
  if (!findings_.interrupted) observer_.begin(what, ++begun_, items_);
  return !findings_.interrupted;
}

void Runner::fail(const std::string& name, const std::string& message) {
  ++findings_.failures;
  observer_.failed(name, message);
  findings_.left_out.push_back({name, message});
}

void Runner::measure_ceilings(bool again) {
  std::vector<Ceiling> measured;
  for (Ceiling& ceiling : findings_.ceilings) {
    const std::string name = ceiling_name(ceiling) + (again ? ", again" : "");
    try {
      if (!begin(name)) {
        // What was measured before the cases stands, without its second measurement.
        if (again) measured.push_back(ceiling);
        continue;
      }
      again ? measure_again(ceiling) : measure_ceiling(ceiling);
      measured.push_back(ceiling);
    } catch (const std::exception& error) {
      fail(name, error.what());
    }
  }
  findings_.ceilings = std::move(measured);
}

Timing Runner::time_way(const CeilingWay& way, const Ceiling& ceiling) {
  const std::int64_t sets = ceiling.cold ? cold_sets(ceiling.footprint) : 1;
  const auto workload = way.make(room_, ceiling.footprint, sets);
  workload->check();
  const Timing timing = clock_.time(*workload, {.sets = sets});
  workload->check_after(timing.calls);
  return timing;
}

void Runner::measure_ceiling(Ceiling& ceiling) {
  for (const CeilingWay& way : ways_(ceiling.traffic)) {
    const Timing timing = time_way(way, ceiling);
    if (!ceiling.how.empty() && timing.median_us >= ceiling.first.median_us) continue;
    ceiling.how = way.how;
    ceiling.first = timing;
  }
}

void Runner::measure_again(Ceiling& ceiling) {
  for (const CeilingWay& way : ways_(ceiling.traffic)) {
    if (way.how == ceiling.how) ceiling.last = time_way(way, ceiling);
  }
}

void Runner::run_jobs() {
  for (const Job& job : jobs_) {
    if (!begin(job.name())) {
      findings_.left_out.push_back({job.name(), "interrupted before it ran"});
      continue;
    }
    try {
      findings_.rows.push_back(measure(job));
    } catch (const CheckFailed& failed) {
      fail(job.name(), std::string("check failed: ") + failed.what());
    } catch (const std::exception& error) {
      fail(job.name(), error.what());
    }
  }
}

Row Runner::measure(const Job& job) {
  const Case& c = *job.of;
  Row row;
  row.name = c.name;
  row.group = c.name.substr(0, c.name.find('/'));
  row.cold = job.cold;
  row.work = c.work;
  row.traffic = c.traffic;
  const auto workload = c.make(room_, job.sets);
  row.checked = workload->check();
  for (Timing* timing : {&row.timing, &row.again}) {
    *timing = clock_.time(*workload, {job.sets, c.max_calls, c.max_samples, c.waits});
    workload->check_after(timing->calls);
  }
  row.more = workload->more();
  return row;
}

void Runner::attach_ceilings() {
  for (Row& row : findings_.rows) {
    const std::int64_t footprint = footprint_of(row.work, row.traffic);
    for (const Ceiling& ceiling : findings_.ceilings) {
      if (footprint != 0 && matches(ceiling, row.traffic, footprint, row.cold)) {
        row.ceiling_gb_per_s = gb_per_s(ceiling);
      }
    }
  }
}

}  // namespace cuthresh::bench
