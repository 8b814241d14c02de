#include "bench/report/table.hpp"

#include <fmt/format.h>

#include <string_view>
#include <vector>

#include "bench/report/cells.hpp"
#include "bench/report/text.hpp"

namespace cuthresh::bench {
namespace {

constexpr std::size_t kLine = 100;
constexpr std::string_view kChecked =
    "Every row's result was checked in this process before it was timed; --format json says "
    "against what. Times are those of one call. Noise: how far a second measurement was off.";

std::string facts_text(const Report& report) {
  constexpr std::size_t kNames = 11;
  std::string out;
  for (const auto& [name, value] : machine_facts(report)) {
    if (value.empty()) continue;
    out += wrapped(fmt::format("{:<{}}{}", name, kNames, printable(value)), kNames, kLine) + '\n';
  }
  return out;
}

std::string grid_text(const Grid& grid) {
  return grid.text(Grid::widths({&grid, 1}, kLine));
}

// The same columns for every group, so that figures stand below one another.
std::string groups_text(const Report& report) {
  std::vector<Grid> grids;
  for (const auto& [group, rows] : groups_of(report)) grids.push_back(group_grid(group, rows));
  if (grids.empty()) return "";
  const std::vector<std::size_t> widths = Grid::widths(grids, kLine);
  std::string out;
  for (const Grid& grid : grids) out += '\n' + grid.text(widths);
  return out;
}

std::string left_out_text(const Report& report) {
  if (report.left_out.empty()) return "";
  std::string out = "\nLeft out:\n";
  for (const LeftOut& one : report.left_out) {
    out += wrapped(printable(fmt::format("  {}: {}", one.name, one.reason)), 6, kLine) + '\n';
  }
  return out;
}

std::string comparison_text(const Comparison& compared) {
  std::string out = '\n' + wrapped(comparison_title(compared), 2, kLine) + '\n';
  for (const std::string& warning : compared.warnings) {
    out += wrapped("  warning: " + printable(warning), 4, kLine) + '\n';
  }
  const Grid grid = comparison_grid(compared);
  if (!grid.empty()) out += grid_text(grid);
  return out + wrapped(comparison_verdict(compared), 2, kLine) + '\n';
}

std::string comparison_markdown(const Comparison& compared) {
  std::string out = '\n' + markdown_text(comparison_title(compared)) + "\n\n";
  for (const std::string& warning : compared.warnings) {
    out += "- " + markdown_text("warning: " + printable(warning)) + '\n';
  }
  if (!compared.warnings.empty()) out += '\n';
  const Grid grid = comparison_grid(compared);
  if (!grid.empty()) out += grid.markdown() + '\n';
  return out + comparison_verdict(compared) + '\n';
}

}  // namespace

std::string to_table(const Report& report, const Comparison* compared) {
  std::string out = facts_text(report);
  if (report.smoke) out += '\n' + std::string(kSmokeNote) + '\n';
  if (!report.ceilings.empty()) {
    out += '\n' + grid_text(ceilings_grid(report));
  }
  out += groups_text(report);
  if (!report.rows.empty()) out += '\n' + wrapped(kChecked, 0, kLine) + '\n';
  out += left_out_text(report);
  if (compared != nullptr) out += comparison_text(*compared);
  return out;
}

std::string to_markdown(const Report& report, const Comparison* compared) {
  std::string out;
  for (const auto& [name, value] : machine_facts(report)) {
    if (!value.empty()) out += fmt::format("- {}: {}\n", name, markdown_text(printable(value)));
  }
  if (report.smoke) out += fmt::format("\n**{}**\n", kSmokeNote);
  if (!report.ceilings.empty()) out += '\n' + ceilings_grid(report).markdown();
  for (const auto& [group, rows] : groups_of(report)) {
    out += '\n' + group_grid(group, rows).markdown();
  }
  if (!report.rows.empty()) out += '\n' + std::string(kChecked) + '\n';
  if (!report.left_out.empty()) out += "\nLeft out:\n\n";
  for (const LeftOut& one : report.left_out) {
    out += fmt::format("- {}: {}\n", markdown_text(printable(one.name)),
                       markdown_text(printable(one.reason)));
  }
  if (compared != nullptr) out += comparison_markdown(*compared);
  return out;
}

}  // namespace cuthresh::bench
