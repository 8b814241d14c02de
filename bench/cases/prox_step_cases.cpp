#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <mutex>
#include <utility>

#include "bench/cases/cases.hpp"
#include "bench/cases/lists.hpp"
#include "kernels/math/step.hpp"

namespace cuthresh::bench {
namespace {

// λ lies in [1, 2): a step takes 0.01 to 0.02 off a weight by the threshold, and moves it by 0.01
// to 0.3 by the gradient, so that each of them shows in nearly every bit.
constexpr float kStepAlpha = 0.01f;
constexpr float kStepLambda = 1.0f;
constexpr float kStepMomentum = 0.9f;
// By the threshold alone a weight loses one or two units in its last place, which every bit of the
// check sees, and a million steps a tenth of it: the pattern of zeros stays.
constexpr float kThresholdLambda = 0x1p-17f;

struct StepVariant {
  std::string name;
  StepKind kind = StepKind::kPlain;
  bool frozen = false;  ///< Backend::freeze: zeros stay, and there is no threshold

  float lambda() const { return reads_gradient(kind) ? kStepLambda : kThresholdLambda; }
  int arrays() const { return has_momentum(kind) ? 3 : reads_gradient(kind) ? 2 : 1; }
  /// Read w and g, write w: 12; v both ways: 20; without g 8; frozen a bit more, literally.
  double bytes() const {
    const double plain = has_momentum(kind) ? 20.0 : reads_gradient(kind) ? 12.0 : 8.0;
    return frozen ? plain + 1.0 / 8.0 : plain;
  }
};

constexpr StepRate kStepRate = {kStepAlpha, kStepMomentum};

struct Stepped {
  float w = 0.0f;
  float v = 0.0f;
};

/// What a room must give to the bit.
Stepped step_in_float(const StepVariant& variant, float threshold, float w, float g, float v) {
  float z = w;
  switch (variant.kind) {
    case StepKind::kPlain:
      z = PlainStep<float>{kStepRate}(w, g);
      break;
    case StepKind::kMomentum:
      z = MomentumStep<float>{kStepRate}(w, g, v);
      break;
    case StepKind::kNesterov:
      z = NesterovStep<float>{kStepRate}(w, g, v);
      break;
    case StepKind::kThreshold:
      break;
  }
  if (variant.frozen) return {is_nonzero(w) ? z : 0.0f, v};
  return {soft_threshold(z, threshold), v};
}

/// The formulas once more, in float64 and as textbooks have them.
struct DoubleStep {
  double w = 0.0;
  double v = 0.0;
  // What float32's roundings, half an ulp each, add up to: six at most in w, three in v.
  double w_error = 0.0;
  double v_error = 0.0;

  DoubleStep(const StepVariant& variant, float lambda, float from_w, float from_g, float from_v) {
    constexpr double kHalfUlp = 0x1p-24;
    const auto alpha = static_cast<double>(kStepAlpha);
    const auto g = static_cast<double>(from_g);
    double direction = reads_gradient(variant.kind) ? g : 0.0;
    if (has_momentum(variant.kind)) {
      const auto mu = static_cast<double>(kStepMomentum);
      const double kept = mu * static_cast<double>(from_v);
      v = kept + g;
      v_error = 3 * kHalfUlp * (std::abs(kept) + std::abs(g));
      direction = variant.kind == StepKind::kMomentum ? v : g + mu * v;
    }
    const double z = static_cast<double>(from_w) - alpha * direction;
    const double t = variant.frozen ? 0.0 : alpha * static_cast<double>(lambda);
    w = std::copysign(std::max(std::abs(z) - t, 0.0), z);
    if (variant.frozen && from_w == 0.0f) w = 0.0;
    w_error =
        6 * kHalfUlp * (std::abs(static_cast<double>(from_w)) + alpha * std::abs(direction) + t);
  }

  bool is(const Stepped& got) const {
    return std::abs(static_cast<double>(got.w) - w) <= w_error &&
           std::abs(static_cast<double>(got.v) - v) <= v_error;
  }
};

/// Compares pieces of a list after one step; the first entry that is wrong is kept.
class StepComparison {
 public:
  StepComparison(const StepVariant& variant, float lambda)
      : variant_(variant), lambda_(lambda), threshold_(kStepAlpha * lambda) {}

