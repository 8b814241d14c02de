// The steps that a one-run training has beside plain ones: λ from the counts, and the finish.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "bench/cases/cases.hpp"
#include "bench/cases/lists.hpp"
#include "kernels/math/step.hpp"

namespace cuthresh::bench {
namespace {

constexpr float kFinishAlpha = 0.01f;
constexpr float kFinishLambda = 1.0f;
constexpr std::int64_t kRampSteps = 1000;

/// Whose numbers are prescribed. All ask for half of the weights.
enum class Sharing : std::uint8_t {
  kLayers,  ///< each tensor's own
  kAll,     ///< one in all
  kBounded  ///< one in all, with a fewest and a most a tensor
};

std::string name_of(Sharing sharing) {
  return sharing == Sharing::kLayers ? "per_layer" : sharing == Sharing::kAll ? "total" : "bounded";
}

std::vector<ControlTarget> targets_of(const ListShape& list, Sharing sharing) {
  std::vector<ControlTarget> targets;
  const auto half = [](std::int64_t size) { return static_cast<std::uint64_t>((size + 1) / 2); };
  for (std::size_t t = 0; t < list.sizes.size(); ++t) {
    if (t == 0 || sharing == Sharing::kLayers) {
      targets.emplace_back();
      targets.back().lambda = kFinishLambda;
    }
    ControlTarget& target = targets.back();
    target.groups.push_back(static_cast<std::int32_t>(t));
    target.target += half(list.sizes[t]);
    if (sharing != Sharing::kBounded) continue;
    // Every third has to keep more than it would, every third less; so little more and less that
    // the others can make up for it, however large one of them is.
    const auto size = static_cast<std::uint64_t>(list.sizes[t]);
    target.least.push_back(t % 3 == 0 ? std::max<std::uint64_t>(1, size * 9 / 16) : 0);
    target.most.push_back(t % 3 == 1 ? std::max<std::uint64_t>(1, size * 7 / 16) : size);
  }
  return targets;
}

ControlRule half_way_rule() {
  ControlRule rule;
  rule.ramp_end = kRampSteps;
  rule.integral = 0.03f;
  rule.proportional = 1.0f;
  rule.range = 20.0f;
  return rule;
}

/// A list under control, in the middle of its ramp.
class ControlledList {
 public:
  ControlledList(const Room& room, const ListShape& list, const ListSource& source, Sharing sharing)
      : room_(room), buffers_(room.backend, list, true, true, false) {
    upload_list(room, list, source, buffers_);
    plan_ = room.backend.make_plan(tensors_of(list, buffers_.w.data(), buffers_.g.data()),
                                   list.tensors());
    room.backend.set_rate(*plan_, {kFinishAlpha});
    targets_ = targets_of(list, sharing);
    state_.steps = kRampSteps / 2;
    state_.lambda = lambdas_of(list, kFinishLambda);
    state_.log_integral.assign(targets_.size(), 0.0f);
    begin();
  }

  void begin() {
    room_.backend.set_stop(*plan_, {});
    room_.backend.set_control(*plan_, half_way_rule(), targets_);
    room_.backend.restore_control(*plan_, state_);
  }
  void refill(const ListShape& list, const ListSource& source) {
    upload_list(room_, list, source, buffers_);
  }
  ProxPlan& plan() { return *plan_; }
  const std::vector<ControlTarget>& targets() const { return targets_; }
  const std::vector<float>& lambda() const { return state_.lambda; }
  const float* weights() const { return buffers_.w.data(); }

 private:
  Room room_;
  ListBuffers buffers_;
  std::unique_ptr<ProxPlan> plan_;
  std::vector<ControlTarget> targets_;
  ControlState state_;
};

/// λ of every target by the rule as docs/one-run.md has it, in float64.
std::vector<double> controlled_in_double(const ListShape& list,
                                         const std::vector<ControlTarget>& targets,
                                         const std::vector<std::uint64_t>& nnz, double share_left) {
  const ControlRule rule = half_way_rule();
  std::vector<double> lambda;
  for (const ControlTarget& target : targets) {
    double size = 0.0;
    double count = 0.0;
    for (const std::int32_t group : target.groups) {
      size += static_cast<double>(list.sizes[static_cast<std::size_t>(group)]);
      count += static_cast<double>(nnz[static_cast<std::size_t>(group)]);
    }
    const auto wanted_at_end = static_cast<double>(target.target);
    const double end = std::min(1.1 * wanted_at_end, size);
    const double wanted = end + (size - end) * share_left;
    const double error = std::clamp(std::log(std::max(count, 1.0) / wanted), -1.0, 1.0);
    const double integral = static_cast<double>(rule.integral) * error;
    lambda.push_back(wanted_at_end >= size
                         ? 0.0
                         : std::exp(integral + static_cast<double>(rule.proportional) * error));
  }
  return lambda;
}

/// λ from the counts, once.
class ControlWorkload final : public Workload {
 public:
  ControlWorkload(const Room& room, const ListShape& shape, Sharing sharing)
      : room_(room),
        shape_(shape),
        source_(shape, {ZeroPlaces::kRandom, 50}),
        list_(room, shape, source_, sharing) {
    reset();
  }

