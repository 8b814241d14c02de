#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cuda/context.hpp"
#include "cuda/cuda_backend.hpp"
#include "cuda/plan.hpp"
#include "kernels/block/prox_step.cuh"

namespace cuthresh::cuda {

/// The CUDA room. Calls enqueue on the context's stream and return; read_*, download and
/// synchronize wait. Members are defined in the file of their stem: memory, dense, loss, random,
/// prox, select.
class CudaBackend final : public Backend {
 public:
  CudaBackend(int device, Precision precision, std::optional<StreamView> stream);

  /// For who captures what the room enqueues: its stream.
  Context& context() noexcept { return context_; }

  std::string description() const override;
  std::string unsupported(Operation operation) const override;

  void* allocate(std::size_t bytes) override;
  void deallocate(void* pointer) noexcept override;
  void upload(void* to, const void* from, std::size_t bytes) override;
  void copy(void* to, const void* from, std::size_t bytes) override;
  void zero(void* to, std::size_t bytes) override;
  void download(void* to, const void* from, std::size_t bytes) override;
  std::uint64_t bytes_to_host() const override { return context_.bytes_to_host(); }
  void synchronize() override;
  void throttle(std::int64_t steps) override;
  Captured capture(const std::function<void()>& enqueue) override;
  void replay(StepGraph& graph) override;
  void set_stream(void* stream) override;

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
  /// The word that a step writes when it stops came over the bus: 4 bytes, once a run of steps.
  void count_announcement(const CudaPlan& plan);
  void run_selections(CudaPlan& plan, std::span<const SelectState> states, bool over_all);
  /// The step without a threshold for what keep_targets() cuts.
  void gradient_step(CudaPlan& plan);
  void launch_control(const CudaPlan& plan, const std::int64_t* counts);
  void count_weights(CudaPlan& plan, const SelectGroups& groups);
  /// How many each group keeps of the targets with bounds.
  void share_targets(CudaPlan& plan, const SelectGroups& groups);

  Context context_;
  Precision precision_;
};

inline CudaPlan& as_cuda_plan(ProxPlan& plan) {
  return static_cast<CudaPlan&>(plan);
}

/// A step's arguments with the plan's λ.
ProxStepArguments<float> step_arguments(const CudaPlan& plan);

/// Whether kernels of this build run on the current device: cudaSuccess, or what an occupancy query
/// says.
cudaError_t probe_kernels();

}  // namespace cuthresh::cuda
