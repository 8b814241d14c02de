#pragma once

// cuthresh.h for C++17 and later: handles that clean up after themselves, and errors as exceptions.
// Nothing here but calls of cuthresh.h, where every call is described; a program needs no more of
// libcuthresh.so than its C symbols.
//
//   cth::Context context = cth::Context::cpu();
//   cth::Plan plan(context, {cth::plan_tensor(cth::cpu(w), cth::cpu(g), 0)});
//   plan.set_rates({{0.1f, 0.0f, 0.0f}});
//   cth::Controller controller(plan, {cth::target_sparsity(0.9)}, cth::controller_options(10000));
//   for (...) { /* a new g */ plan.step(); controller.update(); }
//
// Contexts, Plans and Controllers may be destroyed in any order: a Controller keeps its plan, a
// plan what it needs of its context. Tensors stay the caller's and must live as cuthresh.h says. A
// moved-from object may be destroyed or assigned to; all else with it throws.

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cuthresh/cuthresh.h"

namespace cth {

/// What a call refused or could not do; what() names the argument, its value and the remedy.
class Error : public std::runtime_error {
 public:
  Error(cth_status status, const std::string& message)
      : std::runtime_error(message), status_(status) {}
  cth_status status() const noexcept { return status_; }

 private:
  cth_status status_;
};

inline void check(cth_status status) {
  if (status != CTH_OK) throw Error(status, cth_last_error());
}

/// A view of contiguous memory, for the length of a call: from a std::span, std::vector, std::array
/// or list in braces.
template <typename T>
class Span {
 public:
  constexpr Span() = default;
  constexpr Span(T* data, std::size_t size) : data_(data), size_(size) {}
  constexpr Span(std::initializer_list<std::remove_const_t<T>> list)
      : Span(list.begin(), list.size()) {}
  template <typename Range, typename = std::enable_if_t<std::is_convertible_v<
                                decltype(std::data(std::declval<Range&>())), T*>>>
  constexpr Span(Range&& range) : data_(std::data(range)), size_(std::size(range)) {}

  constexpr T* data() const { return data_; }
  constexpr std::size_t size() const { return size_; }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

// ---- tensors ----

inline cth_tensor cpu(const float* data, std::int64_t size) {
  return cth_cpu_float32(const_cast<float*>(data), size);  // a gradient is only read
}
/// All of a std::vector<float> or the like.
inline cth_tensor cpu(Span<const float> values) {
  return cpu(values.data(), static_cast<std::int64_t>(values.size()));
}
inline cth_tensor cuda(const float* data, std::int64_t size, std::int32_t device = 0) {
  return cth_cuda_float32(const_cast<float*>(data), size, device);
}
/// Of any dtype.
inline cth_tensor cpu(const void* data, std::int64_t size, cth_dtype dtype) {
  return cth_cpu_tensor(const_cast<void*>(data), size, dtype);
}
inline cth_tensor cuda(const void* data, std::int64_t size, cth_dtype dtype,
                       std::int32_t device = 0) {
  return cth_cuda_tensor(const_cast<void*>(data), size, dtype, device);
}
/// From a DLTensor*.
inline cth_tensor from_dlpack(const void* dl_tensor) {
  cth_tensor tensor{};
  check(cth_tensor_from_dlpack(dl_tensor, &tensor));
  return tensor;
}

/// group −1: neither penalised nor counted.
inline cth_plan_tensor plan_tensor(cth_tensor weight, cth_tensor gradient, std::int32_t group,
                                   cth_tensor momentum = {}, std::int32_t rate = 0) {
  return {weight, gradient, momentum, group, rate};
}

// ---- contexts ----

class Context {
 public:
  explicit Context(const cth_context_options& options) {
    cth_context* context = nullptr;
    check(cth_context_create(&options, &context));
    handle_.reset(context);
  }
  /// threads 0: one a core that the process may use.
  static Context cpu(std::int32_t threads = 0) {
    cth_context_options options = CTH_CONTEXT_OPTIONS_INIT;
    options.threads = threads;
    return Context(options);
  }
  /// `stream`: a cudaStream_t; null is the default stream.
  static Context cuda(std::int32_t device = 0, void* stream = nullptr) {
    cth_context_options options = CTH_CONTEXT_OPTIONS_INIT;
    options.device_type = CTH_CUDA;
    options.device_index = device;
    options.stream = stream;
    return Context(options);
  }

