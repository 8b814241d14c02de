#pragma once

// The one interface between device-neutral code and a room (src/cpu, src/cuda). One call is one
// operation on whole tensors, so a virtual call is noise.
//
// Everything is stream-ordered: a call enqueues work and returns; results may be looked at only
// after one of the calls named read_*, download or synchronize. Pointers are device pointers. All
// matrices are row-major float32, sizes and counts 64-bit. Work enqueued by one thread; a backend
// is not shared between threads.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/dtype.hpp"
#include "backend/image_ops.hpp"
#include "backend/small_network.hpp"
#include "kernels/math/control.hpp"
#include "kernels/math/step_rate.hpp"
#include "kernels/math/stop_rule.hpp"

namespace cuthresh {

/// y = act(x·Wᵀ + b): x [rows, in], W [out, in], b [out], y [rows, out].
struct DenseShape {
  std::int64_t rows = 0;
  std::int64_t in = 0;
  std::int64_t out = 0;
  Activation activation = Activation::kIdentity;
  float leaky_slope = 0.01f;
};

struct DenseForward {
  DenseShape shape;
  const float* x = nullptr;
  const float* w = nullptr;
  const float* b = nullptr;
  float* z = nullptr;  ///< [rows, out], written when needs_preactivation(activation); else unused
  float* y = nullptr;
};

/// From ∂L/∂y to ∂L/∂W, ∂L/∂b and ∂L/∂x.
struct DenseBackward {
  DenseShape shape;
  const float* x = nullptr;
  const float* w = nullptr;
  const float* y = nullptr;
  const float* z = nullptr;
  float* dy = nullptr;      ///< [rows, out]; overwritten by ∂L/∂z
  float* dw = nullptr;      ///< [out, in]
  float* db = nullptr;      ///< [out]
  float* dx = nullptr;      ///< [rows, in]; null when it is not wanted
  bool accumulate = false;  ///< add to dw and db instead of setting them
};

/// Sums on the device that a loss leaves: over all rows and columns, not yet a mean.
struct LossSum {
  double loss = 0.0;
  std::uint64_t correct =
      0;  ///< cross-entropy: rows whose largest logit is the label's (lowest index wins)
};

struct LossArgs {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  const float* prediction = nullptr;    ///< [rows, columns]
  const float* target = nullptr;        ///< mse: [rows, columns]
  const std::int32_t* label = nullptr;  ///< cross-entropy: [rows], in [0, columns)
  float* gradient = nullptr;            ///< [rows, columns]; null when only the loss is wanted
  float gradient_scale =
      0.0f;                 ///< mse: 2/(rows·columns); cross-entropy: 1/rows (of the whole batch)
  LossSum* sum = nullptr;   ///< device memory; null when the loss is not wanted
  bool accumulate = false;  ///< add to *sum instead of setting it
};

/// One entry of the list that a fused step works on. w and g have the plan's dtype.
struct ProxTensor {
  void* w = nullptr;
  const void* g = nullptr;  ///< null: the tensor is counted and not stepped, but by kThreshold
  std::int64_t size = 0;
  std::int32_t group =
      -1;  ///< whose λ it has and whose count it goes into; −1: not penalised, not counted
  /// The momentum, when the plan's step has one, else unused: float64 beside float64, else float32.
  void* v = nullptr;
  std::int32_t rate = 0;  ///< which of the plan's rates it is stepped with
  /// Of 16-bit weights: what is stepped, float32, of which w is the rounding. Null: the plan has
  /// one of its own. It becomes w where it is not stored as w when the plan is made, and by
  /// refresh_master().
  float* master = nullptr;
};

/// kThreshold: w is stepped elsewhere, by whatever optimiser: a step is w ← soft(w, αλ) and reads
/// no gradient.
enum class StepKind : std::uint8_t { kPlain, kMomentum, kNesterov, kThreshold };

constexpr bool has_momentum(StepKind kind) {
  return kind == StepKind::kMomentum || kind == StepKind::kNesterov;
}
constexpr bool reads_gradient(StepKind kind) {
  return kind != StepKind::kThreshold;
}

/// Whether steps leave out weights that are zero (Backend::skip_zeros).
enum class ZeroSkipping : std::uint8_t {
  kOff,
  kAuto,  ///< where it gains: in a list that no cache holds, while half of what is counted is zero
  kOn
};

/// What fused steps left behind since the last set_stop.
struct StepStatus {
  std::vector<std::uint64_t> nnz;  ///< a group, after the last step
  std::uint64_t total = 0;         ///< their sum
  std::uint64_t nonfinite = 0;  ///< entries of any tensor that were NaN or ±∞ after the last step
  std::int64_t steps = 0;       ///< steps taken; none are taken once stopped
  bool stopped = false;         ///< the stop rule held, or a value was non-finite
};

/// When a run of steps ends early. No bands: never by count.
struct StopRule {
  std::vector<CountBand> bands;  ///< one: over the total; else one a group
  std::int32_t required = 0;     ///< bands that must hold at once
  std::int64_t after = 0;        ///< steps after the first `after` are looked at
};

/// Plan groups that share a λ and a target while a run is controlled.
struct ControlTarget {
  std::vector<std::int32_t> groups;  ///< of the plan, each in at most one target
  std::uint64_t target = 0;          ///< nonzeros in all of them, 1 … their size
  float lambda = 0.0f;               ///< where λ begins, > 0 and finite
  /// One a group of `groups`, or none of them: the fewest and the most nonzeros that the group is
  /// left with. λ of a group that has no more than its fewest is halved by every control() until it
  /// has more (kernels/math/control.hpp), and keep_targets() leaves each group a number within its
  /// bounds.
  std::vector<std::uint64_t> least = {};
  std::vector<std::uint64_t> most = {};
  /// Weights that it speaks of, where other devices hold more of them than these groups; 0: those
  /// of its groups. keep_targets() leaves such a target alone.
  std::uint64_t size = 0;
};

/// Where a controlled run stands: with set_control() and the weights, all that it takes to go on.
struct ControlState {
  std::int64_t steps = 0;           ///< taken
  std::vector<float> lambda;        ///< a group
  std::vector<float> log_integral;  ///< a target (kernels/math/control.hpp)
};

template <class T>
struct MedianResultOf {
  std::uint64_t inside = 0;  ///< entries strictly inside the bracket
  std::optional<T> median;   ///< their lower median; none when there are none
};
using MedianResult = MedianResultOf<float>;

/// Absolute residuals of the stationarity conditions for one group (kernels/math/kkt.hpp); those of
/// float64 weights rounded.
struct KktResult {
  std::uint64_t nonzeros = 0;
  std::uint64_t zeros = 0;
  float on_nonzero = 0.0f;
  float on_zero = 0.0f;
};

/// A list of tensors with its λ, α, counters and stop rule in device memory. Made once, used every
/// step.
class ProxPlan {
 public:
  virtual ~ProxPlan() = default;
  explicit ProxPlan(Dtype dtype) : dtype_(dtype) {}
  ProxPlan(const ProxPlan&) = delete;
  ProxPlan& operator=(const ProxPlan&) = delete;
  Dtype dtype() const { return dtype_; }

