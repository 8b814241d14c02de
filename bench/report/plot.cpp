#include "bench/report/plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/report/cells.hpp"
#include "bench/report/text.hpp"
#include "io/svg.hpp"

namespace cuthresh::bench {
namespace {

constexpr double kWidth = 800.0;
constexpr double kMargin = 12.0;
constexpr double kCharWidth = 6.7;  // of 11 px in the widest of the fonts below, 0.602 em
constexpr double kLineHeight = 14.0;
constexpr double kBarHeight = 9.0;
constexpr std::size_t kNameColumns = 46;
constexpr std::size_t kValueColumns = 20;
constexpr auto kTitleColumns = static_cast<std::size_t>((kWidth - 2 * kMargin) / kCharWidth);

// One grey and two colours with a contrast of 3 and more on white and on GitHub's dark grey, since
// an SVG in a README cannot know what it lies on. Text has 4.3.
constexpr std::string_view kCss =
    "text{font:11px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#777c82}\n"
    ".head{font-weight:bold}\n"
    ".warm{fill:#d9730d}\n.cold{fill:#3b82c4}\n"
    ".warmline{stroke:#d9730d;stroke-width:3}\n.coldline{stroke:#3b82c4;stroke-width:3}\n"
    ".grid{stroke:#777c82;stroke-opacity:0.35}\n.mark{stroke:#777c82;stroke-width:2.5}\n";

struct PlotGroup {
  std::string name;
  std::vector<const Row*> rows;
};

/// Where values lie between the names on the left and the figures on the right.
class Scale {
 public:
  struct Tick {
    double value;
    std::string label;
  };
  static Scale linear(double most);
  static Scale decades(double least_us, double most_us);

  double x(double value) const {
    const double at = log_ ? std::log10(value) : value;
    return left() + (right() - left()) * std::clamp((at - low_) / (high_ - low_), 0.0, 1.0);
  }
  const std::vector<Tick>& ticks() const { return ticks_; }
  static double left() { return kMargin + kCharWidth * static_cast<double>(kNameColumns) + 8.0; }
  static double right() {
    return kWidth - kMargin - kCharWidth * static_cast<double>(kValueColumns) - 4.0;
  }

