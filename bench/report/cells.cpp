#include "bench/report/cells.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace cuthresh::bench {
namespace {

using Align = Grid::Align;

std::string more_text(const Row& row) {
  std::string text;
  for (const auto& [name, value] : row.more) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, figure_text(value));
  }
  return text;
}

std::string joined(const std::map<std::string, std::string>& libraries) {
  std::string text;
  for (const auto& [name, version] : libraries) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, version);
  }
  return text;
}

std::string speed_text(const Ceiling& ceiling, const Timing& timing) {
  const double speed = gb_per_s(ceiling, timing);
  return speed > 0.0 ? three_digits(speed) + " GB/s" : "-";
}

// Of the speed: a machine that got slower has a negative one.
std::string drift_text(const Ceiling& ceiling) {
  const bool both = ceiling.first.median_us > 0.0 && ceiling.last.median_us > 0.0;
  return both ? change_text(ceiling.first.median_us / ceiling.last.median_us - 1.0) : "-";
}

std::string ratio_text(double ratio) {
  return std::isfinite(ratio) ? fmt::format("{:.3f}", ratio) : "-";
}

}  // namespace

Rate rate_of(const Row& row) {
  const std::optional<double> bandwidth = gb_per_s(row);
  const std::optional<double> arithmetic = gflop_per_s(row);
  if (bandwidth && (row.ceiling_gb_per_s || !arithmetic)) return {*bandwidth, "GB/s"};
  if (arithmetic) return {*arithmetic, "GFLOP/s"};
  return {};
}

std::string cache_name(bool cold) {
  return cold ? "cold" : "warm";
}

std::vector<std::pair<std::string, std::string>> machine_facts(const Report& report) {
  const Machine& m = report.machine;
  std::string version = report.version;
  if (!m.commit.empty()) version += ", commit " + m.commit;
  return {{"cuthresh", version},
          {"date", m.date},
          {"processor", fmt::format("{}, {} cores, {} memory", m.processor, m.cores,
                                    bytes_text(static_cast<double>(m.memory_bytes)))},
          {"room", fmt::format("{}, last-level cache {}", m.room,
                               bytes_text(static_cast<double>(m.cache_bytes)))},
          // A room that was asked for is its own reason.
          {"because", m.why == m.room ? "" : m.why},
          {"compiler", m.compiler},
          {"build", m.build},
          {"libraries", joined(m.libraries)}};
}

std::vector<std::pair<std::string, std::vector<const Row*>>> groups_of(const Report& report) {
  std::vector<std::pair<std::string, std::vector<const Row*>>> groups;
  for (const Row& row : report.rows) {
    auto found = std::find_if(groups.begin(), groups.end(),
                              [&](const auto& group) { return group.first == row.group; });
    if (found == groups.end()) found = groups.insert(groups.end(), {row.group, {}});
    found->second.push_back(&row);
  }
  return groups;
}

std::string short_name(const Row& row) {
  const std::string prefix = row.group + '/';
  return row.name.starts_with(prefix) ? row.name.substr(prefix.size()) : row.name;
}

Grid ceilings_grid(const Report& report) {
  Grid grid({{"ceiling", Align::kLeft},
             {"cache", Align::kLeft},
             {"buffers"},
             {"before"},
             {"after"},
             {"drift"},
             {"how", Align::kLeft}});
  for (const Ceiling& ceiling : report.ceilings) {
    grid.row({name_of(ceiling.traffic), cache_name(ceiling.cold),
              bytes_text(static_cast<double>(ceiling.footprint)),
              speed_text(ceiling, ceiling.first), speed_text(ceiling, ceiling.last),
              drift_text(ceiling), ceiling.how});
  }
  return grid;
}

Grid group_grid(const std::string& group, const std::vector<const Row*>& rows) {
  Grid grid({{group, Align::kLeft},
             {"cache", Align::kLeft},
             {"min"},
             {"median"},
             {"p90"},
             {"", Align::kLeft},
             {"noise"},
             {"rate"},
             {"ceiling"}});
  for (const Row* row : rows) {
    const TimeUnit unit = time_unit(row->timing.median_us);
    const Rate rate = rate_of(*row);
    const std::optional<double> share = share_of_ceiling(*row);
    grid.row(
        {short_name(*row), cache_name(row->cold), three_digits(row->timing.min_us / unit.us),
         three_digits(row->timing.median_us / unit.us), three_digits(row->timing.p90_us / unit.us),
         std::string(unit.name), percent_text(noise(*row)),
         rate.unit.empty() ? "" : three_digits(rate.value) + " " + rate.unit,
         share ? percent_text(*share) : ""},
        more_text(*row));
  }
  return grid;
}

Grid comparison_grid(const Comparison& comparison) {
  Grid grid({{"case", Align::kLeft},
             {"cache", Align::kLeft},
             {"before"},
             {"ratio"},
             {"minima"},
             {"noise"},
             {"", Align::kLeft}});
  for (const Compared& row : comparison.rows) {
    grid.row({row.name, cache_name(row.cold), time_text(row.before_us), ratio_text(row.ratio),
              ratio_text(row.min_ratio), percent_text(row.floor),
              std::string(name_of(row.verdict))});
  }
  for (const OneSided& row : comparison.only_before) {
    grid.row({row.name, cache_name(row.cold), "", "", "", "", "only before"});
  }
  for (const OneSided& row : comparison.only_now) {
    grid.row({row.name, cache_name(row.cold), "", "", "", "", "only now"});
  }
  return grid;
}

std::string comparison_title(const Comparison& comparison) {
  return printable("Compared with " + comparison.before +
                   ": medians and minima, now / before; above 1 is slower.");
}

std::string comparison_verdict(const Comparison& comparison) {
  const auto count = [&](Verdict verdict) {
    return std::count_if(comparison.rows.begin(), comparison.rows.end(),
                         [&](const Compared& row) { return row.verdict == verdict; });
  };
  std::string text =
      fmt::format("{} slower, {} faster, {} without a difference beyond the noise",
                  count(Verdict::kSlower), count(Verdict::kFaster), count(Verdict::kNoDifference));
  if (const auto unknown = count(Verdict::kNoiseUnknown); unknown > 0) {
    text += fmt::format(", {} of unknown noise", unknown);
  }
  if (comparison.slower_factor > 1.0) {
    text +=
        fmt::format("; {} by more than a factor of {:.4g}",
                    comparison.any_slower_than(comparison.slower_factor) ? "some slower" : "none",
                    comparison.slower_factor);
  }
  return text + '.';
}

}  // namespace cuthresh::bench
