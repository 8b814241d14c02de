#pragma once

// What every room refuses, and says in the same words, before it enqueues anything.

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "backend/backend.hpp"

namespace cuthresh {

/// At most so many entries of a list and groups of a plan: both are 32-bit in a tile record.
inline constexpr std::int64_t kMaxListEntries = std::int64_t{1} << 24;

/// make_plan: an empty list, null or misaligned pointers (a gradient may be null), negative or too
/// large sizes, a group or a rate that is none, weights that overlap another tensor's weights or
/// gradient, a momentum that is missing or overlaps another array. (One tensor's w and g may be the
/// same array: then there is only something to select from.) The same of master copies.
void check_list(std::span<const ProxTensor> tensors, std::int32_t groups, StepKind kind,
                Dtype dtype);
/// Rates of a list: its largest, and one.
std::size_t count_rates(std::span<const ProxTensor> tensors);
bool same_gradients(std::span<const ProxTensor> tensors, std::span<const void* const> gradients);
/// set_gradients: one a tensor, each null or as check_list wants it. Returns the list with them.
std::vector<ProxTensor> with_gradients(std::span<const ProxTensor> tensors,
                                       std::span<const void* const> gradients, StepKind kind,
                                       Dtype dtype);
/// Before gradients are read: each penalised tensor has one.
void check_gradients(const char* where, std::span<const ProxTensor> tensors);
/// set_lambda: one value a group, each finite and ≥ 0 as the dtype is computed with.
void check_lambda(std::span<const double> lambda, std::size_t groups, Dtype dtype);
/// set_rates: `count` of them, each finite and ≥ 0, momenta below 1, likewise.
void check_rates(std::span<const StepRateOf<double>> rates, std::size_t count, Dtype dtype);
/// set_skip: on a boundary of its 4 bytes, or null.
void check_skip(const float* flag);
/// set_stop: no band, one, or one a group; a number of bands to hold at once that can.
void check_stop(const StopRule& rule, std::size_t groups);
/// What a room keeps of a controlled run. What keep_targets() cuts together is a selection: the
/// groups of a target, each group of one with bounds by itself, none of a target that other devices
/// hold a part of.
struct ControlLayout {
  std::vector<ControlGroup> targets;
  std::vector<std::int32_t> target_of;     ///< a group; −1: none
  std::vector<GroupBounds> bounds;         ///< a group
  std::vector<std::int32_t> selection_of;  ///< a group; −1: none
  std::vector<std::uint64_t> wanted;  ///< a selection: how many it keeps; 0 where bounds decide
  std::vector<std::int32_t> bounded;  ///< targets with bounds
  bool some_left_alone = false;       ///< groups without a selection
};
/// set_control: a ramp that begins before it ends, finite gains ≥ 0, a finite range > 0; targets of
/// 1 … their size, λ finite and > 0; groups that exist, each in one target at most; bounds for each
/// of its groups or none, that let the target be met.
ControlLayout check_control(const ControlRule& rule, std::span<const ControlTarget> targets,
                            std::span<const ProxTensor> tensors, std::size_t groups);
/// restore_control: a λ a group, finite and ≥ 0; a finite integral part a target; steps ≥ 0.
void check_state(const ControlState& state, std::size_t groups, std::size_t targets);
/// Counts of the caller: not null, aligned.
void check_counts(const std::int64_t* counts);
/// read_bracket_medians: one bracket in all or one a group. True: one over all groups.
bool check_brackets(std::size_t brackets, std::size_t groups);
/// Before order statistics are read in float32: refuses float64 plans.
void check_narrow(const char* where, Dtype dtype);
/// read_kth_gradient: 1 ≤ k ≤ size.
void check_rank(std::int64_t k, std::int64_t size);

/// Extents, their products, pointers that are needed.
void check_dense(const DenseForward& args);
void check_dense(const DenseBackward& args);
enum class Loss : std::uint8_t { kMse, kSoftmaxCrossEntropy };
void check_loss(const LossArgs& args, Loss loss);
void check_gather(const void* to, const void* from, const std::int64_t* index, std::int64_t rows);
void check_rate_table(const float* learning_rate, std::int64_t length, Dtype dtype);
/// What our own trainings call alone: float32 throughout.
void check_float32(const char* where, Dtype dtype);
void check_uniform(const float* to, std::int64_t size, float bound);

}  // namespace cuthresh
