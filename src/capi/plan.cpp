// Plans: made from the caller's tensors, set, stepped and read.

#include <algorithm>
#include <cstddef>
#include <span>

#include "backend/check_values.hpp"
#include "backend/checks.hpp"
#include "capi/controller.hpp"
#include "capi/handles.hpp"

namespace cuthresh::capi {
namespace {

constexpr char kCreatePlan[] = "cth_plan_create";

StepKind step_kind(std::int32_t kind) {
  switch (kind) {
    case CTH_STEP_SGD:
      return StepKind::kPlain;
    case CTH_STEP_MOMENTUM:
      return StepKind::kMomentum;
    case CTH_STEP_NESTEROV:
      return StepKind::kNesterov;
    case CTH_STEP_THRESHOLD:
      return StepKind::kThreshold;
    default:
      invalid(argument(kCreatePlan, "options->kind"), "must be one of cth_step_kind",
              std::to_string(kind), "use CTH_STEP_SGD, for instance");
  }
}

/// A tensor's group or rate: at least `least`, below the number of them that the options give (0:
/// as many as are named).
void check_index(const std::string& where, const char* what, std::int32_t index, std::int32_t least,
                 std::int32_t given) {
  const std::int32_t end = given > 0 ? given : static_cast<std::int32_t>(kMaxListEntries);
  if (index >= least && index < end) return;
  invalid(where + "." + what,
          "must be from " + std::to_string(least) + " to " + std::to_string(end - 1),
          std::to_string(index),
          given > 0 ? std::string("give the options more of them") : "number them from 0");
}

ProxTensor read_tensor(const cth_plan_tensor& from, std::size_t index, StepKind kind, Dtype dtype,
                       const cth_plan_options& options, const Device& device) {
  const std::string where = argument(kCreatePlan, element("tensors", index));
  check_index(where, "group", from.group, -1, options.groups);
  check_index(where, "rate", from.rate, 0, options.rates);
  ProxTensor tensor;
  tensor.w = check_tensor(where + ".weight", from.weight, device, dtype);
  tensor.size = from.weight.size;
  tensor.group = from.group;
  tensor.rate = from.rate;
  if (from.gradient.data != nullptr) {
    tensor.g = check_tensor(where + ".gradient", from.gradient, device, dtype, tensor.size);
  }
  if (has_momentum(kind)) {
    tensor.v =
        check_tensor(where + ".momentum", from.momentum, device, compute_dtype(dtype), tensor.size);
  }
  if (has_master(dtype) && options.masters != nullptr && options.masters[index].data != nullptr) {
    tensor.master = static_cast<float*>(
        check_tensor(argument(kCreatePlan, element("options->masters", index)),
                     options.masters[index], device, Dtype::kFloat32, tensor.size));
  }
  return tensor;
}

/// The number that the options give, or else as many as the tensors name.
std::size_t extent(const char* name, std::int32_t given, std::int32_t largest) {
  if (given < 0 || given > kMaxListEntries) {
    invalid(argument(kCreatePlan, name), "must be from 0 to 2^24", std::to_string(given),
            "pass 0 for as many as the tensors name");
  }
  return static_cast<std::size_t>(std::max(given, largest + 1));
}

std::shared_ptr<Plan> make_plan(const std::shared_ptr<Context>& context,
                                std::span<const cth_plan_tensor> given,
                                const cth_plan_options& options) {
  const StepKind kind = step_kind(options.kind);
  auto plan = std::make_shared<Plan>();
  plan->context = context;
  plan->kind = kind;
  plan->dtype = read_dtype(argument(kCreatePlan, "tensors[0].weight"), given[0].weight.dtype);
  std::int32_t largest_group = -1;
  std::int32_t largest_rate = 0;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const ProxTensor tensor = read_tensor(given[i], i, kind, plan->dtype, options, context->device);
    plan->tensors.push_back(tensor);
    plan->gradients.push_back(tensor.g);
    largest_group = std::max(largest_group, tensor.group);
    largest_rate = std::max(largest_rate, tensor.rate);
  }
  plan->groups = extent("options->groups", options.groups, largest_group);
  plan->rates.resize(extent("options->rates", options.rates, largest_rate));
  plan->used_rates = static_cast<std::size_t>(largest_rate) + 1;
  plan->lambda.assign(plan->groups, 0.0);
  plan->room_plan = context->backend->make_plan(
      plan->tensors, static_cast<std::int32_t>(plan->groups), kind, plan->dtype);
  context->backend->set_stop(*plan->room_plan, {});
  return plan;
}

}  // namespace

