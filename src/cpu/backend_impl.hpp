#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/checks.hpp"
#include "cpu/conv.hpp"
#include "cpu/gemm.hpp"
#include "cpu/loops.hpp"
#include "cpu/parallel.hpp"

namespace cuthresh::cpu {

class CpuPlan;
struct PlanChunk;

/// The CPU room. Work is done when a call returns, so the read_* calls wait for nothing. Its
/// members are defined in the file of their stem: memory, dense, loss, random, prox, control, …
class CpuBackend final : public Backend {
 public:
  CpuBackend(std::unique_ptr<Gemm> gemm, std::unique_ptr<Conv> conv, const Loops& loops,
             std::int64_t threads);

  std::string description() const override;
  std::string unsupported(Operation operation) const override;

  void* allocate(std::size_t bytes) override;
  void deallocate(void* pointer) noexcept override;
  void upload(void* to, const void* from, std::size_t bytes) override;
  void copy(void* to, const void* from, std::size_t bytes) override;
  void zero(void* to, std::size_t bytes) override;
  void download(void* to, const void* from, std::size_t bytes) override;
  std::uint64_t bytes_to_host() const override { return bytes_to_host_; }
  void synchronize() override {}
  void set_stream(void* stream) override;
  void throttle(std::int64_t) override {}
  Captured capture(const std::function<void()>& enqueue) override;
  void replay(StepGraph& graph) override;

  void dense_forward(const DenseForward& args) override;
  void dense_backward(const DenseBackward& args) override;
  void mse(const LossArgs& args) override;
  void softmax_cross_entropy(const LossArgs& args) override;
  void gather_rows(void* to, const void* from, const std::int64_t* index, std::int64_t rows,
                   std::size_t row_bytes, const StepRows& of_step) override;
  void initialise_uniform(float* to, std::int64_t size, float bound, std::uint64_t seed,
                          std::uint32_t stream) override;

  void conv_forward(const ConvForward& args) override;
  void conv_backward(const ConvBackward& args) override;
  void pool_forward(const PoolForward& args) override;
  void pool_backward(const PoolBackward& args) override;
  void batch_norm_forward(const BatchNormForward& args) override;
  void batch_norm_backward(const BatchNormBackward& args) override;
  void pointwise_forward(const PointwiseForward& args) override;
  void pointwise_backward(const PointwiseBackward& args) override;
  void dropout(const Dropout& args) override;
  void add(float* to, const float* from, std::int64_t size) override;
  void transpose_samples(float* to, const float* from, std::int64_t rows, std::int64_t lines,
                         std::int64_t columns) override;
  void gather_images(const GatherImages& args) override;

  std::unique_ptr<ProxPlan> make_plan(std::span<const ProxTensor> tensors, std::int32_t groups,
                                      StepKind kind) override;
  void set_lambda(ProxPlan& plan, std::span<const float> lambda) override;
  void set_rates(ProxPlan& plan, std::span<const StepRate> rates) override;
  void follow_rates(ProxPlan& plan, const float* learning_rate, std::int64_t length) override;
  void set_gradients(ProxPlan& plan, std::span<const float* const> gradients) override;
  void set_skip(ProxPlan& plan, const float* flag) override;
  void set_stop(ProxPlan& plan, const StopRule& rule) override;
  void prox_step(ProxPlan& plan) override;
  void small_network_step(ProxPlan& plan, const SmallNetworkStep& args) override;
  void set_control(ProxPlan& plan, const ControlRule& rule,
                   std::span<const ControlTarget> targets) override;
  void control(ProxPlan& plan) override;
  void control(ProxPlan& plan, const std::int64_t* counts) override;
  void copy_counts(ProxPlan& plan, std::int64_t* counts) override;
  ControlState read_control(ProxPlan& plan) override;
  void restore_control(ProxPlan& plan, const ControlState& state) override;
  void keep_targets(ProxPlan& plan) override;
  void freeze(ProxPlan& plan) override;
  std::vector<float> read_lambda(ProxPlan& plan) override;
  bool known_to_have_stopped(const ProxPlan& plan) override;
  const StepStatus& read_status(ProxPlan& plan) override;
  std::vector<std::uint64_t> read_nonzeros(ProxPlan& plan) override;
  std::vector<MedianResult> read_bracket_medians(
      ProxPlan& plan, std::span<const std::pair<float, float>> brackets) override;
  float read_kth_gradient(ProxPlan& plan, std::int64_t k) override;
  std::vector<KktResult> read_kkt(ProxPlan& plan) override;