  std::string check() override {
    list_.refill(shape_, source_);
    reset();
    const std::vector<std::uint64_t> nnz = room_.backend.read_nonzeros(list_.plan());
    call(0);
    // The step that gave the counts was number half + 1 of the ramp.
    const double left = static_cast<double>(kRampSteps - kRampSteps / 2 - 1) / kRampSteps;
    const auto want = controlled_in_double(shape_, list_.targets(), nnz, left);
    const std::vector<float> got = room_.backend.read_lambda(list_.plan());
    for (std::size_t t = 0; t < want.size(); ++t) {
      for (const std::int32_t group : list_.targets()[t].groups) {
        const auto have = static_cast<double>(got[static_cast<std::size_t>(group)]);
        if (std::abs(have - want[t]) <= 1e-5 * want[t]) continue;
        throw CheckFailed(
            fmt::format("λ of tensor {} is {:.9g}, expected {:.17g}", group, have, want[t]));
      }
    }
    reset();
    return fmt::format("λ of {} by the controller in float64", shape_.text());
  }
  /// One step, outside the time: a call reads its counts.
  void reset() override {
    list_.begin();
    room_.backend.prox_step(list_.plan());
  }
  void call(std::int64_t /*set*/) override { room_.backend.control(list_.plan()); }
  void check_after(std::int64_t /*calls*/) override {
    for (const float lambda : room_.backend.read_lambda(list_.plan())) {
      if (std::isfinite(lambda) && lambda >= 0.0f) continue;
      throw CheckFailed(fmt::format("λ became {}", lambda));
    }
  }

 private:
  Room room_;
  ListShape shape_;
  ListSource source_;
  ControlledList list_;
};

/// z = w − αg, one rounding, and what of it is to stay.
struct Survivors {
  std::vector<float> z;               // of the whole list, in its order, without gaps
  std::vector<std::int64_t> begin;    // of a tensor in z; and the end of the last
  std::vector<std::int64_t> by_size;  // places of a tensor's z, the largest first, of equal ones
                                      // the first first

  Survivors(const Room& room, const ListShape& list, const ListSource& source) {
    ListValues block = source.make_block(list.extent, false);
    begin.push_back(0);
    for (const std::int64_t size : list.sizes) begin.push_back(begin.back() + size);
    for_blocks(list, [&](const ListPiece& piece) {
      source.fill(piece.first, piece.count, block, room.threads);
      for (std::size_t i = 0; i < static_cast<std::size_t>(piece.count); ++i)
        z.push_back(PlainStep<float>{{kFinishAlpha}}(block.w[i], block.g[i]));
    });
    by_size.resize(z.size());
    std::iota(by_size.begin(), by_size.end(), 0);
    for (std::size_t t = 0; t + 1 < begin.size(); ++t) sort_part(begin[t], begin[t + 1]);
  }
  float magnitude(std::int64_t place) const { return std::abs(z[static_cast<std::size_t>(place)]); }
  void sort_part(std::int64_t first, std::int64_t end) {
    std::sort(by_size.begin() + first, by_size.begin() + end,
              [this](std::int64_t a, std::int64_t b) {
                return magnitude(a) != magnitude(b) ? magnitude(a) > magnitude(b) : a < b;
              });
  }
  /// Of tensor t those with a magnitude of at least m.
  std::uint64_t reaching(std::size_t t, float m) const {
    const auto first = by_size.begin() + begin[t];
    const auto end = by_size.begin() + begin[t + 1];
    return static_cast<std::uint64_t>(
        std::partition_point(first, end, [&](std::int64_t p) { return magnitude(p) >= m; }) -
        first);
  }
};

/// How many each tensor keeps: the definition of docs/one-run.md by bisection over the magnitudes.
std::vector<std::uint64_t> numbers_kept(const Survivors& all, const ControlTarget& target) {
  const auto kept_from = [&](std::size_t i, float m) {
    const auto t = static_cast<std::size_t>(target.groups[i]);
    const std::uint64_t reaching = all.reaching(t, m);
    if (target.least.empty()) return reaching;
    return std::clamp(reaching, target.least[i], target.most[i]);
  };
  const auto all_kept = [&](float m) {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < target.groups.size(); ++i) sum += kept_from(i, m);
    return sum;
  };
  std::vector<float> sorted;
  for (const std::int32_t group : target.groups) {
    const auto t = static_cast<std::size_t>(group);
    for (std::int64_t p = all.begin[t]; p < all.begin[t + 1]; ++p)
      sorted.push_back(all.magnitude(p));
  }
  std::sort(sorted.begin(), sorted.end());
  // The largest magnitude from which on the target is kept.
  const auto above = std::partition_point(sorted.begin(), sorted.end(),
                                          [&](float m) { return all_kept(m) >= target.target; });
  const float at = *std::prev(above);
  std::vector<std::uint64_t> kept;
  for (std::size_t i = 0; i < target.groups.size(); ++i) kept.push_back(kept_from(i, at));
  std::uint64_t too_many = all_kept(at) - target.target;
  for (std::size_t i = kept.size(); i-- > 0 && too_many > 0;) {
    const std::uint64_t spare = kept[i] - kept_from(i, std::nextafter(at, INFINITY));
    const std::uint64_t less = std::min(spare, too_many);
    kept[i] -= less;
    too_many -= less;
  }
  return kept;
}

/// A step of the finish.
class KeepWorkload final : public Workload {
 public:
  KeepWorkload(const Room& room, const ListShape& shape, Sharing sharing)
      : room_(room), shape_(shape), source_(shape, {}), list_(room, shape, source_, sharing) {}

