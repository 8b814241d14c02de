#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cuthresh::command {

/// What the reader's screen can show.
struct Style {
  bool unicode = true;  ///< false: "lambda" for λ, "->" for →, '#' for bars
};

/// 25408 as "25,408".
std::string grouped(std::int64_t value);

/// A loss, to four significant digits; "-" for NaN.
std::string loss_text(double value);

/// A λ, as "1.920e-04"; "0" for 0.
std::string lambda_text(double value);

/// One λ, or the smallest and the largest of several and how many they are: "1.1e-05 .. 2.0e-04
/// (4)".
std::string lambda_range(const std::vector<double>& values);

/// "0.42 s", "12.3 s", "3 min 05 s", "2 h 04 min"; "-" for what is negative or not finite.
std::string duration(double seconds);

/// 0.846 as "84.6 %".
std::string percent(double share);

/// `cells` cells of which share·cells are filled (rounded, but never empty for a share above 0, and
/// never full for one below 1). `share` is clamped to [0, 1]; NaN is 0.
std::string bar(double share, std::size_t cells, const Style& style);

/// Columns the text takes: code points, every one taken as one column wide.
std::size_t columns(std::string_view text);

/// The first `most` columns of the text.
std::string clipped(std::string_view text, std::size_t most);

/// Text from a file or an argument made safe for a terminal line: control characters become spaces.
std::string printable(std::string_view text);

/// Rows of cells in aligned columns, two spaces apart.
class Table {
 public:
  enum class Align { kLeft, kRight };
  explicit Table(std::vector<Align> align) : align_(std::move(align)) {}
  /// As many cells as there are columns.
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  /// Lines that end in '\n', without trailing spaces.
  std::string text(std::string_view indent = "") const;

 private:
  std::vector<Align> align_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace cuthresh::command
