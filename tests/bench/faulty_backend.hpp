#pragma once

// A room that is wrong in one place, so that a check can be seen to find it.

#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "support/forwarding_backend.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {

enum class Fault {
  kNone,
  // Of a step.
  kLeftOut,      ///< nothing is done
  kWeightBit,    ///< the last bit of one weight
  kMomentumBit,  ///< of one momentum
  kMasterBit,    ///< of one master copy
  kLivingZero,   ///< a weight that was to stay zero is not, a living one is; counted as if right
  kGroupCount,   ///< one group's count is one off
  kTotal,        ///< the total is one off
  kStopped,      ///< the status says that the steps ended
  kNonfinite,    ///< and that a value was lost
  // Of the data when a question is asked: one entry, anywhere in the list.
  kWeight,     ///< zero instead of living, or the other way round
  kGradient,   ///< far larger than any other
  kInBracket,  ///< the first gradient inside the first bracket that holds one: now outside
  // Of the finish and the control.
  kKeptOther,  ///< one weight stays that should not, or the other way round
  kKeptBits,   ///< one survivor is off by a thousandth
  kLambda,     ///< λ is off by a thousandth
  // Of an answer.
  kAnswer  ///< the next float, one more
};

class FaultyBackend final : public ForwardingBackend {
 public:
  FaultyBackend(std::unique_ptr<Backend> room, std::uint32_t seed)
      : ForwardingBackend(std::move(room)), random_(seed) {}

  Fault fault = Fault::kNone;

  std::unique_ptr<ProxPlan> make_plan(std::span<const ProxTensor> tensors, std::int32_t groups,
                                      StepKind kind, Dtype dtype) override {
    auto plan = ForwardingBackend::make_plan(tensors, groups, kind, dtype);
    tensors_[plan.get()].assign(tensors.begin(), tensors.end());
    return plan;
  }

  void prox_step(ProxPlan& plan) override {
    if (fault == Fault::kLeftOut) return;
    ForwardingBackend::prox_step(plan);
    const ProxTensor& tensor = any_tensor(plan);
    const std::int64_t i = random_.integer(0, tensor.size - 1);
    const auto stored = static_cast<std::int64_t>(storage_bytes(plan.dtype()));
    const auto computed = static_cast<std::int64_t>(compute_bytes(plan.dtype()));
    if (fault == Fault::kWeightBit) flip_last_bit(tensor.w, i * stored);
    if (fault == Fault::kMomentumBit) flip_last_bit(tensor.v, i * computed);
    if (fault == Fault::kMasterBit) flip_last_bit(tensor.master, i * computed);
    if (fault == Fault::kLivingZero) live_or_die(plan, tensor.w, i);
  }

  void keep_targets(ProxPlan& plan) override {
    ForwardingBackend::keep_targets(plan);
    const ProxTensor& tensor = any_tensor(plan);
    const std::int64_t i = random_.integer(0, tensor.size - 1);
    if (fault == Fault::kKeptOther) live_or_die(plan, tensor.w, i);
    if (fault == Fault::kKeptBits) change_survivor(plan);
  }

  std::vector<float> read_lambda(ProxPlan& plan) override {
    std::vector<float> lambda = ForwardingBackend::read_lambda(plan);
    if (fault == Fault::kLambda) lambda.back() *= 1.001f;
    return lambda;
  }

  const StepStatus& read_status(ProxPlan& plan) override {
    status_ = ForwardingBackend::read_status(plan);
    if (fault == Fault::kGroupCount) {
      const auto last = static_cast<std::int64_t>(status_.nnz.size()) - 1;
      ++status_.nnz[static_cast<std::size_t>(random_.integer(0, last))];
    }
    if (fault == Fault::kTotal) ++status_.total;
    if (fault == Fault::kStopped) status_.stopped = true;
    if (fault == Fault::kNonfinite) status_.nonfinite = 1;
    return status_;
  }

  std::vector<std::uint64_t> read_nonzeros(ProxPlan& plan) override {
    corrupt(plan);
    auto counts = ForwardingBackend::read_nonzeros(plan);
    if (fault == Fault::kAnswer) ++counts.back();
    return counts;
  }

  std::vector<KktResult> read_kkt(ProxPlan& plan) override {
    corrupt(plan);
    auto results = ForwardingBackend::read_kkt(plan);
    if (fault == Fault::kAnswer) results.back().on_zero = next(results.back().on_zero);
    return results;
  }

