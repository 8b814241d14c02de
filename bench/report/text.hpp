#pragma once

// Figures and tables as a reader wants them.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cuthresh::bench {

/// Three significant digits, never an exponent: "0.0123", "7.13", "41.2", "4310"; "-" for what is
/// not finite.
std::string three_digits(double value);

/// The unit in which a time has one to three digits before the point.
struct TimeUnit {
  double us = 1.0;
  std::string_view name;  ///< "ns", "µs", "ms", "s"
};
TimeUnit time_unit(double us);
/// "7.13 ms"
std::string time_text(double us);
/// "33.0 MB", in powers of ten.
std::string bytes_text(double bytes);
/// 0.0042 as "0.4 %", 1.042 as "104 %".
std::string percent_text(double share);
/// The same with its sign.
std::string change_text(double share);
/// A measured figure without a unit of its own: integers whole, others to four digits.
std::string figure_text(double value);
/// Text from a file made safe for one line of a terminal: control characters become spaces.
std::string printable(std::string_view text);
/// Text that Markdown shows as it is, also in a table's cell.
std::string markdown_text(std::string_view text);
/// Code points, every one taken as one column wide.
std::size_t columns(std::string_view text);
/// Lines of at most `line` columns, broken between words; all but the first begin with `indent`
/// spaces, and the last has no '\n'. A word that is longer than a line is left whole.
std::string wrapped(std::string_view text, std::size_t indent, std::size_t line);

/// Rows of cells under a heading.
class Grid {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string head;
    Align align = Align::kRight;
  };
  explicit Grid(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// As many cells as there are columns; `note` goes below them.
  void row(std::vector<std::string> cells, std::string note = "");
  bool empty() const { return rows_.empty(); }

  /// What each column takes in any of the grids, which have the same number of columns, heads
  /// included. First cells that would make lines longer than `line` columns are not counted: text()
  /// gives them a line of their own.
  static std::vector<std::size_t> widths(std::span<const Grid> grids, std::size_t line);
  /// Lines that end in '\n', indented by two; the heads stand above.
  std::string text(const std::vector<std::size_t>& widths) const;
  /// A table in GitHub's Markdown; notes are in the first cell.
  std::string markdown() const;

 private:
  struct GridRow {
    std::vector<std::string> cells;
    std::string note;
  };
  std::vector<Column> columns_;
  std::vector<GridRow> rows_;
};

}  // namespace cuthresh::bench
