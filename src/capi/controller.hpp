#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.hpp"
#include "cuthresh/cuthresh.h"
#include "search/schedule.hpp"

namespace cuthresh::capi {

struct Plan;

/// One target as the caller gave it, worked out.
struct Target {
  ControlTarget control;
  std::uint64_t weights = 0;  ///< in all processes
  double tolerance = 0.0;
  bool divided = false;  ///< among processes
};

/// The phases of one training over a plan, counted by updates.
class Controller {
 public:
  Controller(std::shared_ptr<Plan> plan, const search::RunSchedule& schedule,
             std::vector<Target> targets);

  Plan& plan() const { return *plan_; }
  /// Of the next step.
  search::RunPhase phase() const { return schedule_.phase(updates_); }
  std::size_t targets() const { return targets_.size(); }
  bool divided() const;

  /// The plan as it is before the first step: λ of its targets is 0, all else as the caller set it.
  void begin();
  /// The plan without this controller; λ stays.
  void end();
  /// After a step; `counts` in device memory, or null: those of the plan.
  void update(const std::int64_t* counts);
  void copy_counts(std::int64_t* counts);
  void read(std::span<cth_target_report> reports);

  /// controller_bytes.cpp
  std::size_t saved_bytes() const;
  void save(std::span<std::byte> bytes);
  void load(std::span<const std::byte> bytes);

 private:
  void start_run();
  void restore(std::int64_t updates, const ControlState& state);

  std::shared_ptr<Plan> plan_;
  search::RunSchedule schedule_;
  std::vector<Target> targets_;
  std::int64_t updates_ = 0;
};

/// The targets that a caller describes, checked, with λ to begin with found where none is given.
std::vector<Target> read_targets(const char* function, Plan& plan,
                                 std::span<const cth_target> given,
                                 const search::RunSchedule& schedule);

}  // namespace cuthresh::capi

struct cth_controller {
  std::shared_ptr<cuthresh::capi::Controller> state;
};