  std::vector<MedianResultOf<double>> read_bracket_medians(
      ProxPlan& plan, std::span<const std::pair<double, double>> brackets) override {
    if (fault == Fault::kInBracket) leave_bracket(plan, brackets);
    auto results = ForwardingBackend::read_bracket_medians(plan, brackets);
    if (fault == Fault::kAnswer) {
      for (MedianResultOf<double>& result : results) {
        if (result.median) result.median = next_of(*result.median);
      }
    }
    return results;
  }

  double read_kth_magnitude(ProxPlan& plan, std::int64_t k) override {
    if (fault == Fault::kGradient) pass(plan, ForwardingBackend::read_kth_magnitude(plan, k));
    const double result = ForwardingBackend::read_kth_magnitude(plan, k);
    return fault == Fault::kAnswer ? next_of(result) : result;
  }

 private:
  static float next(float x) { return std::nextafter(x, std::numeric_limits<float>::infinity()); }
  static double next_of(double x) { return static_cast<double>(next(static_cast<float>(x))); }
  static const float* at(const void* array, std::int64_t i) {
    return static_cast<const float*>(array) + i;
  }
  static float huge(float) { return 64.0f; }

  const ProxTensor& any_tensor(ProxPlan& plan) {
    const std::vector<ProxTensor>& list = tensors_.at(&plan);
    const auto last = static_cast<std::int64_t>(list.size()) - 1;
    return list[static_cast<std::size_t>(random_.integer(0, last))];
  }

  /// The last bit of the number at `byte` of an array (lowest byte first, as all our machines do).
  void flip_last_bit(void* array, std::int64_t byte) {
    char* const entry = static_cast<char*>(array) + byte;
    char value = 0;
    download(&value, entry, 1);
    value = static_cast<char>(value ^ 1);
    upload(entry, &value, 1);
  }

  /// A zero becomes 1, all else zero.
  void live_or_die(const ProxPlan& plan, void* w, std::int64_t i) {
    with_storage(plan.dtype(), [&]<class Storage>(std::type_identity<Storage>) {
      Storage* const entry = static_cast<Storage*>(w) + i;
      Storage value{};
      download(&value, entry, sizeof value);
      const bool zero = !is_nonzero(value);
      value = StorageTraits<Storage>::narrow(zero ? 1.0f : 0.0f);
      upload(entry, &value, sizeof value);
    });
  }

  /// Of float32. Gradients too, which a room only reads.
  void change(const float* entry, float (*to)(float)) {
    float value = 0.0f;
    download(&value, entry, sizeof value);
    value = to(value);
    upload(const_cast<float*>(entry), &value, sizeof value);
  }

  /// Of the first tensor that has one.
  void change_survivor(ProxPlan& plan) {
    for (const ProxTensor& tensor : tensors_.at(&plan)) {
      for (std::int64_t i = 0; i < tensor.size; ++i) {
        float w = 0.0f;
        download(&w, at(tensor.w, i), sizeof w);
        if (w != 0.0f) return change(at(tensor.w, i), [](float x) { return 1.001f * x; });
      }
    }
  }

  void corrupt(ProxPlan& plan) {
    const ProxTensor& tensor = any_tensor(plan);
    const std::int64_t i = random_.integer(0, tensor.size - 1);
    if (fault == Fault::kWeight) live_or_die(plan, tensor.w, i);
    if (fault == Fault::kGradient) change(at(tensor.g, i), huge);
  }

  /// Some gradient below `value` gets above it.
  void pass(ProxPlan& plan, double value) {
    for (;;) {
      const ProxTensor& tensor = any_tensor(plan);
      const float* const entry = at(tensor.g, random_.integer(0, tensor.size - 1));
      float g = 0.0f;
      download(&g, entry, sizeof g);
      if (static_cast<double>(std::abs(g)) < value) return change(entry, huge);
    }
  }

  /// `brackets` has one a tensor, or one over all.
  void leave_bracket(ProxPlan& plan, std::span<const std::pair<double, double>> brackets) {
    const std::vector<ProxTensor>& list = tensors_.at(&plan);
    for (std::size_t t = 0; t < list.size(); ++t) {
      const auto [lo, hi] = brackets[brackets.size() == 1 ? 0 : t];
      for (std::int64_t i = 0; i < list[t].size; ++i) {
        float g = 0.0f;
        download(&g, at(list[t].g, i), sizeof g);
        const auto size = static_cast<double>(std::abs(g));
        if (size > lo && size < hi) return change(at(list[t].g, i), huge);
      }
    }
  }

  Random random_;
  StepStatus status_;
  std::map<const ProxPlan*, std::vector<ProxTensor>> tensors_;
};

}  // namespace cuthresh::testing