 private:
  Dtype dtype_;
};

/// Work that capture() took down and replay() enqueues. All that it uses, arrays and plans,
/// outlives it.
class StepGraph {
 public:
  virtual ~StepGraph() = default;
  StepGraph() = default;
  StepGraph(const StepGraph&) = delete;
  StepGraph& operator=(const StepGraph&) = delete;
};

/// A graph, or why there is none.
struct Captured {
  std::unique_ptr<StepGraph> graph;
  std::string refusal = {};
};

enum class Operation : std::uint8_t {
  kDense,
  kMse,
  kSoftmaxCrossEntropy,
  kProxStep,
  kSelect,
  kKkt,
  kMomentum,
  kConv,
  kPool,
  kBatchNorm,
  kDropout,
  kImages,
  kGraph,
  kSmallNetwork,
  kSkipZeros,
  kHostMemory  ///< operations read arrays of the host where they lie
};

class Backend {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  virtual ~Backend() = default;

  /// "cpu (oneDNN 2.6.3, 2 threads, avx512)".
  virtual std::string description() const = 0;
  /// Empty when the operation exists in this room; else the reason why it does not.
  virtual std::string unsupported(Operation operation) const = 0;

  // Memory. allocate gives at least 64-byte alignment; 0 bytes give a null pointer.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void deallocate(void* pointer) noexcept = 0;
  /// Host to device. `from` may be freed or overwritten as soon as the call returns.
  virtual void upload(void* to, const void* from, std::size_t bytes) = 0;
  virtual void copy(void* to, const void* from, std::size_t bytes) = 0;
  virtual void zero(void* to, std::size_t bytes) = 0;
  /// Device to host; waits, and counts the bytes.
  virtual void download(void* to, const void* from, std::size_t bytes) = 0;
  /// All that came back so far: downloads, 8 bytes a number that a read_* call gave, and what a
  /// device says of itself when it stops (4 bytes a run of steps).
  virtual std::uint64_t bytes_to_host() const = 0;
  /// Waits until everything enqueued is done, for whoever takes the time.
  virtual void synchronize() = 0;
  /// All that follows is enqueued there and comes after all that was enqueued before; where one of
  /// the two streams is being captured, the order is the caller's. CUDA: the caller's cudaStream_t,
  /// null being the default stream, which outlives its use here. CPU: null.
  virtual void set_stream(void* stream) = 0;
  /// Called after `steps` that are enqueued without a look at them: waits where the device is too
  /// far behind, so that few steps are enqueued beyond one that stops. Nothing is read back.
  virtual void throttle(std::int64_t steps = 1) = 0;
  /// Takes down what `enqueue` enqueues, which is not done now. What it needs beside that, such as
  /// memory, must be there: the same calls have been made before. Nothing that waits or gives
  /// memory. Where it cannot be done the stream is as before, and the refusal says why.
  virtual Captured capture(const std::function<void()>& enqueue) = 0;
  virtual void replay(StepGraph& graph) = 0;

