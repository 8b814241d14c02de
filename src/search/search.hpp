#pragma once

// The search for λ (arXiv 2408.02801, Algorithms 1 and 2) as a pure state machine: it sees counts
// and order statistics, never weights, and calls nothing. Algorithm 1 is the case of one group.
//
// The ends. First a training with every group at lambda_hi, then one with every group at lambda_lo.
// A group whose count there is on the wrong side of its band has that end widened tenfold, up to
// 1e6 and down to 1e-12, then 0; the other groups stay. A failed lambda_hi is by itself a confirmed
// lower end, so the second training is left out when every group has one. A group for which no end
// straddles is pinned there while enough other groups remain; else the search ends.
//
// The rounds. The bracket of a group is the paper's: lower end the largest λ among those with the
// smallest nnz ≥ target, upper end the smallest λ among those with the largest nnz ≤ target. A new
// λ is always one that the group has not tried; where the pivot gives a tried one it is the middle,
// in log λ, of the widest gap between tried λ inside the bracket.
//
// What the paper leaves open, since nnz(λ) jitters (±5 % measured) and layers interact:
// - With several groups the newest count wins: every older count of that group that contradicts it
//   (fewer nonzeros at a smaller λ, more at a larger one) leaves the rule, so that the bracket
//   falls back to the nearest enclosing tried λ that agree with it.
// - A group whose latest count at some λ is inside its band keeps that λ (and comes back to it
//   after the ends) until the count drifts out.
// - With several groups, four misses running on one side, each at a λ drawn from the bracket, show
//   that the far end was confirmed under other λ of the other groups: it moves out to the next λ
//   tried.
// - A bracket with no untried float left steps out to the nearest enclosing pair of tried λ; with
//   one group only if its counts were not monotone. Nothing leaves the ends confirmed first.
// - After a divergence each λ that was being moved goes to the middle of the widest gap that
//   touches a training that did not diverge; a diverged end moves inward. Five in a row end the
//   search.
//
// Several at once (Settings::parallel, one group): a round has the λ that it would have alone, its
// own, and others beside it that divide what is left of the bracket evenly in log λ
// (GroupHistory::dividing). Both ends are candidates of the first round. What a round taught is
// taken together and in the order of its candidates, whichever ended first: where counts fall as λ
// grows, a bracket never shrinks less than by its own λ alone. The next pivot is found at the
// candidate that came nearest the target.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/math/stop_rule.hpp"
#include "search/group_history.hpp"
#include "search/interpolation.hpp"

namespace cuthresh::search {

/// The counts that meet a target: |nnz − target| ≤ tolerance·target, both ends included.
/// tolerance·target is taken up to 4 units in its last place, so that 0.29 of 100 is 29. Throws
/// InputError for a negative target or a tolerance outside [0, 1).
CountBand make_band(std::int64_t target, double tolerance);

enum class Pivot {
  kGradientMedian,  ///< the median of |∂L/∂w| strictly inside the bracket; if none, the midpoint
  kLogMidpoint,     ///< the geometric mean of the bracket; from 0 the midpoint
  kInterpolate,     ///< by the counts at the bracket's ends (interpolation.hpp)
  kFixed            ///< one training at the given λ
};

struct Settings {
  Pivot pivot = Pivot::kGradientMedian;
  std::vector<std::int64_t> targets;  ///< nonzeros wanted, one a group; empty only with kFixed
  double tolerance = 0.0;             ///< ρ in [0, 1)
  std::int64_t groups_required = 0;   ///< groups that must meet their target; 0: all
  float lambda_lo = 0.0f;             ///< the bracket given, 0 ≤ lo < hi; with kFixed both are λ
  float lambda_hi = 0.0f;
  std::int64_t groups = 1;  ///< with kFixed and no targets: groups to train; else targets.size()
  std::int64_t max_rounds = 100;  ///< rounds, ≥ 1
  std::int64_t parallel = 1;  ///< trainings of a round, at most; more than 1 with one group only
  /// What messages call the groups, one each; none: "group 1", "group 2" …, and nothing where there
  /// is but one.
  std::optional<std::vector<std::string>> names;
};

/// An open interval in which the median of |g| over a group's entries is wanted.
struct PivotQuery {
  bool wanted = false;
  float lo = 0.0f;
  float hi = 0.0f;
};

/// One training, as the machine remembers it.
struct Probe {
  std::int64_t round = 0;         ///< from 1
  std::vector<float> lambda;      ///< a group
  std::vector<std::int64_t> nnz;  ///< a group; meaningless when diverged
  bool diverged = false;
  bool met = false;
  /// How far from the targets: the groups_required-th smallest |nnz − target| / max(target, 1).
  double distance = 0.0;
};

/// What a training ended with.
struct Report {
  std::vector<std::int64_t> nnz;  ///< a group; says nothing when diverged
  bool diverged = false;
};

enum class Phase { kTrain, kPivot, kDone };

class LambdaSearch {
 public:
  /// Throws InputError for settings that contradict themselves.
  explicit LambdaSearch(Settings settings);

  Phase phase() const { return phase_; }

  /// kTrain: the λ of each group to train with, from the initial weights: the round's own.
  const std::vector<float>& lambda() const { return lambda_; }
  /// kTrain: all that the round trains with, its own λ first, no two of them the same: at most
  /// Settings::parallel.
  std::vector<std::vector<float>> candidates() const;

