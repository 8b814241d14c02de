#include "capi/controller.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "capi/handles.hpp"

namespace cuthresh::capi {

Controller::Controller(std::shared_ptr<Plan> plan, const search::RunSchedule& schedule,
                       std::vector<Target> targets)
    : plan_(std::move(plan)), schedule_(schedule), targets_(std::move(targets)) {}

bool Controller::divided() const {
  return std::any_of(targets_.begin(), targets_.end(),
                     [](const Target& target) { return target.divided; });
}

void Controller::begin() {
  start_run();
  updates_ = 0;
}

void Controller::end() {
  plan_->controller = nullptr;
  plan_->lambda_moved = true;
  if (!plan_->closed) plan_->backend().set_stop(*plan_->room_plan, {});
}

/// The run's first state; λ of groups without a target is what the caller set last.
void Controller::start_run() {
  Backend& backend = plan_->backend();
  std::vector<ControlTarget> targets;
  std::vector<double> lambda = plan_->lambda;
  for (const Target& target : targets_) {
    targets.push_back(target.control);
    for (const std::int32_t group : target.control.groups) {
      lambda[static_cast<std::size_t>(group)] = 0.0;
    }
  }
  backend.set_stop(*plan_->room_plan, {});
  backend.set_control(*plan_->room_plan, schedule_.rule, targets);
  backend.set_lambda(*plan_->room_plan, lambda);
}

void Controller::update(const std::int64_t* counts) {
  Backend& backend = plan_->backend();
  if (schedule_.updates_after(updates_)) {
    if (counts == nullptr) {
      backend.control(*plan_->room_plan);
    } else {
      backend.control(*plan_->room_plan, counts);
    }
  }
  if (updates_ + 1 == schedule_.debias_at) backend.freeze(*plan_->room_plan);
  ++updates_;
}

void Controller::copy_counts(std::int64_t* counts) {
  plan_->backend().copy_counts(*plan_->room_plan, counts);
}

void Controller::read(std::span<cth_target_report> reports) {
  const std::vector<std::uint64_t> nonzeros = plan_->backend().read_nonzeros(*plan_->room_plan);
  const std::vector<float> lambda = plan_->backend().read_lambda(*plan_->room_plan);
  for (std::size_t t = 0; t < targets_.size(); ++t) {
    const Target& target = targets_[t];
    cth_target_report report{target.weights, target.control.target, 0, 0.0f, 0};
    for (const std::int32_t group : target.control.groups) {
      const auto g = static_cast<std::size_t>(group);
      report.nonzeros += nonzeros[g];
      report.lambda = std::max(report.lambda, lambda[g]);  // less of a group that is at its least
    }
    const auto wanted = static_cast<double>(report.target);
    const double missed = std::fabs(static_cast<double>(report.nonzeros) - wanted);
    report.met = !target.divided && missed <= target.tolerance * wanted ? 1 : 0;
    reports[t] = report;
  }
}

namespace {

constexpr char kCreateController[] = "cth_controller_create";

search::RunSchedule read_schedule(const cth_controller_options& o) {
  search::RunShares shares;
  shares.ramp_begin = o.ramp_begin;
  shares.ramp_end = o.ramp_end;
  shares.finish = o.finish;
  shares.debias = o.debias;
  shares.integral_gain = o.integral_gain;
  shares.proportional_gain = o.proportional_gain;
  search::RunNames names;
  for (std::string* const name :
       {&names.steps, &names.ramp_begin, &names.ramp_end, &names.finish, &names.debias,
        &names.integral_gain, &names.proportional_gain, &names.update_every}) {
    name->insert(0, "options->");
  }
  return search::make_run_schedule(o.steps, shares, o.update_every, names);
}

/// body(controller), alone on its context, of a controller whose plan is still there.
template <class F>
cth_status with_controller(const char* function, const cth_controller* controller,
                           F&& body) noexcept {
  return guarded(function, [&] {
    require(function, "controller", controller);
    Controller& c = *controller->state;
    const std::lock_guard lock(c.plan().context->mutex);
    if (c.plan().closed) {
      invalid(argument(function, "controller"), "its plan was destroyed", "",
              "destroy controllers before their plan");
    }
    body(c);
  });
}

void update(const char* function, Controller& c, const std::int64_t* counts) {
  if (counts == nullptr && c.divided()) {
    invalid(argument(function, "controller"),
            "it has targets with total_weights, whose counts are in other processes too", "",
            "add them up and call cth_controller_update_from");
  }
  c.update(counts);
}

void check_device_counts(const char* function, const Controller& c, const std::int64_t* counts,
                         std::size_t targets) {
  require(function, "device_counts", counts);
  check_aligned(argument(function, "device_counts"), counts, alignof(std::int64_t));
  require_count(function, "targets", targets, c.targets(), "targets of the controller");
}

}  // namespace
}  // namespace cuthresh::capi

