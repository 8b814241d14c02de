#include "bench/cases/prox_step_cases.hpp"

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "bench/cases/cases.hpp"
#include "bench/cases/lists.hpp"
#include "bench/cases/step_check.hpp"

namespace cuthresh::bench {
namespace {

template <class Storage>
class StepWorkload final : public Workload {
 public:
  StepWorkload(const Room& room, const StepVariant& variant, const ListShape& list,
               const Zeros& zeros, std::int64_t sets, const StepWay& way)
      : room_(room),
        way_(way),
        variant_(variant),
        list_(list),
        source_(list, zeros),
        lambda_(lambdas_of(list, variant.lambda())) {
    for (std::int64_t set = 0; set < sets; ++set) {
      sets_.push_back(std::make_unique<ListBuffersOf<Storage>>(
          room.backend, list, true, reads_gradient(variant.kind), has_momentum(variant.kind)));
    }
    fill();
    for (const auto& set : sets_) {
      const std::vector<ProxTensor> tensors =
          tensors_of(list, set->w.data(), set->g.data(), set->v.data(), set->master.data());
      plans_.push_back(way_.make_plan(room, tensors, list.tensors()));
      room.backend.set_lambda(*plans_.back(), lambda_);
      const StepRateOf<double> rate = variant.rate();
      room.backend.set_rates(*plans_.back(), std::span(&rate, 1));
      if (variant.skips) room.backend.skip_zeros(*plans_.back(), ZeroSkipping::kOn);
    }
    reset();
  }

  std::string check() override {
    if (touched_) fill();
    reset();
    // The same zeros again: what the plan knows of them stays true for the step that is checked.
    if (touched_) fill();
    call(0);
    compare_weights();
    compare_counts(room_.backend.read_status(*plans_.front()), 0);
    reset();
    return fmt::format("{}{}{} to the bit and against {}; their counts", list_.text(),
                       has_momentum(variant_.kind) ? ", momenta too," : "",
                       has_master(variant_.dtype) ? ", master copies too," : "",
                       variant_.dtype == Dtype::kFloat64 ? "long double" : "float64");
  }

  /// The status only: however often it is stepped, a list keeps its pattern.
  void reset() override {
    const auto never = static_cast<std::uint64_t>(list_.weights) + 1;
    for (const auto& plan : plans_) {
      room_.backend.set_stop(*plan, {{CountBand{never, never}}, 1, 0});
      if (variant_.frozen) room_.backend.freeze(*plan);
    }
    if (!variant_.skips) return;
    // Which weights are zero is known after a step that counts them and one that marks them.
    for (std::size_t set = 0; set < plans_.size(); ++set) {
      for (int i = 0; i < kMarkingSteps; ++i) call(static_cast<std::int64_t>(set));
    }
  }

  void call(std::int64_t set) override {
    touched_ = true;
    way_.step(room_, *plans_[static_cast<std::size_t>(set)]);
  }

  void check_after(std::int64_t calls) override {
    std::int64_t steps = 0;
    if (variant_.skips) steps -= kMarkingSteps * static_cast<std::int64_t>(plans_.size());
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
    for (std::size_t set = 1; set < sets_.size(); ++set) sets_[set]->copy_from(*sets_.front());
    touched_ = false;
  }

  /// All weights, momenta and masters of the first set, one step from the initial ones.
  void compare_weights() {
    ListValues from = source_.make_block(list_.extent, has_momentum(variant_.kind));
    ListState<Storage> to;
    std::vector<std::uint64_t> nonzero(list_.sizes.size(), 0);
    for_blocks(list_, [&](const ListPiece& piece) {
      source_.fill(piece.first, piece.count, from, room_.threads);
      download(to.w, sets_.front()->w, piece);
      download(to.v, sets_.front()->v, piece);
      download(to.master, sets_.front()->master, piece);
      StepComparison<Storage> comparison(variant_, lambda_[piece.tensor]);
      in_parallel(room_.threads, piece.count, [&](std::int64_t begin, std::int64_t end) {
        comparison.look(from, to, begin, end);
      });
      nonzero[piece.tensor] += comparison.finish(piece.first);
    });
    require_counts(nonzero, 0);
  }