 private:
  bool log_ = false;
  double low_ = 0.0;
  double high_ = 1.0;
  std::vector<Tick> ticks_;
};

// Three to eight steps of 1, 2 or 5 times a power of ten.
Scale Scale::linear(double most) {
  double step = std::pow(10.0, std::floor(std::log10(most)));
  if (most / step < 1.5) {
    step /= 5.0;
  } else if (most / step < 3.0) {
    step /= 2.0;
  } else if (most / step > 6.0) {
    step *= 2.0;
  }
  Scale scale;
  const double steps = std::ceil(most / step - 1e-9);
  scale.high_ = steps * step;
  for (double i = 0.0; i <= steps; ++i)
    scale.ticks_.push_back({i * step, fmt::format("{:g}", i * step)});
  return scale;
}

Scale Scale::decades(double least_us, double most_us) {
  Scale scale;
  scale.log_ = true;
  scale.low_ = std::floor(std::log10(least_us));
  scale.high_ = std::max(scale.low_ + 1.0, std::ceil(std::log10(most_us)));
  // Labels every decade, or every second or third: more than five would touch each other.
  const double step = std::ceil((scale.high_ - scale.low_) / 5.0);
  for (double at = scale.low_; at <= scale.high_; at += step) {
    const double us = std::pow(10.0, at);
    const TimeUnit unit = time_unit(us);
    scale.ticks_.push_back({us, fmt::format("{:.0f} {}", us / unit.us, unit.name)});
  }
  return scale;
}

// Broken behind a '/', or wherever a part alone is too long.
std::vector<std::string> name_lines(std::string_view name) {
  std::vector<std::string> lines;
  while (name.size() > kNameColumns) {
    std::size_t end = name.rfind('/', kNameColumns - 1) + 1;  // npos + 1 is 0
    if (end == 0) end = kNameColumns;
    // Not inside a code point of UTF-8.
    while (end > 1 && (static_cast<unsigned char>(name[end]) & 0xC0) == 0x80) --end;
    lines.emplace_back(name.substr(0, end));
    name.remove_prefix(end);
  }
  lines.emplace_back(name);
  return lines;
}

/// The groups of those rows that `wanted` takes.
template <class Wanted>
std::vector<PlotGroup> plot_groups(const Report& report, const Wanted& wanted) {
  std::vector<PlotGroup> out;
  for (const auto& [name, rows] : groups_of(report)) {
    PlotGroup group{name, {}};
    std::copy_if(rows.begin(), rows.end(), std::back_inserter(group.rows),
                 [&](const Row* row) { return row->timing.median_us > 0.0 && wanted(*row); });
    if (!group.rows.empty()) out.push_back(std::move(group));
  }
  return out;
}

void draw_rate(Svg& svg, const Scale& scale, const Row& row, double y) {
  svg.rect(scale.left(), y, scale.x(rate_of(row).value) - scale.left(), kBarHeight,
           cache_name(row.cold));
  if (share_of_ceiling(row)) {
    const double x = scale.x(*row.ceiling_gb_per_s);
    svg.line(x, y - 1.5, x, y + kBarHeight + 1.5, "mark");
  }
}

void draw_time(Svg& svg, const Scale& scale, const Row& row, double y) {
  const double middle = y + kBarHeight / 2.0;
  const std::string style = cache_name(row.cold);
  svg.line(scale.x(row.timing.min_us), middle, scale.x(row.timing.p90_us), middle, style + "line");
  svg.dot(scale.x(row.timing.median_us), middle, kBarHeight / 2.0, style);
}

void draw_figures(Svg& svg, const Row& row, double y) {
  const Rate rate = rate_of(row);
  const std::optional<double> share = share_of_ceiling(row);
  const std::string figure = rate.unit.empty() ? time_text(row.timing.median_us)
                                               : three_digits(rate.value) + ' ' + rate.unit;
  constexpr double kRight = kWidth - kMargin;
  svg.text(share ? kRight - 6.0 * kCharWidth : kRight, y, Svg::Anchor::kEnd, "", figure);
  if (share) {
    svg.text(kRight, y, Svg::Anchor::kEnd, "", fmt::format("{:.0f} %", 100.0 * *share));
  }
}

/// Groups of bars or dots over a scale; returns the y below them.
template <class Draw>
double draw_panel(Svg& svg, double y, const std::string& title, const Scale& scale,
                  const std::vector<PlotGroup>& groups, const Draw& draw) {
  svg.text(kMargin, y + kLineHeight, Svg::Anchor::kStart, "head", title);
  y += 2.0 * kLineHeight;
  const double top = y;
  Svg rows;
  for (const PlotGroup& group : groups) {
    y += kLineHeight;
    rows.text(kMargin, y, Svg::Anchor::kStart, "head", group.name);
    y += 5.0;
    for (const Row* row : group.rows) {
      draw(rows, scale, *row, y);
      draw_figures(rows, *row, y + kBarHeight);
      for (const std::string& line : name_lines(short_name(*row))) {
        rows.text(kMargin, y + kBarHeight, Svg::Anchor::kStart, "", line);
        y += kLineHeight;
      }
      y += 2.0;
    }
  }
  y += 4.0;
  for (const Scale::Tick& tick : scale.ticks()) {
    const double x = scale.x(tick.value);
    svg.line(x, top, x, y, "grid");
    svg.text(x, y + kLineHeight - 2.0, Svg::Anchor::kMiddle, "", tick.label);
  }
  svg.add(rows);
  return y + 2.5 * kLineHeight;
}

double draw_title(Svg& svg, const Report& report) {
  const Machine& m = report.machine;
  std::string text = "cuthresh " + report.version;
  const std::string smoke(report.smoke ? kSmokeNote : "");
  for (const std::string& part : {m.commit, m.processor, m.room, m.date, smoke}) {
    if (!part.empty()) text += ", " + part;
  }
  double y = kMargin;
  std::istringstream lines(wrapped(printable(text), 0, kTitleColumns));
  for (std::string line; std::getline(lines, line);) {
    y += kLineHeight;
    svg.text(kMargin, y, Svg::Anchor::kStart, "", line);
  }
  y += kLineHeight;
  double x = kMargin;
  const auto entry = [&](std::string_view text_of_it) {
    svg.text(x + 16.0, y + kBarHeight, Svg::Anchor::kStart, "", text_of_it);
    x += 16.0 + kCharWidth * static_cast<double>(columns(text_of_it) + 3);
  };
  svg.rect(x, y, 10.0, kBarHeight, "cold");
  entry("cold: buffers past the cache");
  svg.rect(x, y, 10.0, kBarHeight, "warm");
  entry("warm: one set of buffers");
  svg.line(x + 6.0, y - 1.5, x + 6.0, y + kBarHeight + 1.5, "mark");
  entry("ceiling measured in the same run");
  return y + 2.0 * kLineHeight;
}

template <class Wanted>
double draw_rates(Svg& svg, double y, const Report& report, const std::string& title,
                  const Wanted& wanted) {
  const std::vector<PlotGroup> groups = plot_groups(report, wanted);
  if (groups.empty()) return y;
  double most = 0.0;
  for (const PlotGroup& group : groups) {
    for (const Row* row : group.rows) {
      most = std::max(most, rate_of(*row).value);
      if (share_of_ceiling(*row)) most = std::max(most, *row->ceiling_gb_per_s);
    }
  }
  return draw_panel(svg, y, title, Scale::linear(most), groups, draw_rate);
}

double draw_times(Svg& svg, double y, const Report& report) {
  const std::vector<PlotGroup> groups =
      plot_groups(report, [](const Row& row) { return rate_of(row).unit.empty(); });
  if (groups.empty()) return y;
  double least = groups.front().rows.front()->timing.median_us;
  double most = least;
  for (const PlotGroup& group : groups) {
    for (const Row* row : group.rows) {
      // A minimum of 0, from a clock too coarse, has no logarithm.
      if (row->timing.min_us > 0.0) least = std::min(least, row->timing.min_us);
      most = std::max({most, row->timing.median_us, row->timing.p90_us});
    }
  }
  return draw_panel(svg, y, "Time a call: median, line from minimum to p90 (logarithmic)",
                    Scale::decades(least, most), groups, draw_time);
}

}  // namespace

std::string plot_svg(const Report& report) {
  Svg svg;
  double y = draw_title(svg, report);
  // Caches are several times faster than memory: on one scale the memory's bars would be stubs.
  for (const bool cold : {true, false}) {
    y = draw_rates(svg, y, report,
                   fmt::format("GB/s and per cent of the ceiling, {}", cache_name(cold)),
                   [&](const Row& row) { return row.cold == cold && rate_of(row).unit == "GB/s"; });
  }
  y = draw_rates(svg, y, report, "GFLOP/s",
                 [](const Row& row) { return rate_of(row).unit == "GFLOP/s"; });
  y = draw_times(svg, y, report);
  return svg.file(kWidth, y, "cuthresh-bench", kCss);
}

}  // namespace cuthresh::bench