  // Networks.
  virtual void dense_forward(const DenseForward& args) = 0;
  virtual void dense_backward(const DenseBackward& args) = 0;
  virtual void mse(const LossArgs& args) = 0;
  virtual void softmax_cross_entropy(const LossArgs& args) = 0;
  /// to[i] = from[index[first + i]] for rows of `row_bytes` bytes, first being where the step's
  /// rows begin.
  virtual void gather_rows(void* to, const void* from, const std::int64_t* index, std::int64_t rows,
                           std::size_t row_bytes, const StepRows& of_step = {}) = 0;
  /// to[i] uniform on [−bound, bound) by Philox (kernels/math/philox.hpp), the same in every room.
  virtual void initialise_uniform(float* to, std::int64_t size, float bound, std::uint64_t seed,
                                  std::uint32_t stream) = 0;

  // Convolutional networks (image_ops.hpp).
  virtual void conv_forward(const ConvForward& args) = 0;
  virtual void conv_backward(const ConvBackward& args) = 0;
  virtual void pool_forward(const PoolForward& args) = 0;
  virtual void pool_backward(const PoolBackward& args) = 0;
  virtual void batch_norm_forward(const BatchNormForward& args) = 0;
  virtual void batch_norm_backward(const BatchNormBackward& args) = 0;
  virtual void pointwise_forward(const PointwiseForward& args) = 0;
  virtual void pointwise_backward(const PointwiseBackward& args) = 0;
  virtual void dropout(const Dropout& args) = 0;
  /// to[i] += from[i].
  virtual void add(float* to, const float* from, std::int64_t size) = 0;
  /// to [rows, columns, lines] = from [rows, lines, columns], each sample transposed: channels-last
  /// to PyTorch's order before a dense layer, and back.
  virtual void transpose_samples(float* to, const float* from, std::int64_t rows,
                                 std::int64_t lines, std::int64_t columns) = 0;
  virtual void gather_images(const GatherImages& args) = 0;