  std::string check() override {
    list_.refill(shape_, source_);
    reset();
    call(0);
    const Survivors survivors(room_, shape_, source_);
    std::vector<float> w(static_cast<std::size_t>(shape_.extent));
    room_.backend.download(w.data(), list_.weights(), w.size() * sizeof(float));
    for (const ControlTarget& target : list_.targets()) {
      const std::vector<std::uint64_t> kept = numbers_kept(survivors, target);
      for (std::size_t i = 0; i < kept.size(); ++i)
        compare(survivors, static_cast<std::size_t>(target.groups[i]), kept[i], w);
    }
    check_after(1);
    reset();
    return fmt::format("the largest half of {} by sorting, their values in float64", shape_.text());
  }
  void reset() override { list_.begin(); }
  void call(std::int64_t /*set*/) override { room_.backend.keep_targets(list_.plan()); }
  void check_after(std::int64_t /*calls*/) override {
    const StepStatus& status = room_.backend.read_status(list_.plan());
    for (const ControlTarget& target : list_.targets()) {
      std::uint64_t nnz = 0;
      for (const std::int32_t group : target.groups)
        nnz += status.nnz[static_cast<std::size_t>(group)];
      if (nnz == target.target) continue;
      throw CheckFailed(fmt::format("{} weights were kept, expected {}", nnz, target.target));
    }
  }

 private:
  void compare(const Survivors& all, std::size_t t, std::uint64_t kept,
               const std::vector<float>& w) const {
    const double threshold =
        static_cast<double>(kFinishAlpha) * static_cast<double>(list_.lambda()[t]);
    for (std::int64_t i = all.begin[t]; i < all.begin[t + 1]; ++i) {
      const std::int64_t place = all.by_size[static_cast<std::size_t>(i)];
      const auto z = static_cast<double>(all.z[static_cast<std::size_t>(place)]);
      const bool stays = static_cast<std::uint64_t>(i - all.begin[t]) < kept;
      // Every |z| is far above the threshold, so none is shrunk by less.
      const double want = stays ? std::copysign(std::abs(z) - threshold, z) : 0.0;
      const auto got = static_cast<double>(
          w[static_cast<std::size_t>(shape_.offsets[t] + place - all.begin[t])]);
      if (std::abs(got - want) <= 0x1p-23 * std::abs(want)) continue;
      throw CheckFailed(fmt::format("tensor {}, entry {}: {:.9g}, expected {:.17g}", t,
                                    place - all.begin[t], got, want));
    }
  }

  Room room_;
  ListShape shape_;
  ListSource source_;
  ControlledList list_;
};

template <class Made>
Case controlled_case(const std::string& what, const std::string& text, const ListShape& list,
                     Sharing sharing) {
  Case c;
  c.name = fmt::format("one_run/{}/{}/{}", what, name_of(sharing), list.name);
  c.what = fmt::format("{}: {}", text, list.text());
  c.set_bytes = 2 * list.buffer_bytes();
  c.make = [list, sharing](const Room& room, std::int64_t /*sets*/) {
    return std::make_unique<Made>(room, list, sharing);
  };
  c.lacks = [](const Room& room) { return room.backend.unsupported(Operation::kSelect); };
  return c;
}

}  // namespace

std::vector<Case> one_run_cases(const Room& room) {
  std::vector<Case> cases;
  for (const char* name : {"25k_4", "687k_5", "25m_161"}) {
    const ListShape list = make_list(name, room.smoke);
    for (const Sharing sharing : {Sharing::kLayers, Sharing::kAll}) {
      cases.push_back(
          controlled_case<ControlWorkload>("control", "λ from the counts", list, sharing));
    }
    for (const Sharing sharing : {Sharing::kLayers, Sharing::kAll, Sharing::kBounded}) {
      Case c = controlled_case<KeepWorkload>(
          "keep_targets", "a step that leaves exactly half of the weights", list, sharing);
      // The step, and at the least a read for the selection and a read and a write for the cut.
      c.work.bytes = 24.0 * static_cast<double>(list.weights);
      c.traffic = Traffic::kStream;
      c.more_bytes = 5 * list.buffer_bytes();  // the check's
      cases.push_back(c);
    }
  }
  return cases;
}

}  // namespace cuthresh::bench
