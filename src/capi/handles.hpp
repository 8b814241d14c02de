#pragma once

// What the ABI's handles hold. A plan keeps its context alive and a controller its plan, so handles
// may be destroyed in any order; a controller whose plan's handle is gone refuses to work, since
// the plan's tensors may be gone too.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.hpp"
#include "capi/boundary.hpp"
#include "capi/tensors.hpp"
#include "cuthresh/cuthresh.h"

namespace cuthresh::capi {

struct Context {
  Context(std::unique_ptr<Backend> room, const Device& where)
      : device(where), description(room->description()), backend(std::move(room)) {}

  const Device device;
  const std::string description;
  std::mutex mutex;  ///< all of a context, its plans and its controllers
  const std::unique_ptr<Backend> backend;
};

class Controller;

struct Plan {
  Backend& backend() { return *context->backend; }
  /// Every tensor of a group has a gradient; refuses in the name of `function`.
  void require_gradients(const char* function) const;
  /// λ as the room has it in float32; what it is the rounding of stays.
  void follow_lambda(const std::vector<float>& now);

  std::shared_ptr<Context> context;
  std::vector<ProxTensor> tensors;  ///< as the plan was made; gradients of now are in `gradients`
  std::vector<const void*> gradients;  ///< a tensor
  Dtype dtype = Dtype::kFloat32;
  StepKind kind = StepKind::kPlain;
  std::size_t groups = 0;
  std::vector<StepRateOf<double>> rates;  ///< as they were last set
  std::size_t used_rates = 1;             ///< the largest that a tensor names, + 1
  std::vector<double> lambda;             ///< a group, as the caller last set it
  bool lambda_moved = false;              ///< by a controller that is gone: the room knows it
  std::unique_ptr<ProxPlan> room_plan;
  std::unique_ptr<ProxPlan> of_weights;  ///< whose gradients are the weights; made when asked for
  Controller* controller = nullptr;      ///< at most one
  bool closed = false;                   ///< its handle is destroyed
};

/// A context around a room that is there already: for tests, which try every room.
cth_context* make_context(std::unique_ptr<Backend> backend, const Device& device);

}  // namespace cuthresh::capi

struct cth_context {
  std::shared_ptr<cuthresh::capi::Context> state;
};

struct cth_plan {
  std::shared_ptr<cuthresh::capi::Plan> state;
};

namespace cuthresh::capi {

/// body(state) of a function of the ABI that takes a context, or a plan: with its arguments' handle
/// checked, alone on the context, and nothing thrown.
template <class F>
cth_status with_context(const char* function, cth_context* context, F&& body) noexcept {
  return guarded(function, [&] {
    require(function, "context", context);
    const std::lock_guard lock(context->state->mutex);
    body(*context->state);
  });
}

template <class F>
cth_status with_plan(const char* function, const cth_plan* plan, F&& body) noexcept {
  return guarded(function, [&] {
    require(function, "plan", plan);
    const std::lock_guard lock(plan->state->context->mutex);
    body(*plan->state);
  });
}

}  // namespace cuthresh::capi