  /// Nothing where the array is empty.
  template <class T>
  void download(std::vector<T>& to, const Array<T>& from, const ListPiece& piece) {
    if (from.size() == 0) return;
    to.resize(static_cast<std::size_t>(piece.count));
    room_.backend.download(to.data(), from.data() + piece.first, to.size() * sizeof(T));
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

  static constexpr int kMarkingSteps = 2;  // of reset(), where zeros are skipped

  Room room_;
  StepWay way_;
  StepVariant variant_;
  ListShape list_;
  ListSource source_;
  std::vector<float> lambda_;
  std::vector<std::unique_ptr<ListBuffersOf<Storage>>> sets_;
  std::vector<std::unique_ptr<ProxPlan>> plans_;
  std::vector<std::uint64_t> nonzero_;  // a tensor, before and after any number of steps
  bool touched_ = false;
};

StepWay by_the_room(StepKind kind, Dtype dtype) {
  return {[=](const Room& room, std::span<const ProxTensor> tensors, std::int32_t groups) {
            return room.backend.make_plan(tensors, groups, kind, dtype);
          },
          [](const Room& room, ProxPlan& plan) { room.backend.prox_step(plan); }};
}

std::string name_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::kFloat32:
      break;
    case Dtype::kFloat64:
      return "fp64";
    case Dtype::kBfloat16:
      return "bf16";
    case Dtype::kFloat16:
      return "fp16";
  }
  return "fp32";
}

std::string lacking(const Room& room, const StepVariant& variant) {
  std::string reason = room.backend.unsupported(Operation::kProxStep);
  if (reason.empty() && has_momentum(variant.kind)) {
    reason = room.backend.unsupported(Operation::kMomentum);
  }
  if (reason.empty() && variant.skips) reason = room.backend.unsupported(Operation::kSkipZeros);
  return reason;
}

Case step_case(const StepVariant& variant, const ListShape& list, const Zeros& zeros,
               const StepWay& way) {
  Case c;
  c.name = fmt::format("prox_step/{}/{}/{}/{}", name_of(variant.dtype), variant.name, list.name,
                       zeros.name());
  c.what = fmt::format("one fused step with its counts, {}: {}, {}", variant.name, list.text(),
                       zeros.text());
  c.set_bytes = variant.buffer_bytes() * list.extent;
  // On the host w, g and v as floats, and what is there now.
  const auto of_three = 3 * (sizeof(float) + compute_bytes(variant.dtype));
  c.more_bytes = static_cast<std::int64_t>(of_three) * kListBlock;
  const double read = variant.bytes_read();
  const double written = variant.bytes_written();
  c.work.bytes = (read + written) * static_cast<double>(list.weights);
  // With momentum three reads to two writes, which the ceiling of two to one comes closest to.
  c.traffic = read > 1.25 * written ? Traffic::kStream : Traffic::kCopy;
  c.rotates = list.name != "1g_200";  // one set exceeds any cache
  c.make = [variant, list, zeros, way](const Room& room, std::int64_t sets) {
    return with_storage(variant.dtype, [&]<class Storage>(std::type_identity<Storage>) {
      return std::unique_ptr<Workload>(
          std::make_unique<StepWorkload<Storage>>(room, variant, list, zeros, sets, way));
    });
  };
  c.lacks = [variant](const Room& room) { return lacking(room, variant); };
  return c;
}

Case step_case(const StepVariant& variant, const ListShape& list, const Zeros& zeros) {
  return step_case(variant, list, zeros, by_the_room(variant.kind, variant.dtype));
}

/// With the bytes of the dense step: what its rate is beyond the ceiling, skipping gains.
Case skipping_case(const std::string& name, StepKind kind, const ListShape& list,
                   const Zeros& zeros) {
  Case c = step_case({name, kind, false, true}, list, zeros);
  c.what = fmt::format("{}; zeros left out, bytes as if they were not", c.what);
  return c;
}

constexpr const char* kStepLists[] = {"25k_4", "687k_5", "25m_161", "64m", "1g_200"};

/// All patterns of zeros; when small, of lists but `whole` only the first and one more.
std::vector<Zeros> patterns_of(const ListShape& list, bool small, std::string_view whole) {
  if (small && list.name != whole) return {Zeros{}, Zeros{ZeroPlaces::kRandom, 90}};
  std::vector<Zeros> patterns = {{}};
  for (const ZeroPlaces places : {ZeroPlaces::kRandom, ZeroPlaces::kClustered}) {
    for (const int percent : {50, 90, 99}) patterns.push_back({places, percent});
  }
  return patterns;
}

}  // namespace

Case plain_step_case(const std::string& name, const std::string& how, const ListShape& list,
                     const StepWay& way) {
  Case c = step_case({"plain", StepKind::kPlain}, list, {}, way);
  c.name = name;
  c.what = fmt::format("{}; {}", c.what, how);
  return c;
}

std::vector<Case> prox_step_cases(const Room& room) {
  const std::vector<StepVariant> variants = {
      {"plain", StepKind::kPlain},
      {"momentum", StepKind::kMomentum},
      {"nesterov", StepKind::kNesterov},
  };
  std::vector<Case> cases;
  for (const StepVariant& variant : variants) {
    for (const char* name : kStepLists) {
      const ListShape list = make_list(name, room.smoke);
      for (const Zeros& zeros : patterns_of(list, room.smoke, "687k_5")) {
        cases.push_back(step_case(variant, list, zeros));
      }
    }
  }
  for (const char* name : kStepLists) {
    const ListShape list = make_list(name, room.smoke);
    cases.push_back(step_case({"threshold", StepKind::kThreshold}, list, {}));
    cases.push_back(step_case({"frozen", StepKind::kPlain, true}, list, {ZeroPlaces::kRandom, 90}));
  }
  for (const char* name : {"25m_161", "64m"}) {
    const ListShape list = make_list(name, room.smoke);
    for (const Zeros& zeros : patterns_of(list, room.smoke, "64m")) {
      cases.push_back(skipping_case("plain_skipping", StepKind::kPlain, list, zeros));
      cases.push_back(skipping_case("momentum_skipping", StepKind::kMomentum, list, zeros));
    }
  }
  for (const Dtype dtype : {Dtype::kFloat64, Dtype::kBfloat16, Dtype::kFloat16}) {
    for (StepVariant variant : {variants[0], variants[1]}) {
      variant.dtype = dtype;
      for (const char* name : kStepLists) {
        cases.push_back(step_case(variant, make_list(name, room.smoke), {}));
      }
      cases.push_back(
          step_case(variant, make_list("25m_161", room.smoke), {ZeroPlaces::kRandom, 90}));
    }
  }
  return cases;
}

}  // namespace cuthresh::bench
