#pragma once

// The formats of a report, behind one call.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "bench/core/result.hpp"
#include "bench/report/compare.hpp"

namespace cuthresh::bench {

enum class Format : std::uint8_t { kTable, kCsv, kJson, kMarkdown };

/// For messages and --help.
inline constexpr std::string_view kFormatNames = "table, csv, json, markdown";
std::optional<Format> format_named(std::string_view name);

/// The whole report, ending in a newline, with the comparison if there is one.
std::string render(const Report& report, Format format, const Comparison* compared = nullptr);

}  // namespace cuthresh::bench
