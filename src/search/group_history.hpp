#pragma once

// What the trainings so far say about one group: which λ were tried, what they counted, and the
// bracket that follows. Pure data; the order of events is LambdaSearch's business.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace cuthresh::search {

/// An open interval of λ. lo ≥ hi says that the counts contradict each other.
struct Interval {
  float lo = 0.0f;
  float hi = 0.0f;
  bool operator==(const Interval&) const = default;
};

/// The float nearest the geometric mean of a < b that lies strictly between them; none when they
/// are neighbours. For a = 0 and b > 1e-12 the mean is taken with 1e-13 in place of 0, below that
/// it is b/2.
std::optional<float> log_middle(float a, float b);

/// Up to n floats strictly inside these gaps, all different, ascending. Each gap in turn is the one
/// that is widest, in log λ, as divided so far, and gets one more; those of a gap divide it evenly.
/// So no n others leave a smaller widest gap. Fewer than n where there are no more floats.
std::vector<float> divided(const std::vector<Interval>& gaps, std::size_t n);

class GroupHistory {
 public:
  /// Counts in [met_lo, met_hi] meet `target`. With `interacts` (several groups) the other groups'
  /// λ move this group's counts, so the newest count wins: it makes the history forget every older
  /// count that contradicts it (fewer nonzeros at a smaller λ, more at a larger one), and what is
  /// left is monotone.
  GroupHistory(std::int64_t target, std::int64_t met_lo, std::int64_t met_hi, bool interacts)
      : target_(target), met_lo_(met_lo), met_hi_(met_hi), interacts_(interacts) {}

  /// A training at λ ended with nnz. A λ tried before takes the new count.
  void add(float lambda, std::int64_t nnz);
  /// A training at λ diverged. It says nothing about counts, but that λ is not worth another try.
  void add_diverged(float lambda);

  bool above(std::int64_t nnz) const { return nnz > met_hi_; }
  bool below(std::int64_t nnz) const { return nnz < met_lo_; }
  bool meets(std::int64_t nnz) const { return nnz >= met_lo_ && nnz <= met_hi_; }

  /// The ends that trainings confirmed first: nothing outside is ever proposed again.
  void confirm_lo(float lambda);
  void confirm_hi(float lambda);
  bool lo_confirmed() const { return outer_lo_.has_value(); }
  bool hi_confirmed() const { return outer_hi_.has_value(); }
  float outer_lo() const { return *outer_lo_; }
  float outer_hi() const { return *outer_hi_; }

  /// The paper's rule. lower: the largest λ among those with the smallest nnz ≥ target; upper: the
  /// smallest λ among those with the largest nnz ≤ target; the confirmed end when no count is left.
  std::optional<float> lower() const;
  std::optional<float> upper() const;

  /// Both of them. Both ends must be confirmed.
  Interval rule_bracket() const { return {lower().value(), upper().value()}; }

  /// The bracket of the paper's rule when it still holds an untried float. Otherwise, where the
  /// history is not monotone or groups interact, the nearest enclosing pair of tried λ that holds
  /// one, never outside the confirmed ends; else nothing. Both ends must be confirmed.
  std::optional<Interval> searchable() const;

  /// What the latest training at λ counted, forgotten or not; none where none went well.
  std::optional<std::int64_t> count(float lambda) const;

  /// The λ, tried last, whose count meets the target (with `interacts`, the count must not be
  /// forgotten).
  std::optional<float> meeting_lambda() const;
  /// The λ whose count came nearest the target.
  std::optional<float> nearest_lambda() const;

  /// Whether `lambda` may be tried next: strictly inside, untried, and not enclosed by diverged
  /// neighbours.
  bool acceptable(float lambda, Interval bracket) const;
  /// The middle, in log λ, of the widest gap between tried λ inside the bracket, preferring gaps
  /// that touch a training that did not diverge; of equal gaps the upper. None when no float is
  /// left.
  std::optional<float> widest_gap_middle(Interval bracket) const;

  /// Up to n untried λ inside the bracket that divide it, with those tried and those `taken`, as
  /// evenly as they can (divided()). Gaps between two that diverged only where there are no others.
  std::vector<float> dividing(Interval bracket, const std::vector<float>& taken,
                              std::size_t n) const;
  /// Between the nearest tried λ below and above; λ itself where there is none.
  Interval untried_around(float lambda) const;

  /// The nearest λ above or below that trained well, or that diverged, if any.
  std::optional<float> good_above(float lambda) const { return nearest_above(lambda, false); }
  std::optional<float> good_below(float lambda) const { return nearest_below(lambda, false); }
  std::optional<float> diverged_above(float lambda) const { return nearest_above(lambda, true); }
  std::optional<float> diverged_below(float lambda) const { return nearest_below(lambda, true); }

  /// Drops the count at `lambda` from the bracket rule; the λ stays tried. False when there is none
  /// to drop, or it is one of the ends confirmed first, beyond which the bracket cannot go.
  bool forget(float lambda);

 private:
  struct Entry {
    float lambda = 0.0f;
    std::int64_t nnz = 0;
    std::int64_t order = 0;
    bool diverged = false;
    bool forgotten = false;
  };

  std::optional<float> nearest_above(float lambda, bool diverged) const;
  std::optional<float> nearest_below(float lambda, bool diverged) const;
  Entry& entry(float lambda);
  bool usable(const Entry& e) const;
  bool monotone() const;
  Interval step_out(Interval bracket) const;

  std::int64_t target_;
  std::int64_t met_lo_;
  std::int64_t met_hi_;
  bool interacts_;
  std::vector<Entry> entries_;  // ascending λ, each once
  std::int64_t order_ = 0;
  std::optional<float> outer_lo_;
  std::optional<float> outer_hi_;
};

}  // namespace cuthresh::search
