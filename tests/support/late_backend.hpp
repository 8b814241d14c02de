#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "support/forwarding_backend.hpp"

namespace cuthresh::testing {

/// The CPU room as a device is used: it makes known that it stopped after every `late` steps only,
/// so that steps are enqueued beyond the one that stops a round (prox_step does nothing then).
/// `lacking` names an operation that it says it does not have.
class LateBackend final : public ForwardingBackend {
 public:
  LateBackend(std::unique_ptr<Backend> room, std::int64_t late)
      : ForwardingBackend(std::move(room)), late_(late) {}

  std::optional<Operation> lacking;

  std::string description() const override { return "late " + ForwardingBackend::description(); }
  std::string unsupported(Operation operation) const override {
    return operation == lacking ? "not in this room" : ForwardingBackend::unsupported(operation);
  }
  void throttle(std::int64_t steps) override {
    ++throttled;
    ForwardingBackend::throttle(steps);
  }
  void prox_step(ProxPlan& plan) override {
    ++enqueued;
    ForwardingBackend::prox_step(plan);
  }
  bool known_to_have_stopped(const ProxPlan& plan) override {
    return enqueued % late_ == 0 && ForwardingBackend::known_to_have_stopped(plan);
  }

  std::int64_t enqueued = 0;   ///< calls of prox_step so far
  std::int64_t throttled = 0;  ///< calls of throttle so far

 private:
  std::int64_t late_;
};

}  // namespace cuthresh::testing