void Plan::require_gradients(const char* function) const {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (gradients[i] != nullptr || tensors[i].group < 0 || tensors[i].size == 0) continue;
    invalid(argument(function, element("tensors", i) + ".gradient"),
            "every tensor of a group needs a gradient here", "NULL",
            "give it one with cth_plan_set_gradients");
  }
}

void Plan::follow_lambda(const std::vector<float>& now) {
  for (std::size_t i = 0; i < now.size(); ++i) {
    if (static_cast<float>(lambda[i]) != now[i]) lambda[i] = static_cast<double>(now[i]);
  }
}

}  // namespace cuthresh::capi

using namespace cuthresh::capi;

cth_status cth_plan_create(cth_context* context, const cth_plan_tensor* tensors, size_t count,
                           const cth_plan_options* options, cth_plan** plan) {
  return with_context(kCreatePlan, context, [&](Context&) {
    require(kCreatePlan, "plan", plan);
    if (count < 1 || count > static_cast<std::size_t>(cuthresh::kMaxListEntries)) {
      invalid(argument(kCreatePlan, "count"), "must be from 1 to 2^24 tensors",
              std::to_string(count), "pass at least one tensor");
    }
    require(kCreatePlan, "tensors", tensors);
    const auto o = read_options<cth_plan_options>(kCreatePlan, options, CTH_PLAN_OPTIONS_INIT,
                                                  offsetof(cth_plan_options, masters));
    *plan = new cth_plan{make_plan(context->state, {tensors, count}, o)};
  });
}

void cth_plan_destroy(cth_plan* plan) {
  if (plan == nullptr) return;
  const std::unique_ptr<cth_plan> handle(plan);
  (void)guarded("cth_plan_destroy", [&] {
    const std::shared_ptr<Context> context = plan->state->context;
    const std::lock_guard lock(context->mutex);
    plan->state->closed = true;
    plan->state.reset();
  });
}

cth_status cth_plan_extents(const cth_plan* plan, size_t* groups, size_t* rates) {
  return with_plan("cth_plan_extents", plan, [&](Plan& p) {
    if (groups != nullptr) *groups = p.groups;
    if (rates != nullptr) *rates = p.rates.size();
  });
}

cth_status cth_plan_set_gradients(cth_plan* plan, const void* const* gradients, size_t count) {
  constexpr char kFunction[] = "cth_plan_set_gradients";
  return with_plan(kFunction, plan, [&](Plan& p) {
    require(kFunction, "gradients", gradients);
    require_count(kFunction, "count", count, p.tensors.size(), "tensors of the plan");
    std::vector<const void*> now(gradients, gradients + count);
    const std::size_t bytes = cuthresh::storage_bytes(p.dtype);
    for (std::size_t i = 0; i < count; ++i) {
      if (reinterpret_cast<std::uintptr_t>(now[i]) % bytes != 0) {
        check_aligned(argument(kFunction, element("gradients", i)), now[i], bytes);
      }
    }
    if (now == p.gradients) return;
    p.backend().set_gradients(*p.room_plan, now);
    p.gradients = std::move(now);
  });
}

namespace {

template <class Rate>
cth_status set_plan_rates(const char* function, cth_plan* plan, const Rate* rates,
                          std::size_t count) {
  return with_plan(function, plan, [&](Plan& p) {
    require(function, "rates", rates);
    require_count(function, "count", count, p.rates.size(), "rates of the plan");
    std::vector<cuthresh::StepRateOf<double>> now;
    now.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      now.push_back({static_cast<double>(rates[i].learning_rate),
                     static_cast<double>(rates[i].momentum),
                     static_cast<double>(rates[i].weight_decay)});
    }
    cuthresh::check_rates(now, count, p.dtype);
    p.backend().set_rates(*p.room_plan, std::span(now).first(p.used_rates));
    p.rates = std::move(now);
  });
}