  // The fused step and its companions, over a plan's list. What is counted, and what a network
  // reads, are the weights as they are stored; λ and rates are float32, but float64 in plans of it.
  virtual std::unique_ptr<ProxPlan> make_plan(std::span<const ProxTensor> tensors,
                                              std::int32_t groups, StepKind kind = StepKind::kPlain,
                                              Dtype dtype = Dtype::kFloat32) = 0;
  /// After somebody else wrote 16-bit weights: their master copies become them where they are not
  /// stored as them already. Does nothing for other dtypes.
  virtual void refresh_master(ProxPlan& plan) = 0;
  virtual void set_lambda(ProxPlan& plan,
                          std::span<const double> lambda) = 0;  ///< one a group, ≥ 0
  /// One a rate: as many as the tensors' largest `rate` + 1.
  virtual void set_rates(ProxPlan& plan, std::span<const StepRateOf<double>> rates) = 0;
  void set_lambda(ProxPlan& plan, std::span<const float> lambda);
  void set_rates(ProxPlan& plan, std::span<const StepRate> rates);
  /// Of a plan with one.
  void set_rate(ProxPlan& plan, const StepRate& rate) { set_rates(plan, {&rate, 1}); }
  /// The learning rate of every rate = learning_rate[s mod length], device memory, s being the step
  /// that the plan takes next.
  virtual void follow_rates(ProxPlan& plan, const float* learning_rate, std::int64_t length) = 0;
  /// One a tensor, for all that follows; null: it is counted and not stepped (but by kThreshold,
  /// which reads none). What reads gradients refuses null ones. While a stream is captured this is
  /// part of the graph, and each replay sets them again.
  virtual void set_gradients(ProxPlan& plan, std::span<const void* const> gradients) = 0;
  void set_gradients(ProxPlan& plan, std::span<const float* const> gradients);
  /// While *flag, device memory, is not 0, steps and control() do nothing and count for nothing (a
  /// gradient scaler that found an overflow says so). Null: every step is taken.
  virtual void set_skip(ProxPlan& plan, const float* flag) = 0;
  /// Steps need not read and write weights that are zero from here on; all that they leave has the
  /// same bits. In return nothing but calls with this plan writes its weights: whoever does says so
  /// afterwards by set_stop, set_control, restore_control, or this once more, which forget what was
  /// zero. A new plan has kOff. A room may do without, as the CPU room does; so do plans of other
  /// types than float32, and of kThreshold, whose weights are written elsewhere.
  virtual void skip_zeros(ProxPlan& /*plan*/, ZeroSkipping /*how*/) {}
  /// Sets the rule and clears the status.
  virtual void set_stop(ProxPlan& plan, const StopRule& rule) = 0;
  /// w ← soft(w − αg, αλ) over the list (αv in place of αg with momentum) with counts, in one
  /// pass; then the stop rule. Does nothing once stopped. Tensors without a gradient stay as they
  /// are and are counted.
  virtual void prox_step(ProxPlan& plan) = 0;
  /// prox_step with the gradients of a small network over these rows, which it works out itself:
  /// the plan's tensors are the weights and biases of its layers, in that order, all of them are
  /// stepped, and the plan's own gradients are not read. Does nothing once stopped, nor while the
  /// skip flag is set. Sums over rows have the same bits in every run, not those of
  /// dense_backward().
  virtual void small_network_step(ProxPlan& plan, const SmallNetworkStep& args) = 0;
  /// Makes the steps since the last set_stop a controlled run: control() and keep_targets() follow
  /// `rule` and these targets, and λ is 0 to begin with. The next set_stop ends it.
  virtual void set_control(ProxPlan& plan, const ControlRule& rule,
                           std::span<const ControlTarget> targets) = 0;
  /// After a step: λ of the steps that follow, from its counts (kernels/math/control.hpp). Does
  /// nothing once stopped.
  virtual void control(ProxPlan& plan) = 0;
  /// The same from counts that the caller gives, in device memory, one a target: those of all parts
  /// of what is divided among devices.
  virtual void control(ProxPlan& plan, const std::int64_t* counts) = 0;
  /// counts[target], device memory, = its nonzeros after the latest step.
  virtual void copy_counts(ProxPlan& plan, std::int64_t* counts) = 0;
  /// Of a controlled run; waits.
  virtual ControlState read_control(ProxPlan& plan) = 0;
  /// After set_control() with the same rule and targets: goes on where `state` was read.
  virtual void restore_control(ProxPlan& plan, const ControlState& state) = 0;
  /// A step that leaves each target's number of nonzeros exactly, ties by the lowest index in the
  /// list's order (kernels/math/keep_largest.hpp); fewer only where fewer of w − αg are nonzero.
  virtual void keep_targets(ProxPlan& plan) = 0;
  /// From here to the next set_stop prox_step keeps what is zero at zero and has no threshold.
  virtual void freeze(ProxPlan& plan) = 0;
  /// λ a group, as the latest set_lambda or control() left it; of a float64 plan rounded.
  virtual std::vector<float> read_lambda(ProxPlan& plan) = 0;
  /// True once the stop rule held or a value was non-finite, as far as is known here by now:
  /// nothing is waited for and nothing asked of the device, so true may come late.
  virtual bool known_to_have_stopped(const ProxPlan& plan) = 0;
  /// Valid until the next call with this plan.
  virtual const StepStatus& read_status(ProxPlan& plan) = 0;
  /// nnz of w a group, without a step.
  virtual std::vector<std::uint64_t> read_nonzeros(ProxPlan& plan) = 0;
  /// Lower median of |g| strictly inside a group's bracket; `brackets` has one a group, or one over
  /// all groups.
  virtual std::vector<MedianResultOf<double>> read_bracket_medians(
      ProxPlan& plan, std::span<const std::pair<double, double>> brackets) = 0;
  /// The k-th largest |g| over all groups (k = 1: the maximum), 1 ≤ k ≤ their size; NaN orders
  /// above ∞.
  virtual double read_kth_magnitude(ProxPlan& plan, std::int64_t k) = 0;
  /// The same in float32, which float64 plans refuse.
  std::vector<MedianResult> read_bracket_medians(ProxPlan& plan,
                                                 std::span<const std::pair<float, float>> brackets);
  float read_kth_gradient(ProxPlan& plan, std::int64_t k);
  /// With the plan's λ and the gradient in g.
  virtual std::vector<KktResult> read_kkt(ProxPlan& plan) = 0;
};

}  // namespace cuthresh
