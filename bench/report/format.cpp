#include "bench/report/format.hpp"

#include <array>
#include <utility>

#include "bench/report/csv.hpp"
#include "bench/report/json.hpp"
#include "bench/report/table.hpp"

namespace cuthresh::bench {

std::optional<Format> format_named(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, Format>, 4> kFormats = {
      {{"table", Format::kTable},
       {"csv", Format::kCsv},
       {"json", Format::kJson},
       {"markdown", Format::kMarkdown}}};
  for (const auto& [known, format] : kFormats) {
    if (name == known) return format;
  }
  return std::nullopt;
}

std::string render(const Report& report, Format format, const Comparison* compared) {
  switch (format) {
    case Format::kTable:
      break;
    case Format::kCsv:
      return to_csv(report, compared);
    case Format::kJson:
      return to_json(report, compared);
    case Format::kMarkdown:
      return to_markdown(report, compared);
  }
  return to_table(report, compared);
}

}  // namespace cuthresh::bench
