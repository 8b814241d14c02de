#pragma once

// What a step of a case is, and what it must leave: to the bit by the formulas of kernels/math,
// and within roundings of the textbook's, one type wider.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <mutex>
#include <string>
#include <type_traits>
#include <vector>

#include "bench/cases/lists.hpp"
#include "kernels/math/step.hpp"
#include "kernels/scalar.hpp"

namespace cuthresh::bench {

// λ lies in [1, 2): a step takes 0.01 to 0.02 off a weight by the threshold, and moves it by 0.01
// to 0.3 by the gradient, so that each of them shows in nearly every bit.
inline constexpr double kStepAlpha = 0.01;
inline constexpr float kStepLambda = 1.0f;
inline constexpr double kStepMomentum = 0.9;
// Weights grow with every step, by at most 30 α; with this α a float16 lasts for 140 million.
inline constexpr double kFloat16Alpha = 0x1p-16;
// By the threshold alone a weight loses one or two units in its last place, which every bit of the
// check sees, and a million steps a tenth of it: the pattern of zeros stays.
inline constexpr float kThresholdLambda = 0x1p-17f;

struct StepVariant {
  std::string name;
  StepKind kind = StepKind::kPlain;
  bool frozen = false;  ///< Backend::freeze: zeros stay, and there is no threshold
  bool skips = false;   ///< Backend::skip_zeros
  Dtype dtype = Dtype::kFloat32;

  float lambda() const { return reads_gradient(kind) ? kStepLambda : kThresholdLambda; }
  StepRateOf<double> rate() const {
    return {dtype == Dtype::kFloat16 ? kFloat16Alpha : kStepAlpha, kStepMomentum};
  }

  // Of a weight by its definition: what is stepped (of 16-bit weights the master copy) and v are
  // read and written, g is read, a 16-bit weight is written.
  double bytes_read() const {
    const double gradient = reads_gradient(kind) ? static_cast<double>(storage_bytes(dtype)) : 0.0;
    // Frozen a bit more, literally.
    return stepped_bytes() + gradient + (frozen ? 1.0 / 8.0 : 0.0);
  }
  double bytes_written() const {
    return stepped_bytes() + (has_master(dtype) ? static_cast<double>(storage_bytes(dtype)) : 0.0);
  }
  /// A weight's in all buffers.
  std::int64_t buffer_bytes() const {
    const std::size_t stored = storage_bytes(dtype) * (reads_gradient(kind) ? 2 : 1);
    const std::size_t computed =
        compute_bytes(dtype) * ((has_momentum(kind) ? 1U : 0U) + (has_master(dtype) ? 1U : 0U));
    return static_cast<std::int64_t>(stored + computed);
  }

 private:
  double stepped_bytes() const {
    return static_cast<double>(compute_bytes(dtype)) * (has_momentum(kind) ? 2.0 : 1.0);
  }
};

/// What a room must give to the bit. T is what a plan computes with.
template <class T>
struct Stepped {
  T w = T(0);
  T v = T(0);
};

template <class T>
Stepped<T> take_step(const StepVariant& variant, const StepRateOf<T>& rate, T lambda, T w, T g,
                     T v) {
  T z = w;
  switch (variant.kind) {
    case StepKind::kPlain:
      z = PlainStep<T>{rate}(w, g);
      break;
    case StepKind::kMomentum:
      z = MomentumStep<T>{rate}(w, g, v);
      break;
    case StepKind::kNesterov:
      z = NesterovStep<T>{rate}(w, g, v);
      break;
    case StepKind::kThreshold:
      break;
  }
  if (variant.frozen) return {is_nonzero(w) ? z : T(0), v};
  return {soft_threshold(z, rate.learning_rate * lambda), v};
}

/// The formulas once more, as textbooks have them: of float32 in float64, of float64 in the
/// machine's long double.
template <class T>
struct ExactStep {
  using Exact = std::conditional_t<std::is_same_v<T, double>, long double, double>;

  Exact w = 0;
  Exact v = 0;
  // What T's roundings, half an ulp each, add up to: six at most in w, three in v.
  Exact w_error = 0;
  Exact v_error = 0;

  ExactStep(const StepVariant& variant, const StepRateOf<T>& rate, T lambda, T from_w, T from_g,
            T from_v) {
    constexpr Exact kHalfUlp = std::numeric_limits<T>::epsilon() / 2;
    const auto alpha = static_cast<Exact>(rate.learning_rate);
    const auto g = static_cast<Exact>(from_g);
    Exact direction = reads_gradient(variant.kind) ? g : Exact(0);
    if (has_momentum(variant.kind)) {
      const auto mu = static_cast<Exact>(rate.momentum);
      const Exact kept = mu * static_cast<Exact>(from_v);
      v = kept + g;
      v_error = 3 * kHalfUlp * (std::abs(kept) + std::abs(g));
      direction = variant.kind == StepKind::kMomentum ? v : g + mu * v;
    }
    const Exact z = static_cast<Exact>(from_w) - alpha * direction;
    const Exact t = variant.frozen ? Exact(0) : alpha * static_cast<Exact>(lambda);
    w = std::copysign(std::max(std::abs(z) - t, Exact(0)), z);
    if (variant.frozen && from_w == T(0)) w = 0;
    w_error =
        6 * kHalfUlp * (std::abs(static_cast<Exact>(from_w)) + alpha * std::abs(direction) + t);
  }

