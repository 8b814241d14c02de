#pragma once

// One report held against an earlier one.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/core/result.hpp"

namespace cuthresh::bench {

enum class Verdict : std::uint8_t {
  kNoDifference,  ///< inside the noise
  kFaster,
  kSlower,
  kNoiseUnknown  ///< a side was measured once only
};

/// "no difference", "faster", "slower", "noise unknown".
std::string_view name_of(Verdict verdict);

/// A row that both reports have.
struct Compared {
  std::string name;
  bool cold = false;
  double before_us = 0.0;  ///< medians
  double now_us = 0.0;
  double ratio = 0.0;      ///< now / before of the medians: above 1 is slower
  double min_ratio = 0.0;  ///< of the minima, which other processes disturb least
  double floor = 0.0;      ///< noise: a ratio up to 1 + floor, or down to its inverse
  Verdict verdict = Verdict::kNoiseUnknown;
};

/// A row that one report has.
struct OneSided {
  std::string name;
  bool cold = false;
};

struct Comparison {
  std::string before;                 ///< which run: version, commit, date
  double slower_factor = 0.0;         ///< as given to compare()
  std::vector<std::string> warnings;  ///< what else differs between the two runs
  std::vector<Compared> rows;         ///< in the order of the report of now
  std::vector<OneSided> only_before;
  std::vector<OneSided> only_now;

  /// A row is slower, beyond its noise, and its ratio is above `factor`.
  bool any_slower_than(double factor) const;
};

/// Matches rows by name and cache state. A row's floor is the largest of 2 %, its noise in either
/// report and three standard deviations of all noise in either report; it also has no difference
/// when the two medians of one report are not both above, or both below, those of the other.
/// Throws InputError when slower_factor is not a finite number of at least 1.
Comparison compare(const Report& before, const Report& now, double slower_factor);

}  // namespace cuthresh::bench