  /// kTrain → kPivot, kTrain or kDone: what each candidate's training ended with. A diverged
  /// training is a failed probe: its counts say nothing about sparsity. Returns true when
  /// nearest() is the best so far (keep its weights): one that met the target, else the least
  /// distance, then the least sum of relative misses, then the earlier. Throws InternalError in
  /// another phase, or for a wrong number of reports, of counts, or a negative one.
  bool report_round(const std::vector<Report>& reports);
  /// Of a round with one candidate.
  bool report_probe(const std::vector<std::int64_t>& nnz, bool diverged) {
    return report_round({{nnz, diverged}});
  }
  /// Which candidate of the round reported last is its best; 0 where all of them diverged.
  std::size_t nearest() const { return nearest_; }

  /// kPivot: the brackets for which order statistics at the weights of nearest() are wanted.
  const std::vector<PivotQuery>& queries() const { return queries_; }

  /// kPivot → kTrain: for each query the lower median of |g| strictly inside it, or nothing (also
  /// where no median is wanted). Throws InternalError in another phase, or for a median that is not
  /// finite or not inside its query; the state is then unchanged.
  void report_pivot(const std::vector<std::optional<float>>& medians);

  const std::vector<Probe>& probes() const { return probes_; }
  /// Index of the best probe; none before the first that did not diverge.
  std::optional<std::size_t> best() const { return best_; }
  bool met() const { return best_ && probes_[*best_].met; }
  /// kDone: why, as a sentence.
  const std::string& reason() const { return reason_; }
  /// What a user should be told (a bracket end widened, a contradiction), oldest first; empties the
  /// list.
  std::vector<std::string> take_notes();

  /// The tightest bracket of a group that trainings have confirmed: at `lo` a training ended with
  /// at least its target, at `hi` with at most (or inside the band). None while an end is not
  /// confirmed, and with kFixed.
  struct Bracket {
    std::optional<float> lo;
    std::optional<float> hi;
  };
  Bracket confirmed(std::size_t group) const;

 private:
  enum class Stage { kFixed, kHiEnd, kLoEnd, kRounds };

  struct Group {
    Group(std::int64_t wanted, const CountBand& meeting, bool interacts)
        : target(wanted),
          history(wanted, static_cast<std::int64_t>(meeting.lo),
                  static_cast<std::int64_t>(meeting.hi), interacts) {}

    std::int64_t target;
    GroupHistory history;
    float end_lambda = 0.0f;      // the end being tried
    std::optional<float> pinned;  // an end that cannot straddle: λ stays here
    std::string why_pinned;
    Interval bracket;    // where this round's λ comes from
    bool moved = false;  // this round's λ was drawn from `bracket`
    int side = 0;        // of the latest count: +1 too many, −1 too few, 0 met
    int run = 0;         // moved trainings in a row that missed on that side
    Pace pace;           // kInterpolate: how fast the bracket shrinks
    Interval noted;      // the exhausted bracket that the user was told of
  };

  // search.cpp
  void check_reports(const std::vector<Report>& reports) const;
  void score(Probe& probe) const;
  double relative_miss(std::size_t group, std::int64_t nnz) const;
  double sum_of_misses(const Probe& probe) const;
  bool better(const Probe& a, const Probe& b) const;
  bool choose_best(std::size_t first);
  void end_of_round(std::span<const Probe> round);
  std::string why_met() const;
  void finish(std::string reason);
  std::string name(std::size_t group) const;
  std::string why_budget_ended() const;

  // ends.cpp
  void settle_ends(const Probe& own);
  void settle_others(std::span<const Probe> round);
  void settle_tried_lo();
  void settle_hi(std::size_t group, float lambda, std::int64_t nnz);
  void settle_lo(std::size_t group, float lambda, std::int64_t nnz);
  void widen(std::size_t group, float lambda, std::int64_t nnz, std::optional<float> next);
  bool too_many_pinned();
  void train_ends();
  void move_ends_inward();
  static std::optional<float> widened_up(const GroupHistory& history, float lambda);
  static std::optional<float> widened_down(const GroupHistory& history, float lambda);

  // rounds.cpp
  void learn(std::span<const Probe> round);
  void learn_sides(std::size_t group, std::span<const Probe> round);
  void learn_count(std::size_t group, float lambda, std::int64_t nnz);
  void plan_round(bool diverged);
  bool move_group(std::size_t group);
  bool lambda_tried() const;
  std::optional<float> proposal(Group& group, std::optional<float> median) const;
  void draw(bool diverged, const std::vector<std::optional<float>>& medians);
  void finish_exhausted();
  /// The round's own λ is set: those beside it, inside the bracket.
  void add_others(Interval bracket);

  Settings settings_;
  Phase phase_ = Phase::kTrain;
  Stage stage_ = Stage::kHiEnd;
  std::size_t required_ = 0;  // groups that must meet their target
  std::vector<Group> groups_;
  std::vector<float> lambda_;
  std::vector<float> others_;  // of the one group
  std::vector<PivotQuery> queries_;
  std::vector<Probe> probes_;
  std::int64_t rounds_ = 0;
  std::size_t nearest_ = 0;
  std::optional<std::size_t> best_;
  int diverged_running_ = 0;  // rounds, all of each
  std::string reason_;
  std::vector<std::string> notes_;
};

}  // namespace cuthresh::search