  /// Entries [begin, end), any number of threads at once.
  void look(const ListValues& from, const ListValues& to, std::int64_t begin, std::int64_t end) {
    std::uint64_t nonzero = 0;
    for (std::int64_t i = begin; i < end; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const float v = from.v.empty() ? 0.0f : from.v[at];
      const Stepped got{to.w[at], to.v.empty() ? 0.0f : to.v[at]};
      const Stepped want = step_in_float(variant_, threshold_, from.w[at], from.g[at], v);
      const DoubleStep exact(variant_, lambda_, from.w[at], from.g[at], v);
      nonzero += is_nonzero(want.w) ? 1U : 0U;
      if (same_bits(got.w, want.w) && same_bits(got.v, want.v) && exact.is(got)) continue;
      const std::lock_guard lock(mutex_);
      if (i < wrong_) {
        wrong_ = i;
        message_ = fmt::format(
            "w {:.9g}, g {:.9g}, v {:.9g} became w {:.9g}, v {:.9g}; expected w {:.9g}, v {:.9g}, "
            "in float64 w {:.17g}, v {:.17g}",
            from.w[at], from.g[at], v, got.w, got.v, want.w, want.v, exact.w, exact.v);
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
  static bool same_bits(float a, float b) {
    return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
  }

  const StepVariant& variant_;
  float lambda_;
  float threshold_;
  std::mutex mutex_;
  std::uint64_t nonzero_ = 0;
  std::int64_t wrong_ = std::numeric_limits<std::int64_t>::max();
  std::string message_;
};

class StepWorkload final : public Workload {
 public:
  StepWorkload(const Room& room, const StepVariant& variant, const ListShape& list,
               const Zeros& zeros, std::int64_t sets)
      : room_(room),
        variant_(variant),
        list_(list),
        source_(list, zeros),
        lambda_(lambdas_of(list, variant.lambda())) {
    for (std::int64_t set = 0; set < sets; ++set) {
      sets_.push_back(std::make_unique<ListBuffers>(
          room.backend, list, true, reads_gradient(variant.kind), has_momentum(variant.kind)));
    }
    fill();
    for (const auto& set : sets_) {
      const std::vector<ProxTensor> tensors =
          tensors_of(list, set->w.data(), set->g.data(), set->v.data());
      plans_.push_back(room.backend.make_plan(tensors, list.tensors(), variant.kind));
      room.backend.set_lambda(*plans_.back(), lambda_);
      room.backend.set_rate(*plans_.back(), kStepRate);
    }
    reset();
  }

  std::string check() override {
    if (touched_) fill();
    reset();
    call(0);
    compare_weights();
    compare_counts(room_.backend.read_status(*plans_.front()), 0);
    reset();
    return fmt::format("{}{} to the bit and against float64; their counts", list_.text(),
                       has_momentum(variant_.kind) ? ", momenta too," : "");
  }

  /// The status only: however often it is stepped, a list keeps its pattern.
  void reset() override {
    const auto never = static_cast<std::uint64_t>(list_.weights) + 1;
    for (const auto& plan : plans_) {
      room_.backend.set_stop(*plan, {{CountBand{never, never}}, 1, 0});
      if (variant_.frozen) room_.backend.freeze(*plan);
    }
  }

  void call(std::int64_t set) override {
    touched_ = true;
    room_.backend.prox_step(*plans_[static_cast<std::size_t>(set)]);
  }

  void check_after(std::int64_t calls) override {
    std::int64_t steps = 0;
    for (std::size_t set = 0; set < plans_.size(); ++set) {
      const StepStatus& status = room_.backend.read_status(*plans_[set]);
      if (status.steps > 0) compare_counts(status, set);
      steps += status.steps;
      // By the weights themselves, and of sets without a step too.
      require_counts(room_.backend.read_nonzeros(*plans_[set]), set);
    }
    if (steps < calls) {
      throw CheckFailed(fmt::format("{} calls took {} steps only", calls, steps));
    }
  }

  std::map<std::string, double> more() override {
    double nonzero = 0.0;
    for (const std::uint64_t n : nonzero_) nonzero += static_cast<double>(n);
    return {{"nnz", nonzero}};
  }

 private:
  void fill() {
    nonzero_ = upload_list(room_, list_, source_, *sets_.front());
    for (std::size_t set = 1; set < sets_.size(); ++set) {
      sets_[set]->w.copy_from(sets_.front()->w);
      sets_[set]->g.copy_from(sets_.front()->g);
      sets_[set]->v.copy_from(sets_.front()->v);
    }
    touched_ = false;
  }

  /// All weights and momenta of the first set, one step from the initial ones.
  void compare_weights() {
    const bool momentum = has_momentum(variant_.kind);
    ListValues from = source_.make_block(list_.extent, momentum);
    ListValues to = source_.make_block(list_.extent, momentum);
    std::vector<std::uint64_t> nonzero(list_.sizes.size(), 0);
    for_blocks(list_, [&](const ListPiece& piece) {
      source_.fill(piece.first, piece.count, from, room_.threads);
      const auto bytes = static_cast<std::size_t>(piece.count) * sizeof(float);
      room_.backend.download(to.w.data(), sets_.front()->w.data() + piece.first, bytes);
      if (momentum) {
        room_.backend.download(to.v.data(), sets_.front()->v.data() + piece.first, bytes);
      }
      StepComparison comparison(variant_, lambda_[piece.tensor]);
      in_parallel(room_.threads, piece.count, [&](std::int64_t begin, std::int64_t end) {
        comparison.look(from, to, begin, end);
      });
      nonzero[piece.tensor] += comparison.finish(piece.first);
    });
    require_counts(nonzero, 0);
  }

  void compare_counts(const StepStatus& status, std::size_t set) const {
    if (status.stopped || status.nonfinite != 0) {
      throw CheckFailed(fmt::format("set {} stopped after {} steps, {} values are not finite", set,
                                    status.steps, status.nonfinite));
    }
    require_counts(status.nnz, set);
    std::uint64_t total = 0;
    for (const std::uint64_t n : nonzero_) total += n;
    if (status.total != total) {
      throw CheckFailed(
          fmt::format("set {}: {} nonzero weights in all, expected {}", set, status.total, total));
    }
  }

  void require_counts(const std::vector<std::uint64_t>& got, std::size_t set) const {
    for (std::size_t t = 0; t < nonzero_.size(); ++t) {
      if (got[t] == nonzero_[t]) continue;
      throw CheckFailed(fmt::format("set {}, tensor {}: {} nonzero weights, expected {}", set, t,
                                    got[t], nonzero_[t]));
    }
  }

  Room room_;
  StepVariant variant_;
  ListShape list_;
  ListSource source_;
  std::vector<float> lambda_;
  std::vector<std::unique_ptr<ListBuffers>> sets_;
  std::vector<std::unique_ptr<ProxPlan>> plans_;
  std::vector<std::uint64_t> nonzero_;  // a tensor, before and after any number of steps
  bool touched_ = false;
};

Case step_case(const StepVariant& variant, const ListShape& list, const Zeros& zeros) {
  Case c;
  c.name = fmt::format("prox_step/fp32/{}/{}/{}", variant.name, list.name, zeros.name());
  c.what = fmt::format("one fused step with its counts, {}: {}, {}", variant.name, list.text(),
                       zeros.text());
  c.set_bytes = variant.arrays() * list.buffer_bytes();
  // Two blocks on the host: what was there and what is there now.
  c.more_bytes = 2 * 3 * static_cast<std::int64_t>(sizeof(float)) * kListBlock;
  c.work.bytes = variant.bytes() * static_cast<double>(list.weights);
  // With momentum three reads to two writes, which the ceiling of two to one comes closest to.
  c.traffic = reads_gradient(variant.kind) ? Traffic::kStream : Traffic::kCopy;
  c.rotates = list.name != "1g_200";  // one set exceeds any cache
  c.make = [variant, list, zeros](const Room& room, std::int64_t sets) {
    return std::make_unique<StepWorkload>(room, variant, list, zeros, sets);
  };
  c.lacks = [momentum = has_momentum(variant.kind)](const Room& room) {
    const std::string reason = room.backend.unsupported(Operation::kProxStep);
    if (!reason.empty() || !momentum) return reason;
    return room.backend.unsupported(Operation::kMomentum);
  };
  return c;
}

/// A line among what is left out; there is nothing to make.
Case missing_type(const std::string& type) {
  Case c;
  c.name = "prox_step/" + type;
  c.what = "the fused step on " + type + " weights";
  c.lacks = [](const Room&) { return std::string("plans hold float32 weights"); };
  return c;
}

std::vector<Zeros> all_patterns() {
  std::vector<Zeros> patterns = {{}};
  for (const ZeroPlaces places : {ZeroPlaces::kRandom, ZeroPlaces::kClustered}) {
    for (const int percent : {50, 90, 99}) patterns.push_back({places, percent});
  }
  return patterns;
}

}  // namespace

std::vector<Case> prox_step_cases(const Room& room) {
  const std::vector<StepVariant> variants = {
      {"plain", StepKind::kPlain},
      {"momentum", StepKind::kMomentum},
      {"nesterov", StepKind::kNesterov},
  };
  std::vector<Case> cases;
  for (const StepVariant& variant : variants) {
    for (const char* name : {"25k_4", "687k_5", "25m_161", "64m", "1g_200"}) {
      const ListShape list = make_list(name, room.smoke);
      for (const Zeros& zeros : all_patterns()) {
        cases.push_back(step_case(variant, list, zeros));
      }
    }
  }
  for (const char* name : {"25k_4", "687k_5", "25m_161", "64m", "1g_200"}) {
    const ListShape list = make_list(name, room.smoke);
    cases.push_back(step_case({"threshold", StepKind::kThreshold}, list, {}));
    cases.push_back(step_case({"frozen", StepKind::kPlain, true}, list, {ZeroPlaces::kRandom, 90}));
  }
  for (const char* type : {"fp64", "bf16", "fp16"}) cases.push_back(missing_type(type));
  return cases;
}

}  // namespace cuthresh::bench