  void set_stream(void* stream) { check(cth_context_set_stream(get(), stream)); }
  void synchronize() { check(cth_context_synchronize(get())); }
  std::string description() const {
    const char* text = nullptr;
    check(cth_context_description(get(), &text));
    return text;
  }
  std::uint64_t bytes_to_host() const {
    std::uint64_t bytes = 0;
    check(cth_context_bytes_to_host(get(), &bytes));
    return bytes;
  }
  cth_context* get() const noexcept { return handle_.get(); }

 private:
  struct Destroy {
    void operator()(cth_context* context) const { cth_context_destroy(context); }
  };

  std::unique_ptr<cth_context, Destroy> handle_;
};

// ---- plans ----

class Plan {
 public:
  Plan(const Context& context, Span<const cth_plan_tensor> tensors,
       const cth_plan_options& options = CTH_PLAN_OPTIONS_INIT) {
    cth_plan* plan = nullptr;
    check(cth_plan_create(context.get(), tensors.data(), tensors.size(), &options, &plan));
    handle_.reset(plan, cth_plan_destroy);
  }
  Plan(Plan&&) = default;
  Plan& operator=(Plan&&) = default;

  std::size_t groups() const {
    std::size_t groups = 0;
    check(cth_plan_extents(get(), &groups, nullptr));
    return groups;
  }
  std::size_t rates() const {
    std::size_t rates = 0;
    check(cth_plan_extents(get(), nullptr, &rates));
    return rates;
  }

  /// One a tensor; null: it is counted and not stepped.
  void set_gradients(Span<const void* const> gradients) {
    check(cth_plan_set_gradients(get(), gradients.data(), gradients.size()));
  }
  void set_rates(Span<const cth_rate> rates) {
    check(cth_plan_set_rates(get(), rates.data(), rates.size()));
  }
  void set_lambda(Span<const float> lambda) {
    check(cth_plan_set_lambda(get(), lambda.data(), lambda.size()));
  }
  void set_rates64(Span<const cth_rate64> rates) {
    check(cth_plan_set_rates64(get(), rates.data(), rates.size()));
  }
  void set_lambda64(Span<const double> lambda) {
    check(cth_plan_set_lambda64(get(), lambda.data(), lambda.size()));
  }
  void refresh_masters() { check(cth_plan_refresh_masters(get())); }
  void set_skip(const float* flag) { check(cth_plan_set_skip(get(), flag)); }
  void step() { check(cth_prox_step(get())); }
  void restart() { check(cth_plan_restart(get())); }

  // These wait for what was enqueued.
  cth_step_status status() const {
    cth_step_status status{};
    check(cth_plan_read_status(get(), &status));
    return status;
  }
  /// One a group, as all that follow.
  std::vector<float> lambda() const { return a_group<float>(cth_plan_read_lambda); }
  std::vector<std::uint64_t> counts() const { return a_group<std::uint64_t>(cth_plan_read_counts); }
  std::vector<std::uint64_t> count_nonzero() const {
    return a_group<std::uint64_t>(cth_count_nonzero);
  }
  std::vector<cth_kkt> kkt_residual() const { return a_group<cth_kkt>(cth_kkt_residual); }
  /// As many as there are brackets: one a group, or one over all.
  std::vector<cth_median> bracket_median(cth_operand operand,
                                         Span<const cth_bracket> brackets) const {
    std::vector<cth_median> medians(brackets.size());
    check(cth_bracket_median(get(), operand, brackets.data(), medians.data(), medians.size()));
    return medians;
  }
  float kth_magnitude(cth_operand operand, std::int64_t k) const {
    float magnitude = 0.0f;
    check(cth_kth_magnitude(get(), operand, k, &magnitude));
    return magnitude;
  }
  /// The same of every dtype, float64 too.
  std::vector<cth_median64> bracket_median64(cth_operand operand,
                                             Span<const cth_bracket64> brackets) const {
    std::vector<cth_median64> medians(brackets.size());
    check(cth_bracket_median64(get(), operand, brackets.data(), medians.data(), medians.size()));
    return medians;
  }
  double kth_magnitude64(cth_operand operand, std::int64_t k) const {
    double magnitude = 0.0;
    check(cth_kth_magnitude64(get(), operand, k, &magnitude));
    return magnitude;
  }
  cth_plan* get() const noexcept { return handle_.get(); }

