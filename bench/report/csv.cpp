#include "bench/report/csv.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/report/cells.hpp"

namespace cuthresh::bench {
namespace {

constexpr std::array<std::string_view, 38> kCsvColumns = {"kind",
                                                          "name",
                                                          "group",
                                                          "cache",
                                                          "min_us",
                                                          "median_us",
                                                          "p90_us",
                                                          "samples",
                                                          "calls_a_sample",
                                                          "again_median_us",
                                                          "noise_percent",
                                                          "footprint_bytes",
                                                          "bytes",
                                                          "flops",
                                                          "gb_per_s",
                                                          "gflop_per_s",
                                                          "traffic",
                                                          "ceiling_gb_per_s",
                                                          "ceiling_percent",
                                                          "checked",
                                                          "more",
                                                          "reason",
                                                          "before_median_us",
                                                          "now_over_before",
                                                          "verdict",
                                                          "smoke",
                                                          "version",
                                                          "commit",
                                                          "date",
                                                          "processor",
                                                          "cores",
                                                          "memory_bytes",
                                                          "cache_bytes",
                                                          "room",
                                                          "threads",
                                                          "compiler",
                                                          "build",
                                                          "libraries"};

using CsvCells = std::vector<std::pair<std::string_view, std::string>>;

std::string quoted(const std::string& field) {
  if (field.find_first_of(",\"\r\n") == std::string::npos) return field;
  std::string out = "\"";
  for (const char c : field) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

// The shortest text that reads back to the same bits.
std::string csv_number(double value) {
  return std::isfinite(value) ? fmt::format("{}", value) : "";
}

std::string csv_number(const std::optional<double>& value) {
  return value ? csv_number(*value) : "";
}

// "nnz=25408;peak_bytes=1048576"
template <class Map>
std::string pairs(const Map& map) {
  std::string text;
  for (const auto& [name, value] : map) {
    text += fmt::format("{}{}={}", text.empty() ? "" : ";", name, value);
  }
  return text;
}

CsvCells machine_cells(const Report& report) {
  const Machine& m = report.machine;
  return {{"smoke", report.smoke ? "1" : "0"},
          {"version", report.version},
          {"commit", m.commit},
          {"date", m.date},
          {"processor", m.processor},
          {"cores", std::to_string(m.cores)},
          {"memory_bytes", std::to_string(m.memory_bytes)},
          {"cache_bytes", std::to_string(m.cache_bytes)},
          {"room", m.room},
          {"threads", std::to_string(m.threads)},
          {"compiler", m.compiler},
          {"build", m.build},
          {"libraries", pairs(m.libraries)}};
}

CsvCells timing_cells(const Timing& timing) {
  return {{"min_us", csv_number(timing.min_us)},
          {"median_us", csv_number(timing.median_us)},
          {"p90_us", csv_number(timing.p90_us)},
          {"samples", std::to_string(timing.samples)},
          {"calls_a_sample", std::to_string(timing.calls)}};
}

CsvCells ceiling_cells(const Ceiling& ceiling, bool before) {
  const Timing& timing = before ? ceiling.first : ceiling.last;
  CsvCells cells = timing_cells(timing);
  const double speed = gb_per_s(ceiling, timing);
  const CsvCells own = {{"kind", before ? "ceiling_before" : "ceiling_after"},
                        {"name", ceiling.how},
                        {"cache", cache_name(ceiling.cold)},
                        {"footprint_bytes", std::to_string(ceiling.footprint)},
                        {"gb_per_s", speed > 0.0 ? csv_number(speed) : ""},
                        {"traffic", name_of(ceiling.traffic)}};
  cells.insert(cells.end(), own.begin(), own.end());
  return cells;
}

CsvCells row_cells(const Row& row) {
  const std::optional<double> share = share_of_ceiling(row);
  CsvCells cells = timing_cells(row.timing);
  const CsvCells own = {{"kind", "case"},
                        {"name", row.name},
                        {"group", row.group},
                        {"cache", cache_name(row.cold)},
                        {"again_median_us", csv_number(row.again.median_us)},
                        {"noise_percent", csv_number(100.0 * noise(row))},
                        {"bytes", csv_number(row.work.bytes)},
                        {"flops", csv_number(row.work.flops)},
                        {"gb_per_s", csv_number(gb_per_s(row))},
                        {"gflop_per_s", csv_number(gflop_per_s(row))},
                        {"traffic", name_of(row.traffic)},
                        {"ceiling_gb_per_s", csv_number(row.ceiling_gb_per_s)},
                        {"ceiling_percent", share ? csv_number(100.0 * *share) : ""},
                        {"checked", row.checked},
                        {"more", pairs(row.more)}};
  cells.insert(cells.end(), own.begin(), own.end());
  return cells;
}

CsvCells compared_cells(const Row& row, const Comparison& comparison) {
  for (const Compared& one : comparison.rows) {
    if (one.name != row.name || one.cold != row.cold) continue;
    return {{"before_median_us", csv_number(one.before_us)},
            {"now_over_before", csv_number(one.ratio)},
            {"verdict", std::string(name_of(one.verdict))}};
  }
  return {};
}

std::string line_of(std::initializer_list<const CsvCells*> parts) {
  std::vector<std::string> fields;
  for (const std::string_view column : kCsvColumns) {
    std::string& field = fields.emplace_back();
    for (const CsvCells* cells : parts) {
      for (const auto& [name, value] : *cells) {
        if (name == column) field = quoted(value);
      }
    }
  }
  return fmt::format("{}\n", fmt::join(fields, ","));
}

}  // namespace

std::string to_csv(const Report& report, const Comparison* compared) {
  std::string out = fmt::format("{}\n", fmt::join(kCsvColumns, ","));
  const CsvCells machine = machine_cells(report);
  for (const Ceiling& ceiling : report.ceilings) {
    for (const bool before : {true, false}) {
      const CsvCells cells = ceiling_cells(ceiling, before);
      out += line_of({&cells, &machine});
    }
  }
  for (const Row& row : report.rows) {
    const CsvCells cells = row_cells(row);
    const CsvCells compared_with =
        compared != nullptr ? compared_cells(row, *compared) : CsvCells{};
    out += line_of({&cells, &compared_with, &machine});
  }
  for (const LeftOut& one : report.left_out) {
    const CsvCells cells = {{"kind", "left_out"}, {"name", one.name}, {"reason", one.reason}};
    out += line_of({&cells, &machine});
  }
  return out;
}

}  // namespace cuthresh::bench