template <class T>
cth_status set_plan_lambda(const char* function, cth_plan* plan, const T* lambda,
                           std::size_t count) {
  return with_plan(function, plan, [&](Plan& p) {
    require(function, "lambda", lambda);
    require_count(function, "count", count, p.groups, "groups of the plan");
    std::vector<double> now(lambda, lambda + count);
    p.backend().set_lambda(*p.room_plan, now);
    p.lambda = std::move(now);
    p.lambda_moved = false;
  });
}

}  // namespace

cth_status cth_plan_set_rates(cth_plan* plan, const cth_rate* rates, size_t count) {
  return set_plan_rates("cth_plan_set_rates", plan, rates, count);
}

cth_status cth_plan_set_rates64(cth_plan* plan, const cth_rate64* rates, size_t count) {
  return set_plan_rates("cth_plan_set_rates64", plan, rates, count);
}

cth_status cth_plan_set_lambda(cth_plan* plan, const float* lambda, size_t count) {
  return set_plan_lambda("cth_plan_set_lambda", plan, lambda, count);
}

cth_status cth_plan_set_lambda64(cth_plan* plan, const double* lambda, size_t count) {
  return set_plan_lambda("cth_plan_set_lambda64", plan, lambda, count);
}

cth_status cth_plan_refresh_masters(cth_plan* plan) {
  return with_plan("cth_plan_refresh_masters", plan,
                   [](Plan& p) { p.backend().refresh_master(*p.room_plan); });
}

cth_status cth_plan_read_lambda(cth_plan* plan, float* lambda, size_t count) {
  constexpr char kFunction[] = "cth_plan_read_lambda";
  return with_plan(kFunction, plan, [&](Plan& p) {
    require(kFunction, "lambda", lambda);
    require_count(kFunction, "count", count, p.groups, "groups of the plan");
    const std::vector<float> values = p.backend().read_lambda(*p.room_plan);
    std::copy(values.begin(), values.end(), lambda);
  });
}

cth_status cth_plan_set_skip(cth_plan* plan, const float* flag) {
  constexpr char kFunction[] = "cth_plan_set_skip";
  return with_plan(kFunction, plan, [&](Plan& p) {
    check_aligned(argument(kFunction, "flag"), flag, alignof(float));
    p.backend().set_skip(*p.room_plan, flag);
  });
}

cth_status cth_prox_step(cth_plan* plan) {
  return with_plan("cth_prox_step", plan, [](Plan& p) {
    // Whoever stepped the weights before has written them.
    if (p.kind == cuthresh::StepKind::kThreshold) p.backend().refresh_master(*p.room_plan);
    if (p.controller != nullptr && p.controller->phase() == cuthresh::search::RunPhase::kFinish) {
      p.backend().keep_targets(*p.room_plan);
    } else {
      p.backend().prox_step(*p.room_plan);
    }
  });
}

cth_status cth_plan_read_status(cth_plan* plan, cth_step_status* status) {
  constexpr char kFunction[] = "cth_plan_read_status";
  return with_plan(kFunction, plan, [&](Plan& p) {
    require(kFunction, "status", status);
    const cuthresh::StepStatus& of_room = p.backend().read_status(*p.room_plan);
    *status = {of_room.steps, of_room.total, of_room.nonfinite, of_room.stopped ? 1 : 0};
  });
}

cth_status cth_plan_read_counts(cth_plan* plan, uint64_t* nonzeros, size_t groups) {
  constexpr char kFunction[] = "cth_plan_read_counts";
  return with_plan(kFunction, plan, [&](Plan& p) {
    require(kFunction, "nonzeros", nonzeros);
    require_count(kFunction, "groups", groups, p.groups, "groups of the plan");
    const std::vector<std::uint64_t>& nnz = p.backend().read_status(*p.room_plan).nnz;
    std::copy(nnz.begin(), nnz.end(), nonzeros);
  });
}

cth_status cth_plan_restart(cth_plan* plan) {
  return with_plan("cth_plan_restart", plan, [](Plan& p) {
    if (p.controller != nullptr) {
      p.controller->begin();
    } else {
      p.backend().set_stop(*p.room_plan, {});
    }
  });
}