 private:
  friend class Controller;

  template <typename T>
  std::vector<T> a_group(cth_status (*read)(cth_plan*, T*, std::size_t)) const {
    std::vector<T> values(groups());
    check(read(get(), values.data(), values.size()));
    return values;
  }

  std::shared_ptr<cth_plan> handle_;  // shared with controllers only
};

// ---- controllers ----

/// `groups`, which the controller's constructor reads, none: all of the plan's.
inline cth_target target_sparsity(double share_of_zeros, Span<const std::int32_t> groups = {}) {
  cth_target target{};
  target.groups = groups.data();
  target.group_count = groups.size();
  target.sparsity = share_of_zeros;
  return target;
}
inline cth_target target_nonzeros(std::uint64_t nonzeros, Span<const std::int32_t> groups = {}) {
  cth_target target = target_sparsity(0.0, groups);
  target.nonzeros = nonzeros;
  return target;
}
inline cth_controller_options controller_options(std::int64_t steps) {
  cth_controller_options options = CTH_CONTROLLER_OPTIONS_INIT;
  options.steps = steps;
  return options;
}

class Controller {
 public:
  Controller(const Plan& plan, Span<const cth_target> targets,
             const cth_controller_options& options)
      : targets_(targets.size()) {
    cth_controller* controller = nullptr;
    check(cth_controller_create(plan.get(), targets.data(), targets.size(), &options, &controller));
    handle_ = {controller, Destroy{plan.handle_}};
  }
  void update() { check(cth_controller_update(get())); }
  void copy_counts(std::int64_t* device_counts) {
    check(cth_controller_copy_counts(get(), device_counts, targets_));
  }
  void update_from(const std::int64_t* device_counts) {
    check(cth_controller_update_from(get(), device_counts, targets_));
  }
  cth_phase phase() const {
    cth_phase phase = CTH_PHASE_DENSE;
    check(cth_controller_phase(get(), &phase));
    return phase;
  }
  /// One a target; waits.
  std::vector<cth_target_report> read() const {
    std::vector<cth_target_report> reports(targets_);
    check(cth_controller_read(get(), reports.data(), reports.size()));
    return reports;
  }
  std::vector<unsigned char> save() const {
    std::size_t size = 0;
    check(cth_controller_save(get(), nullptr, &size));
    std::vector<unsigned char> bytes(size);
    check(cth_controller_save(get(), bytes.data(), &size));
    bytes.resize(size);
    return bytes;
  }
  void load(Span<const unsigned char> bytes) {
    check(cth_controller_load(get(), bytes.data(), bytes.size()));
  }
  cth_controller* get() const noexcept { return handle_.get(); }

 private:
  struct Destroy {
    std::shared_ptr<cth_plan> plan;
    void operator()(cth_controller* controller) const { cth_controller_destroy(controller); }
  };

  std::unique_ptr<cth_controller, Destroy> handle_;
  std::size_t targets_;
};

/// How many weights each layer is left with; sizes and dims as in cth_allocate_erdos_renyi.
inline std::vector<std::uint64_t> allocate_erdos_renyi(Span<const std::int64_t> sizes,
                                                       Span<const std::int64_t> dims,
                                                       std::uint64_t total) {
  if (dims.size() != sizes.size()) {
    throw Error(CTH_INVALID_ARGUMENT, "dims: as many as sizes expected (got " +
                                          std::to_string(dims.size()) + " for " +
                                          std::to_string(sizes.size()) + "); give one a layer");
  }
  std::vector<std::uint64_t> nonzeros(sizes.size());
  check(cth_allocate_erdos_renyi(sizes.data(), dims.data(), sizes.size(), total, nonzeros.data()));
  return nonzeros;
}

}  // namespace cth
