// What the λ search promises whatever nnz(λ) looks like: monotone, with plateaus, jittering,
// contradictory, with groups that move each other, with λ that diverge; with medians from anywhere
// inside the interval.

#include <rapidcheck.h>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <optional>
#include <random>
#include <set>
#include <vector>

#include "search/search.hpp"

namespace cuthresh::search {
namespace {

// Fixed unless RC_PARAMS is given; a failure prints the configuration that reproduces it.
const int kSeeded = setenv("RC_PARAMS", "seed=20240806 max_success=2000", 0);

std::uint64_t mix(std::uint64_t x) {  // splitmix64's finaliser
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

double unit(std::uint64_t x) {
  return static_cast<double>(mix(x) >> 11) * 0x1p-53;
}

enum class Shape { kMonotone, kPlateaus, kJitter, kRandom };

/// A synthetic training: counts as a function of λ alone, the same whenever it is asked.
struct World {
  Shape shape = Shape::kMonotone;
  double coupling = 0.0;  // how much one group's λ scales the others' counts
  int diverging = 0;      // of 8 slices of log λ that diverge; 8: everything
  std::uint64_t seed = 0;
  std::vector<std::int64_t> numel;
  std::vector<double> scale;  // λ at which half the weights are left

  double place(std::size_t g, float lambda) const {
    return lambda == 0.0f ? -30.0 : std::log(double{lambda} / scale[g]);
  }

  bool diverges(const std::vector<float>& lambda) const {
    if (diverging == 0) return false;
    const auto slice = static_cast<std::int64_t>(std::floor(place(0, lambda[0]) / 1.5));
    return mix(seed ^ std::bit_cast<std::uint64_t>(slice)) % 8 <
           static_cast<std::uint64_t>(diverging);
  }

  std::vector<std::int64_t> counts(const std::vector<float>& lambda) const {
    std::vector<std::int64_t> nnz;
    for (std::size_t g = 0; g < numel.size(); ++g) {
      const std::uint64_t bits = mix(seed + g) ^ std::bit_cast<std::uint32_t>(lambda[g]);
      double share = 1.0 / (1.0 + std::exp(place(g, lambda[g])));
      if (shape == Shape::kPlateaus) share = std::round(share * 6.0) / 6.0;
      if (shape == Shape::kJitter) share *= 0.95 + 0.1 * unit(bits);
      if (shape == Shape::kRandom) share = unit(bits);
      for (std::size_t h = 0; h < numel.size(); ++h) {
        if (h != g) share *= 1.0 + coupling * std::tanh(place(h, lambda[h]));
      }
      const double count = std::round(share * static_cast<double>(numel[g]));
      nnz.push_back(std::clamp(static_cast<std::int64_t>(count), std::int64_t{0}, numel[g]));
    }
    return nnz;
  }
};

struct Case {
  Settings settings;
  World world;
  int pivots = 0;  // 0: never one; 1: anywhere inside; 2: next to an end; 3: a mixture with none
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  out << "pivot " << static_cast<int>(c.settings.pivot) << ", medians " << c.pivots << ", λ ["
      << c.settings.lambda_lo << ", " << c.settings.lambda_hi << "], tolerance "
      << c.settings.tolerance << ", required " << c.settings.groups_required << ", rounds "
      << c.settings.max_rounds << ", parallel " << c.settings.parallel << ", shape "
      << static_cast<int>(c.world.shape) << ", coupling " << c.world.coupling << ", diverging "
      << c.world.diverging << ", seed " << c.world.seed;
  for (std::size_t g = 0; g < c.world.numel.size(); ++g) {
    out << "; group " << g << ": " << c.settings.targets[g] << " of " << c.world.numel[g] << " at "
        << c.world.scale[g];
  }
  return out;
}

Case draw_case() {
  Case c;
  const auto groups = *rc::gen::inRange<std::size_t>(1, 5);
  c.world.seed = *rc::gen::arbitrary<std::uint32_t>();
  c.world.shape =
      *rc::gen::element(Shape::kMonotone, Shape::kPlateaus, Shape::kJitter, Shape::kRandom);
  c.world.coupling = *rc::gen::element(0.0, 0.0, 0.1, -0.3, 0.6);
  c.world.diverging = *rc::gen::element(0, 0, 0, 1, 3, 8);
  for (std::size_t g = 0; g < groups; ++g) {
    c.world.numel.push_back(*rc::gen::element<std::int64_t>(1, 10, 1000, 100000));
    c.world.scale.push_back(std::pow(10.0, *rc::gen::inRange(-9, 2)));
    c.settings.targets.push_back(*rc::gen::inRange<std::int64_t>(0, c.world.numel[g] + 2));
  }
  const int hi = *rc::gen::inRange(-8, 4);
  const int decades = *rc::gen::inRange(0, 7);
  c.settings.lambda_hi = static_cast<float>(std::pow(10.0, hi));
  c.settings.lambda_lo = decades == 6   ? 0.0f
                         : decades == 0 ? std::nextafter(c.settings.lambda_hi, 0.0f)
                                        : static_cast<float>(std::pow(10.0, hi - decades));
  c.settings.pivot =
      *rc::gen::element(Pivot::kGradientMedian, Pivot::kLogMidpoint, Pivot::kInterpolate);
  c.settings.tolerance = *rc::gen::element(0.0, 0.001, 0.05);
  c.settings.groups_required = *rc::gen::inRange<std::int64_t>(0, static_cast<int>(groups) + 1);
  c.settings.max_rounds = *rc::gen::inRange<std::int64_t>(1, 80);
  if (groups == 1) c.settings.parallel = *rc::gen::element<std::int64_t>(1, 1, 2, 3, 4, 9);
  c.pivots = *rc::gen::inRange(0, 4);
  return c;
}

/// A float strictly inside the query, or none; by `kind` as in Case::pivots.
std::optional<float> median_inside(const PivotQuery& query, int kind, std::uint64_t random) {
  const float first = std::nextafter(query.lo, query.hi);
  const float last = std::nextafter(query.hi, query.lo);
  if (!query.wanted || kind == 0 || first == query.hi) return std::nullopt;
  if (kind == 3 && random % 3 == 0) return std::nullopt;
  if (kind == 2) return random % 2 == 0 ? first : last;
  const double at = double{query.lo} + unit(random) * (double{query.hi} - double{query.lo});
  return std::clamp(static_cast<float>(at), first, last);
}

/// The λ at which a training counted at least (at most) the target or met it, outermost.
struct Outer {
  float lo = 0.0f;
  float hi = 0.0f;
};

class Follower {
 public:
  explicit Follower(const Case& c) : case_(c), search_(c.settings), outer_(c.world.numel.size()) {}

  /// Runs to the end, checking at each step what must hold there.
  const LambdaSearch& run() {
    std::int64_t rounds = 0;
    std::int64_t pivots = 0;
    while (search_.phase() != Phase::kDone) {
      if (search_.phase() == Phase::kTrain) {
        RC_ASSERT(++rounds <= case_.settings.max_rounds);
        train();
        RC_ASSERT(search_.probes().back().round == rounds);
      } else {
        RC_ASSERT(++pivots <= rounds);
        answer();
      }
    }
    RC_ASSERT(search_.probes().size() == tried_.size());
    RC_ASSERT(!search_.reason().empty());
    return search_;
  }

 private:
  void train() {
    const std::vector<std::vector<float>> candidates = search_.candidates();
    RC_ASSERT(candidates.front() == search_.lambda());
    RC_ASSERT(static_cast<std::int64_t>(candidates.size()) <= case_.settings.parallel);
    std::vector<Report> reports;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      reports.push_back(train(candidates[i], i > 0));
    }
    const auto before = search_.best();
    const bool kept = search_.report_round(reports);
    RC_ASSERT(kept == (search_.best() != before));
    const std::size_t first = search_.probes().size() - reports.size();
    if (kept) RC_ASSERT(*search_.best() == first + search_.nearest());
    RC_ASSERT(!(kept && reports[search_.nearest()].diverged));
    for (std::size_t g = 0; g < outer_.size(); ++g) note_confirmed(g);
  }

  Report train(const std::vector<float>& lambda, bool beside) {
    RC_ASSERT(lambda.size() == outer_.size());
    for (std::size_t g = 0; g < lambda.size(); ++g) {
      RC_ASSERT(std::isfinite(lambda[g]));
      RC_ASSERT(lambda[g] >= 0.0f);
      if (outer_[g]) {
        RC_ASSERT(lambda[g] >= outer_[g]->lo);
        RC_ASSERT(lambda[g] <= outer_[g]->hi);
        if (beside) RC_ASSERT(lambda[g] > outer_[g]->lo && lambda[g] < outer_[g]->hi);
      }
    }
    RC_ASSERT(tried_.insert(lambda).second);
    const bool diverged = case_.world.diverges(lambda);
    auto nnz = case_.world.counts(lambda);
    if (diverged) nnz = case_.settings.targets;  // bait: a diverged count must not be believed
    return {nnz, diverged};
  }

  void answer() {
    std::vector<std::optional<float>> medians;
    bool any = false;
    for (const PivotQuery& query : search_.queries()) {
      any = any || query.wanted;
      if (query.wanted) RC_ASSERT(query.lo < query.hi);
      medians.push_back(median_inside(query, case_.pivots, mix(case_.world.seed + ++random_)));
    }
    RC_ASSERT(any);
    search_.report_pivot(medians);
  }

  void note_confirmed(std::size_t g) {
    const auto bracket = search_.confirmed(g);
    const std::int64_t target = case_.settings.targets[g];
    const CountBand band = make_band(target, case_.settings.tolerance);
    const auto least = static_cast<std::int64_t>(band.lo);
    const auto most = static_cast<std::int64_t>(band.hi);
    std::optional<float> lo;
    std::optional<float> hi;
    bool at_lo = false;
    bool at_hi = false;
    for (const Probe& probe : search_.probes()) {
      if (probe.diverged) continue;
      const float l = probe.lambda[g];
      if (probe.nnz[g] >= std::min(target, least)) {
        lo = lo ? std::min(*lo, l) : l;
        at_lo = at_lo || bracket.lo == l;
      }
      if (probe.nnz[g] <= std::max(target, most)) {
        hi = hi ? std::max(*hi, l) : l;
        at_hi = at_hi || bracket.hi == l;
      }
    }
    // An end is confirmed only by a training that went well and counted on its side.
    RC_ASSERT(!bracket.lo || at_lo);
    RC_ASSERT(!bracket.hi || at_hi);
    if (bracket.lo && bracket.hi && !outer_[g]) outer_[g] = Outer{*lo, *hi};
  }

  const Case& case_;
  LambdaSearch search_;
  std::set<std::vector<float>> tried_;
  std::vector<std::optional<Outer>> outer_;
  std::uint64_t random_ = 0;
};

/// The best by the definition: met, then the distance, then the sum, then the earlier.
std::optional<std::size_t> best_by_definition(const Case& c, const std::vector<Probe>& probes,
                                              bool& met) {
  struct Key {
    bool missed;
    double distance;
    double sum;
    std::size_t index;
    auto operator<=>(const Key&) const = default;
  };
  std::optional<Key> best;
  for (std::size_t i = 0; i < probes.size(); ++i) {
    if (probes[i].diverged) continue;
    std::multiset<double> misses;
    std::int64_t meeting = 0;
    double sum = 0.0;
    for (std::size_t g = 0; g < c.settings.targets.size(); ++g) {
      const std::int64_t target = c.settings.targets[g];
      const auto miss = static_cast<double>(std::abs(probes[i].nnz[g] - target));
      if (miss <= c.settings.tolerance * static_cast<double>(target) + 1e-9) ++meeting;
      misses.insert(miss / static_cast<double>(std::max<std::int64_t>(target, 1)));
      sum += miss / static_cast<double>(std::max<std::int64_t>(target, 1));
    }
    const std::int64_t required = c.settings.groups_required == 0
                                      ? static_cast<std::int64_t>(misses.size())
                                      : c.settings.groups_required;
    const Key key{meeting < required, *std::next(misses.begin(), required - 1), sum, i};
    if (!best || key < *best) best = key;
  }
  met = best && !best->missed;
  return best ? std::optional(best->index) : std::nullopt;
}

RC_GTEST_PROP(SearchProperty, EndsInBudgetInsideTheConfirmedBracketWithoutRepeats, ()) {
  const Case c = draw_case();
  RC_LOG() << c << "\n";
  Follower follower(c);
  const LambdaSearch& search = follower.run();
  bool met = false;
  RC_ASSERT(search.best() == best_by_definition(c, search.probes(), met));
  RC_ASSERT(search.met() == met);
  const auto& probes = search.probes();
  for (const Probe& p : probes) RC_ASSERT(!p.met || p.round == probes.back().round);
  const bool budget_left = probes.back().round < c.settings.max_rounds;
  if (!met && budget_left && c.world.shape == Shape::kMonotone && c.world.diverging == 0 &&
      c.world.numel.size() == 1) {
    // An early end of a search for one group on a monotone curve has only two reasons: no bracket,
    // or none left. Either is provable from the probes.
    const auto bracket = search.confirmed(0);
    RC_ASSERT(!bracket.lo || !bracket.hi ||
              std::nextafter(*bracket.lo, *bracket.hi) == *bracket.hi);
  }
}

RC_GTEST_PROP(SearchProperty, IsAPureFunctionOfItsReports, ()) {
  const Case c = draw_case();
  RC_LOG() << c << "\n";
  Follower first(c);
  Follower second(c);
  const auto& a = first.run().probes();
  const auto& b = second.run().probes();
  RC_ASSERT(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) RC_ASSERT(a[i].lambda == b[i].lambda);
}

/// `count` weights with distinct |g|, which one survives while λ is below it: takes every count.
std::vector<float> distinct_gradients(std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> exponent(-9.0f, 1.0f);
  std::set<float> values;
  while (values.size() < count) values.insert(std::pow(10.0f, exponent(random)));
  return {values.begin(), values.end()};
}

std::int64_t survivors(const std::vector<float>& g, float lambda) {
  return g.end() - std::upper_bound(g.begin(), g.end(), lambda);
}

RC_GTEST_PROP(SearchProperty, BracketsFindAnExactTargetOnMonotoneCurves, ()) {
  const auto groups = *rc::gen::inRange<std::size_t>(1, 4);
  Settings s;
  s.pivot = *rc::gen::element(Pivot::kLogMidpoint, Pivot::kInterpolate);
  s.lambda_lo = static_cast<float>(std::pow(10.0, *rc::gen::inRange(-10, -2)));
  s.lambda_hi = s.lambda_lo * static_cast<float>(std::pow(10.0, *rc::gen::inRange(1, 6)));
  s.max_rounds = 400;
  std::vector<std::vector<float>> gradients;
  for (std::size_t g = 0; g < groups; ++g) {
    const auto count = *rc::gen::inRange<std::size_t>(1, 300);
    gradients.push_back(distinct_gradients(count, *rc::gen::arbitrary<std::uint32_t>()));
    s.targets.push_back(*rc::gen::inRange<std::int64_t>(0, static_cast<std::int64_t>(count) + 1));
  }
  LambdaSearch search(s);
  while (search.phase() != Phase::kDone) {
    RC_ASSERT(search.phase() == Phase::kTrain);
    std::vector<std::int64_t> nnz;
    for (std::size_t g = 0; g < groups; ++g) {
      nnz.push_back(survivors(gradients[g], search.lambda()[g]));
    }
    search.report_probe(nnz, false);
  }
  RC_LOG() << search.reason() << "\n";
  RC_ASSERT(search.met());
  // At most 11 widenings, then halvings of at most 2^31 floats, every third training one when
  // interpolating; several groups may undo some on the way.
  const std::size_t most = groups == 1 ? 50u : 150u;
  RC_ASSERT(search.probes().size() <= (s.pivot == Pivot::kInterpolate ? 2u * most : most));
}

RC_GTEST_PROP(SearchProperty, GradientMedianHalvesTheWeightsInTheBracket, ()) {
  const auto count = *rc::gen::inRange<std::size_t>(1, 2000);
  const auto g = distinct_gradients(count, *rc::gen::arbitrary<std::uint32_t>());
  Settings s;
  s.lambda_lo = 1e-10f;
  s.lambda_hi = 100.0f;
  s.targets = {*rc::gen::inRange<std::int64_t>(0, static_cast<std::int64_t>(count) + 1)};
  LambdaSearch search(s);
  while (search.phase() != Phase::kDone) {
    if (search.phase() == Phase::kTrain) {
      search.report_probe({survivors(g, search.lambda()[0])}, false);
      continue;
    }
    const PivotQuery query = search.queries()[0];
    const auto first = std::upper_bound(g.begin(), g.end(), query.lo);
    const auto last = std::lower_bound(g.begin(), g.end(), query.hi);
    RC_ASSERT(first < last);
    search.report_pivot({*(first + (last - first - 1) / 2)});
  }
  RC_ASSERT(search.met());
  RC_ASSERT(search.probes().size() <= 2u + static_cast<std::size_t>(std::bit_width(count)));
}

RC_GTEST_PROP(SearchProperty, GroupsThatMoveEachOtherStillMeetTheirTargets, ()) {
  Case c;
  const auto groups = *rc::gen::inRange<std::size_t>(2, 6);
  c.world.seed = *rc::gen::arbitrary<std::uint32_t>();
  c.world.shape = *rc::gen::element(Shape::kMonotone, Shape::kJitter);
  c.world.coupling = *rc::gen::element(-0.1, 0.1, 0.2);
  for (std::size_t g = 0; g < groups; ++g) {
    c.world.numel.push_back(*rc::gen::inRange<std::int64_t>(1000, 20000));
    c.world.scale.push_back(1e-5 * (1.0 + unit(c.world.seed + g)));
    c.settings.targets.push_back(c.world.numel[g] / *rc::gen::inRange(4, 20));
  }
  c.settings.tolerance = 0.05;
  c.settings.pivot = *rc::gen::element(Pivot::kLogMidpoint, Pivot::kInterpolate);
  c.settings.groups_required = static_cast<std::int64_t>(groups) - 1;
  c.settings.lambda_lo = 1e-7f;
  c.settings.lambda_hi = 1e-3f;
  c.settings.max_rounds = 100;
  RC_LOG() << c << "\n";
  Follower follower(c);
  const LambdaSearch& search = follower.run();
  RC_LOG() << search.reason() << "\n";
  RC_ASSERT(search.met());
}

}  // namespace
}  // namespace cuthresh::search
