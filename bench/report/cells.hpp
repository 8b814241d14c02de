#pragma once

// A report as grids, which the table for a terminal and the one in Markdown are made of.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/core/result.hpp"
#include "bench/report/compare.hpp"
#include "bench/report/text.hpp"

namespace cuthresh::bench {

/// The rate that says most about a row: GB/s where it has a ceiling or does no arithmetic to speak
/// of, else GFLOP/s.
struct Rate {
  double value = 0.0;  ///< 0: the row has neither
  std::string unit;
};
Rate rate_of(const Row& row);

/// "cold" or "warm".
std::string cache_name(bool cold);

/// What was measured where: names and values, e.g. {"processor", "…, 8 cores"}.
std::vector<std::pair<std::string, std::string>> machine_facts(const Report& report);

inline constexpr std::string_view kSmokeNote =
    "Smoke run: small sizes and few samples. Its times mean nothing.";

/// The report's groups in the order of their first rows.
std::vector<std::pair<std::string, std::vector<const Row*>>> groups_of(const Report& report);

/// What a group's grid shows for a row's name: without the group, which stands above.
std::string short_name(const Row& row);

Grid ceilings_grid(const Report& report);
Grid group_grid(const std::string& group, const std::vector<const Row*>& rows);
Grid comparison_grid(const Comparison& comparison);
/// A line each: what was compared, and how it came out.
std::string comparison_title(const Comparison& comparison);
std::string comparison_verdict(const Comparison& comparison);

}  // namespace cuthresh::bench