 private:
  /// `keeping`: without a threshold for what keep_targets() cuts.
  void step_all(CpuPlan& plan, bool keeping);
  StepCounts step_chunk(const CpuPlan& plan, const PlanChunk& chunk, bool with_threshold) const;
  void share_target(CpuPlan& plan, std::int32_t target);
  void keep_selection(CpuPlan& plan, std::size_t selection);
  /// Runs the loss of `rows` in fixed blocks, so that its sum does not depend on the thread count.
  template <class Block>
  void run_loss(const LossArgs& args, std::int64_t rows, std::int64_t block_rows, Block block);

  void find_live_columns(const float* matrix, std::int64_t rows, std::int64_t columns,
                         std::vector<std::int32_t>& live);
  void collect_marks(std::int64_t columns, std::vector<std::int32_t>& live) const;
  void forward_live(const DenseForward& args);
  void backward_weights(std::int64_t rows, std::int64_t in, std::int64_t out, const float* x,
                        const float* dz, bool accumulate, float* dw);
  void backward_weights_live(const DenseBackward& args, const float* dz);

  std::unique_ptr<Gemm> gemm_;
  std::unique_ptr<Conv> conv_;
  const Loops& loops_;
  Threads threads_;
  std::uint64_t bytes_to_host_ = 0;
  std::vector<float> bias_partials_;  // [blocks, out] of dense_backward
  std::vector<float> dw_second_;      // [out, in]: the second half of the rows
  // Products without the zero rows and columns of W (dense.cpp). Kept from call to call, so that a
  // step allocates nothing once it has seen its largest shapes.
  std::vector<std::uint32_t> marks_;        // a column
  std::vector<std::uint32_t> block_marks_;  // [blocks, out]
  std::vector<std::int32_t> live_inputs_;
  std::vector<std::int32_t> live_outputs_;
  std::vector<float> packed_x_;
  std::vector<float> packed_y_;
  std::vector<float> packed_w_;
  std::vector<LossSum> loss_partials_;  // a block
  std::vector<float> image_scale_;      // an element of the pixels that gather_images does at once
  std::vector<float> image_shift_;
};

/// A range of one tensor: what one thread does in one go.
struct PlanChunk {
  std::size_t tensor = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

class CpuPlan final : public ProxPlan {
 public:
  CpuPlan(std::span<const ProxTensor> list, std::int32_t group_count, StepKind step_kind);

  static constexpr std::int64_t kChunk = 16384;  // elements of a chunk at most

  std::vector<ProxTensor> tensors;
  StepKind kind;
  std::size_t groups = 0;
  std::vector<PlanChunk> chunks;
  std::int64_t elements = 0;
  std::vector<float> lambda;  // a group
  std::vector<StepRate> rates;
  const float* skip = nullptr;
  StopRule rule;
  StepStatus status;
  std::vector<StepCounts> chunk_counts;  // a chunk

  // A controlled run.
  ControlRule control_rule;
  ControlLayout controlled;
  std::vector<std::vector<std::uint32_t>> support;  // a tensor: a bit an entry; empty: not frozen

  const StepRate& rate_of(const ProxTensor& tensor) const {
    return rates[static_cast<std::size_t>(tensor.rate)];
  }
  /// Steps and control() are to do nothing for now.
  bool skipped() const { return skip != nullptr && *skip != 0.0f; }
  /// αλ; 0 for what is not penalised.
  float threshold_of(const ProxTensor& tensor) const;
  /// Whether keep_targets() cuts the group.
  bool is_cut(std::int32_t group) const {
    const std::vector<std::int32_t>& selections = controlled.selection_of;
    return group >= 0 && !selections.empty() && selections[static_cast<std::size_t>(group)] >= 0;
  }
  /// Nonzeros of each target after the latest step.
  std::vector<std::int64_t> target_counts() const;
  /// The bits of a chunk's entries; null when they are not frozen.
  const std::uint32_t* support_of(const PlanChunk& chunk) const;
  /// The status's counts from those of the chunks.
  void add_up_counts();

  /// f(chunk index) for every chunk, on as many threads as the size is worth.
  template <class F>
  void for_chunks(const Threads& threads, F f) const {
    constexpr std::int64_t kElementsWorthAThread = 8192;
    const auto count = static_cast<std::int64_t>(chunks.size());
    if (elements < 2 * kElementsWorthAThread) {
      for (std::int64_t i = 0; i < count; ++i) f(static_cast<std::size_t>(i));
      return;
    }
    threads.ranges(count, 1, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) f(static_cast<std::size_t>(i));
    });
  }
};

CpuPlan& as_cpu_plan(ProxPlan& plan);

/// The step that `plan` takes next; without a plan, `number`.
std::int64_t step_number(const ProxPlan* plan, std::int64_t number);
/// Where its rows begin in the epoch's order.
std::int64_t first_row(const StepRows& of_step);

}  // namespace cuthresh::cpu