  bool is(T got_w, T got_v) const {
    return std::abs(static_cast<Exact>(got_w) - w) <= w_error &&
           std::abs(static_cast<Exact>(got_v) - v) <= v_error;
  }
  /// Of a stored weight, which may be rounded once more, by half an ulp of its own.
  bool is_stored(T got, double half_ulp) const {
    return std::abs(static_cast<Exact>(got) - w) <=
           w_error + static_cast<Exact>(half_ulp) * (std::abs(w) + w_error);
  }
};

/// Half an ulp of what is stored, as a share; 0 where nothing is rounded for it.
constexpr double storage_rounding(Dtype dtype) {
  return dtype == Dtype::kBfloat16 ? 0x1p-8 : dtype == Dtype::kFloat16 ? 0x1p-11 : 0.0;
}

/// What a room holds at some places of a list. v, master: empty where there is none.
template <class Storage>
struct ListState {
  using Compute = typename StorageTraits<Storage>::Compute;
  std::vector<Storage> w;
  std::vector<Compute> v, master;

  Compute momentum(std::size_t at) const { return v.empty() ? Compute(0) : v[at]; }
  /// What is stepped.
  Compute stepped(std::size_t at) const { return master.empty() ? widen(w[at]) : master[at]; }
};

/// Compares pieces of a list after one step; the first entry that is wrong is kept.
template <class Storage>
class StepComparison {
 public:
  using Compute = typename StorageTraits<Storage>::Compute;

  StepComparison(const StepVariant& variant, float lambda)
      : variant_(variant),
        rate_{static_cast<Compute>(variant.rate().learning_rate),
              static_cast<Compute>(variant.rate().momentum)},
        lambda_(static_cast<Compute>(lambda)) {}

  /// Entries [begin, end), any number of threads at once.
  void look(const ListValues& from, const ListState<Storage>& to, std::int64_t begin,
            std::int64_t end) {
    std::uint64_t nonzero = 0;
    for (std::int64_t i = begin; i < end; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const auto w = list_value<Storage>(from.w[at]);
      const auto g = widen(list_stored<Storage>(from.g[at]));
      const auto v = from.v.empty() ? Compute(0) : list_value<Storage>(from.v[at]);
      const Stepped<Compute> want = take_step(variant_, rate_, lambda_, w, g, v);
      const ExactStep<Compute> exact(variant_, rate_, lambda_, w, g, v);
      const Storage stored = StorageTraits<Storage>::narrow(want.w);
      nonzero += is_nonzero(stored) ? 1U : 0U;
      const Compute got = to.stepped(at);
      const Compute got_v = to.momentum(at);
      if (same_bits(to.w[at], stored) && same_bits(got, want.w) && same_bits(got_v, want.v) &&
          exact.is(got, got_v) &&
          exact.is_stored(widen(to.w[at]), storage_rounding(variant_.dtype))) {
        continue;
      }
      const std::lock_guard lock(mutex_);
      if (i < wrong_) {
        wrong_ = i;
        message_ = fmt::format(
            "w {:.17g}, g {:.17g}, v {:.17g} became w {:.17g} ({:.17g} stored), v {:.17g}; "
            "expected w {:.17g} ({:.17g} stored), v {:.17g}, by the textbook w {:.20g}, v {:.20g}",
            w, g, v, got, widen(to.w[at]), got_v, want.w, widen(stored), want.v, exact.w, exact.v);
      }
      break;
    }
    const std::lock_guard lock(mutex_);
    nonzero_ += nonzero;
  }

  /// Nonzero weights of the piece, which starts at place `first` of the list.
  std::uint64_t finish(std::int64_t first) const {
    if (!message_.empty()) {
      throw CheckFailed(fmt::format("weight at place {}: {}", first + wrong_, message_));
    }
    return nonzero_;
  }

 private:
  template <class T>
  static bool same_bits(const T& a, const T& b) {
    return std::memcmp(&a, &b, sizeof a) == 0;
  }

  const StepVariant& variant_;
  StepRateOf<Compute> rate_;
  Compute lambda_;
  std::mutex mutex_;
  std::uint64_t nonzero_ = 0;
  std::int64_t wrong_ = std::numeric_limits<std::int64_t>::max();
  std::string message_;
};

}  // namespace cuthresh::bench
