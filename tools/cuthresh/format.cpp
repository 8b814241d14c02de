#include "format.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace cuthresh::command {

std::string grouped(std::int64_t value) {
  std::string text = std::to_string(value);
  const std::size_t first = value < 0 ? 1 : 0;
  for (std::size_t at = text.size(); at > first + 3;) {
    at -= 3;
    text.insert(at, 1, ',');
  }
  return text;
}

std::string loss_text(double value) {
  if (std::isnan(value)) return "-";
  return fmt::format("{:.4g}", value);
}

std::string lambda_text(double value) {
  return value == 0.0 ? "0" : fmt::format("{:.3e}", value);
}

std::string lambda_range(const std::vector<double>& values) {
  if (values.empty()) return "-";
  if (values.size() == 1) return lambda_text(values[0]);
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return fmt::format("{} .. {} ({})", lambda_text(*low), lambda_text(*high), values.size());
}

std::string duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0.0) return "-";
  if (seconds < 9.995) return fmt::format("{:.2f} s", seconds);
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  // Past 10^15 s the parts would not fit the integer below, and no clock gets there.
  const auto whole = static_cast<std::int64_t>(std::llround(std::min(seconds, 1e15)));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

std::string percent(double share) {
  return std::isfinite(share) ? fmt::format("{:.1f} %", 100.0 * share) : "-";
}

std::string bar(double share, std::size_t cells, const Style& style) {
  const double part = std::isnan(share) ? 0.0 : std::clamp(share, 0.0, 1.0);
  auto filled = static_cast<std::size_t>(std::llround(part * static_cast<double>(cells)));
  if (part > 0.0 && cells > 0) filled = std::max<std::size_t>(filled, 1);
  if (part < 1.0 && filled == cells && cells > 1) filled = cells - 1;
  std::string text;
  for (std::size_t i = 0; i < cells; ++i) {
    if (style.unicode) {
      text += i < filled ? "█" : "░";
    } else {
      text += i < filled ? '#' : '.';
    }
  }
  return text;
}

std::size_t columns(std::string_view text) {
  // Bytes 10xxxxxx continue a code point of UTF-8.
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::string clipped(std::string_view text, std::size_t most) {
  std::size_t seen = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) == 0x80) continue;
    if (seen++ == most) return std::string(text.substr(0, i));
  }
  return std::string(text);
}

std::string printable(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) c = ' ';
  }
  return out;
}

std::string Table::text(std::string_view indent) const {
  std::vector<std::size_t> widths(align_.size(), 0);
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < widths.size(); ++i)
      widths[i] = std::max(widths[i], columns(row[i]));
  }
  std::string out;
  for (const auto& row : rows_) {
    std::string line(indent);
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const std::string padding(widths[i] - columns(row[i]), ' ');
      if (i > 0) line += "  ";
      line += align_[i] == Align::kLeft ? row[i] + padding : padding + row[i];
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  }
  return out;
}

}  // namespace cuthresh::command
