#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/checks.hpp"
#include "cuda/context.hpp"
#include "kernels/block/keep_largest.cuh"
#include "kernels/block/multi_tensor.cuh"
#include "kernels/block/select.cuh"
#include "kernels/block/share_target.cuh"
#include "kernels/math/step_number.hpp"

namespace cuthresh::cuda {

/// Throws when the bytes are not memory that the device can reach as its own. The first and the
/// last byte are asked for, so that an array that ends too early is found too.
void check_device(Context& context, const std::string& where, const char* name,
                  const float* pointer, std::int64_t size);

/// A plan's part of device memory: everything a step reads and writes beside the tensors
/// themselves lies in one allocation, so that a captured step's addresses hold as long as the plan.
class CudaPlan final : public ProxPlan {
 public:
  CudaPlan(Context& context, std::span<const ProxTensor> list, std::int32_t group_count,
           StepKind kind);
  ~CudaPlan() override;

  /// What kernels take.
  TensorList list() const;
  StepHeader* status() const { return at<StepHeader>(status_); }
  StepSums* sums() const { return at<StepSums>(sums_); }
  float* lambda() const { return at<float>(lambda_); }
  StepRate* rates() const { return at<StepRate>(rates_); }
  TensorRecord* records() const { return at<TensorRecord>(tensors_); }
  StopRecord* stop() const { return at<StopRecord>(stop_); }
  CountBand* bands() const { return at<CountBand>(stop_ + sizeof(StopRecord)); }
  std::uint64_t* counts() const { return at<std::uint64_t>(results_); }
  GroupKkt* kkt() const { return at<GroupKkt>(results_); }
  /// The header, then the states: uploaded in one piece.
  SelectHeader* select_header() const { return at<SelectHeader>(select_); }
  SelectState* select_states() const { return at<SelectState>(select_ + sizeof(SelectHeader)); }
  SelectResult* select_results() const { return at<SelectResult>(select_results_); }
  // A controlled run.
  ControlGroup* control_groups() const { return at<ControlGroup>(control_groups_); }
  std::int32_t* target_of() const { return at<std::int32_t>(target_of_); }
  std::int32_t* selection_of() const { return at<std::int32_t>(selection_of_); }
  GroupBounds* group_bounds() const { return at<GroupBounds>(group_bounds_); }
  std::uint64_t* wanted() const { return at<std::uint64_t>(wanted_); }
  std::int32_t* bounded() const { return at<std::int32_t>(bounded_); }
  ShareCount* share_counts() const { return at<ShareCount>(share_counts_); }
  /// [groups], of the first half of keep_targets(): 0 for what it cuts.
  float* keep_lambda() const { return at<float>(keep_lambda_); }
  TieEnd* tie_ends() const { return at<TieEnd>(tie_ends_); }
  /// [tensors]: the bits of each penalised tensor, else null; made when first asked for.
  std::uint32_t** support();
  ControlRule control_rule;
  ControlLayout control;  ///< of the controlled run; no targets: there is none
  bool frozen = false;
  /// While it is not 0, in device memory, steps and control() do nothing; null: never.
  const float* skip = nullptr;
  /// A graph sets gradients when it is replayed, so what device memory names is not known here.
  bool gradients_captured = false;
  /// The list as it was given, with the gradients that were set last.
  const std::vector<ProxTensor>& tensors() const { return given_; }
  /// Throws when a gradient that is not the old one is not memory of the plan's device.
  void check_gradients_on_device(std::span<const ProxTensor> list) const;
  /// Once device memory names these gradients.
  void replace_gradients(std::vector<ProxTensor> list) { given_ = std::move(list); }

  /// Histograms, one a selection; made and zeroed when first asked for.
  std::uint64_t* bins();

  StepKind kind() const { return kind_; }
  std::size_t groups() const { return groups_; }
  std::size_t rate_count() const { return rate_count_; }
  std::size_t status_bytes() const { return sizeof(StepHeader) + groups_ * sizeof(std::uint64_t); }
  std::int64_t tile_count() const { return tile_count_; }
  /// Elements of all penalised tensors.
  std::int64_t penalised() const { return penalised_; }

  /// Numbers runs of steps, so that what an earlier one announces late does not count for a later
  /// one. The first also makes the word that is announced in.
  std::uint32_t begin_run();
  std::uint32_t run() const { return run_; }
  /// A word of mapped host memory, by the device's address, that a step sets to the number of its
  /// run when it stops. Null before the first run.
  std::uint32_t* announcement() const { return announced_on_device_; }
  bool stop_announced() const;

  StepStatus last;                        ///< what read_status gave
  mutable std::uint32_t counted_run = 0;  ///< the latest whose announcement was counted

 private:
  template <class T>
  T* at(std::size_t offset) const {
    return reinterpret_cast<T*>(memory_ + offset);
  }
  std::size_t place(std::size_t bytes);
  std::size_t selections() const { return groups_ == 0 ? 1 : groups_; }

  Context& context_;
  StepKind kind_;
  std::size_t groups_;
  std::size_t rate_count_;
  std::int64_t tile_count_ = 0;
  std::int64_t penalised_ = 0;
  // Offsets in the block.
  std::size_t end_ = 0;
  std::size_t status_ = 0, sums_ = 0, lambda_ = 0, rates_ = 0, stop_ = 0, tensors_ = 0, tiles_ = 0,
              results_ = 0, select_ = 0, select_results_ = 0, control_groups_ = 0, target_of_ = 0,
              selection_of_ = 0, group_bounds_ = 0, wanted_ = 0, bounded_ = 0, share_counts_ = 0,
              keep_lambda_ = 0, tie_ends_ = 0;
  std::byte* memory_ = nullptr;
  std::uint64_t* bins_ = nullptr;
  std::byte* support_ = nullptr;
  std::vector<ProxTensor> given_;
  std::uint32_t* announced_ = nullptr;            // the host's address
  std::uint32_t* announced_on_device_ = nullptr;  // the device's
  std::uint32_t run_ = 0;
};

/// The status that steps of `plan` leave; null without a plan.
inline const StepHeader* header_of(const ProxPlan* plan) {
  return plan == nullptr ? nullptr : static_cast<const CudaPlan*>(plan)->status();
}
/// The step that `plan` takes next; without a plan, `number`.
inline StepNumber step_number(const ProxPlan* plan, std::int64_t number) {
  return {plan == nullptr ? nullptr : &header_of(plan)->steps, number};
}
inline RowsOfStep rows_of(const StepRows& of_step) {
  return {step_number(of_step.plan, of_step.step), of_step.batch, of_step.steps_an_epoch};
}

}  // namespace cuthresh::cuda
