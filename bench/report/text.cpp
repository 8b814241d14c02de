#include "bench/report/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <numeric>

namespace cuthresh::bench {
namespace {

constexpr std::string_view kIndent = "  ";
constexpr std::string_view kGap = "  ";

std::string aligned(const std::string& cell, std::size_t width, Grid::Align align) {
  const std::size_t taken = columns(cell);
  const std::string padding(width > taken ? width - taken : 0, ' ');
  return align == Grid::Align::kLeft ? cell + padding : padding + cell;
}

}  // namespace

std::string three_digits(double value) {
  if (!std::isfinite(value)) return "-";
  if (value == 0.0) return "0";
  // Rounded first: 9.996 has two digits before the point.
  const std::string rounded = fmt::format("{:.2e}", value);
  const int exponent = std::atoi(rounded.c_str() + rounded.find('e') + 1);
  return fmt::format("{:.{}f}", std::strtod(rounded.c_str(), nullptr), std::max(0, 2 - exponent));
}

TimeUnit time_unit(double us) {
  // 999.6 would be printed as 1000.
  if (!(us >= 0.9995)) return {1e-3, "ns"};
  if (us < 999.5) return {1.0, "µs"};
  if (us < 999.5e3) return {1e3, "ms"};
  return {1e6, "s"};
}

std::string time_text(double us) {
  const TimeUnit unit = time_unit(us);
  return fmt::format("{} {}", three_digits(us / unit.us), unit.name);
}

std::string bytes_text(double bytes) {
  constexpr std::array<std::string_view, 5> kUnits = {"B", "kB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  while (bytes >= 999.5 && unit + 1 < kUnits.size()) {
    bytes /= 1e3;
    ++unit;
  }
  return fmt::format("{} {}", unit == 0 ? fmt::format("{:.0f}", bytes) : three_digits(bytes),
                     kUnits[unit]);
}

std::string percent_text(double share) {
  if (!std::isfinite(share)) return "-";
  return fmt::format("{:.{}f} %", 100.0 * share, std::abs(share) < 0.9995 ? 1 : 0);
}

std::string change_text(double share) {
  return (share > 0.0 ? "+" : "") + percent_text(share);
}

std::string figure_text(double value) {
  if (!std::isfinite(value)) return "-";
  // Integers are exact in a double up to 2^53.
  const bool whole = std::trunc(value) == value && std::abs(value) <= 0x1p53;
  return whole ? fmt::format("{:.0f}", value) : fmt::format("{:.4g}", value);
}

std::string printable(std::string_view text) {
  std::string out(text);
  std::replace_if(
      out.begin(), out.end(),
      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == '\x7f'; }, ' ');
  return out;
}

std::size_t columns(std::string_view text) {
  // Bytes 10xxxxxx continue a code point of UTF-8.
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::string wrapped(std::string_view text, std::size_t indent, std::size_t line) {
  std::string out;
  std::size_t at = 0;  // columns of the present line
  bool first = true;   // of the present line's words
  while (!text.empty()) {
    // The spaces before a word belong to it: an indented first line stays so.
    const std::size_t begin = std::min(text.find_first_not_of(' '), text.size());
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    if (!first && at + columns(text.substr(0, end)) > line) {
      out += '\n' + std::string(indent, ' ');
      at = indent;
      text.remove_prefix(begin);
      first = true;
      continue;
    }
    out += text.substr(0, end);
    at += columns(text.substr(0, end));
    text.remove_prefix(end);
    first = false;
  }
  return out;
}

std::string markdown_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|' || c == '\\' || c == '*' || c == '_' || c == '`') out += '\\';
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      out += c;
    }
  }
  return out;
}

void Grid::row(std::vector<std::string> cells, std::string note) {
  for (std::string& cell : cells) cell = printable(cell);
  rows_.push_back({std::move(cells), printable(note)});
}

std::vector<std::size_t> Grid::widths(std::span<const Grid> grids, std::size_t line) {
  std::vector<std::size_t> out;
  for (const Grid& grid : grids) {
    out.resize(grid.columns_.size());
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = std::max(out[i], columns(grid.columns_[i].head));
      if (i == 0) continue;
      for (const GridRow& row : grid.rows_) out[i] = std::max(out[i], columns(row.cells[i]));
    }
  }
  const std::size_t others =
      std::accumulate(out.begin() + 1, out.end(), kIndent.size()) + kGap.size() * (out.size() - 1);
  for (const Grid& grid : grids) {
    for (const GridRow& row : grid.rows_) {
      const std::size_t width = columns(row.cells[0]);
      if (width + others <= line) out[0] = std::max(out[0], width);
    }
  }
  return out;
}

std::string Grid::text(const std::vector<std::size_t>& widths) const {
  std::string out;
  const auto add = [&](const std::vector<std::string>& cells) {
    std::string line(kIndent);
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (i > 0) line += kGap;
      line += aligned(cells[i], widths[i], columns_[i].align);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  };
  std::vector<std::string> heads;
  for (const Column& column : columns_) heads.push_back(column.head);
  add(heads);
  for (const GridRow& row : rows_) {
    std::vector<std::string> cells = row.cells;
    if (columns(cells[0]) > widths[0]) {
      out += fmt::format("{}{}\n", kIndent, cells[0]);
      cells[0].clear();
    }
    add(cells);
    if (!row.note.empty()) out += fmt::format("{0}{0}{1}\n", kIndent, row.note);
  }
  return out;
}

std::string Grid::markdown() const {
  std::string heads = "|";
  std::string rule = "|";
  for (const Column& column : columns_) {
    heads += fmt::format(" {} |", markdown_text(column.head));
    rule += column.align == Align::kLeft ? "---|" : "---:|";
  }
  std::string out = heads + '\n' + rule + '\n';
  for (const GridRow& row : rows_) {
    out += '|';
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      const bool noted = i == 0 && !row.note.empty();
      out += fmt::format(" {}{} |", markdown_text(row.cells[i]),
                         noted ? "<br>" + markdown_text(row.note) : "");
    }
    out += '\n';
  }
  return out;
}

}  // namespace cuthresh::bench