using namespace cuthresh::capi;

cth_status cth_controller_create(cth_plan* plan, const cth_target* targets, size_t count,
                                 const cth_controller_options* options,
                                 cth_controller** controller) {
  return with_plan(kCreateController, plan, [&](Plan& p) {
    require(kCreateController, "controller", controller);
    require(kCreateController, "options", options);
    if (p.controller != nullptr) {
      invalid(argument(kCreateController, "plan"), "it has a controller already", "",
              "destroy that one before");
    }
    if (count < 1 || count > p.groups) {
      invalid(argument(kCreateController, "count"),
              "must be from 1 to the plan's groups, " + std::to_string(p.groups),
              std::to_string(count), "each group has at most one target");
    }
    require(kCreateController, "targets", targets);
    const auto o = read_options<cth_controller_options>(kCreateController, options,
                                                        CTH_CONTROLLER_OPTIONS_INIT);
    const cuthresh::search::RunSchedule schedule = read_schedule(o);
    auto handle = std::make_unique<cth_controller>();
    handle->state = std::make_shared<Controller>(
        plan->state, schedule, read_targets(kCreateController, p, {targets, count}, schedule));
    if (p.lambda_moved) {
      p.follow_lambda(p.backend().read_lambda(*p.room_plan));
      p.lambda_moved = false;
    }
    handle->state->begin();
    p.controller = handle->state.get();
    *controller = handle.release();
  });
}

void cth_controller_destroy(cth_controller* controller) {
  if (controller == nullptr) return;
  const std::unique_ptr<cth_controller> handle(controller);
  (void)guarded("cth_controller_destroy", [&] {
    const std::shared_ptr<Context> context = controller->state->plan().context;
    const std::lock_guard lock(context->mutex);
    const std::shared_ptr<Controller> state = std::move(controller->state);
    state->end();
  });
}

cth_status cth_controller_update(cth_controller* controller) {
  constexpr char kFunction[] = "cth_controller_update";
  return with_controller(kFunction, controller,
                         [&](Controller& c) { update(kFunction, c, nullptr); });
}

cth_status cth_controller_copy_counts(cth_controller* controller, int64_t* device_counts,
                                      size_t targets) {
  constexpr char kFunction[] = "cth_controller_copy_counts";
  return with_controller(kFunction, controller, [&](Controller& c) {
    check_device_counts(kFunction, c, device_counts, targets);
    c.copy_counts(device_counts);
  });
}

cth_status cth_controller_update_from(cth_controller* controller, const int64_t* device_counts,
                                      size_t targets) {
  constexpr char kFunction[] = "cth_controller_update_from";
  return with_controller(kFunction, controller, [&](Controller& c) {
    check_device_counts(kFunction, c, device_counts, targets);
    update(kFunction, c, device_counts);
  });
}

cth_status cth_controller_phase(const cth_controller* controller, cth_phase* phase) {
  constexpr char kFunction[] = "cth_controller_phase";
  return with_controller(kFunction, controller, [&](Controller& c) {
    require(kFunction, "phase", phase);
    static_assert(static_cast<int>(cuthresh::search::RunPhase::kDense) == CTH_PHASE_DENSE &&
                  static_cast<int>(cuthresh::search::RunPhase::kDone) == CTH_PHASE_DONE);
    *phase = static_cast<cth_phase>(c.phase());
  });
}

cth_status cth_controller_read(cth_controller* controller, cth_target_report* reports,
                               size_t targets) {
  constexpr char kFunction[] = "cth_controller_read";
  return with_controller(kFunction, controller, [&](Controller& c) {
    require(kFunction, "reports", reports);
    require_count(kFunction, "targets", targets, c.targets(), "targets of the controller");
    c.read({reports, targets});
  });
}

cth_status cth_controller_save(cth_controller* controller, void* bytes, size_t* size) {
  constexpr char kFunction[] = "cth_controller_save";
  return with_controller(kFunction, controller, [&](Controller& c) {
    require(kFunction, "size", size);
    const std::size_t needed = c.saved_bytes();
    if (bytes != nullptr) {
      if (*size < needed) {
        invalid(argument(kFunction, "size"),
                "must be at least " + std::to_string(needed) + " bytes", std::to_string(*size),
                "ask for it with bytes = NULL before");
      }
      c.save({static_cast<std::byte*>(bytes), needed});
    }
    *size = needed;
  });
}

cth_status cth_controller_load(cth_controller* controller, const void* bytes, size_t size) {
  constexpr char kFunction[] = "cth_controller_load";
  return with_controller(kFunction, controller, [&](Controller& c) {
    require(kFunction, "bytes", bytes);
    c.load({static_cast<const std::byte*>(bytes), size});
  });
}
