#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "io/path_report.hpp"
#include "io/svg.hpp"

namespace cuthresh {
namespace {

constexpr double kPlotWidth = 640.0;
constexpr double kPlotHeight = 360.0;
constexpr double kPlotLeft = 84.0;
constexpr double kPlotRight = 620.0;
constexpr double kPlotTop = 44.0;
constexpr double kPlotBottom = 300.0;

// Grey text and two colours that stand out from white and from a dark page alike.
constexpr std::string_view kPathCss =
    "text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#777c82}\n"
    ".head{font-weight:bold}\n.test{fill:#d9730d}\n.train{fill:#3b82c4}\n"
    ".testline{stroke:#d9730d;stroke-width:2}\n.trainline{stroke:#3b82c4;stroke-width:2}\n"
    ".testdense{stroke:#d9730d;stroke-width:1.5;stroke-dasharray:5 4}\n"
    ".traindense{stroke:#3b82c4;stroke-width:1.5;stroke-dasharray:5 4}\n"
    ".grid{stroke:#777c82;stroke-opacity:0.35}\n";

/// What is drawn over the counts: 1 − accuracy where there is one, else the loss. NaN: nothing.
using ErrorOf = std::function<double(const NetworkScores&)>;

struct Curve {
  std::string name;  // also its style
  ErrorOf error;
};

struct Axis {
  double low, high, from, to;
  double at(double value) const { return from + (to - from) * (value - low) / (high - low); }
};

/// A step of 1, 2 or 5 times a power of ten that divides the span in about five.
double tick_step(double span) {
  const double raw = span / 5.0;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  const double digit = raw / power;
  return power * (digit < 1.5 ? 1.0 : digit < 3.5 ? 2.0 : digit < 7.5 ? 5.0 : 10.0);
}

std::vector<Curve> curves_of(const PathResult& result) {
  const bool accuracy = result.points.front().scores.train_accuracy.has_value();
  if (accuracy) {
    return {{"test", [](const NetworkScores& s) { return 1.0 - s.test_accuracy.value_or(NAN); }},
            {"train", [](const NetworkScores& s) { return 1.0 - s.train_accuracy.value_or(NAN); }}};
  }
  return {{"test", [](const NetworkScores& s) { return s.test_loss; }},
          {"train", [](const NetworkScores& s) { return s.train_loss; }}};
}

Axis error_axis(const PathResult& result, const std::vector<Curve>& curves) {
  double most = 0.0;
  for (const Curve& curve : curves) {
    for (const PathPoint& point : result.points) {
      const double error = curve.error(point.scores);
      if (std::isfinite(error)) most = std::max(most, error);
    }
  }
  if (!(most > 0.0)) most = 1.0;
  const double step = tick_step(most);
  return {0.0, std::ceil(most / step) * step, kPlotBottom, kPlotTop};
}

Axis count_axis(const PathResult& result) {
  double low = INFINITY;
  double high = -INFINITY;
  for (const PathPoint& point : result.points) {
    const double at = std::log10(static_cast<double>(std::max<std::int64_t>(1, point.nnz)));
    low = std::min(low, at);
    high = std::max(high, at);
  }
  const double room = std::max(0.05, 0.05 * (high - low));
  return {low - room, high + room, kPlotLeft, kPlotRight};
}

void draw_axes(Svg& svg, const Axis& x, const Axis& y) {
  const double step = tick_step(y.high - y.low);
  for (double value = 0.0; value <= y.high * 1.0001; value += step) {
    svg.line(kPlotLeft, y.at(value), kPlotRight, y.at(value), "grid");
    svg.text(kPlotLeft - 8.0, y.at(value) + 4.0, Svg::Anchor::kEnd, "",
             fmt::format("{:.4g}", value));
  }
  // 1, 2 and 5 of every decade in view: a path spans one to four of them.
  for (double decade = std::floor(x.low); decade <= x.high; ++decade) {
    for (const double digit : {1.0, 2.0, 5.0}) {
      const double at = decade + std::log10(digit);
      if (at < x.low || at > x.high) continue;
      svg.line(x.at(at), kPlotTop, x.at(at), kPlotBottom, "grid");
      svg.text(x.at(at), kPlotBottom + 18.0, Svg::Anchor::kMiddle, "",
               fmt::format("{:.0f}", std::pow(10.0, at)));
    }
  }
  svg.text((kPlotLeft + kPlotRight) / 2.0, kPlotBottom + 40.0, Svg::Anchor::kMiddle, "",
           "nonzero weights");
}

void draw_curve(Svg& svg, const PathResult& result, const Curve& curve, const Axis& x,
                const Axis& y) {
  double last_x = NAN;
  double last_y = NAN;
  for (const PathPoint& point : result.points) {
    const double error = curve.error(point.scores);
    if (!std::isfinite(error)) continue;
    const double at_x = x.at(std::log10(static_cast<double>(std::max<std::int64_t>(1, point.nnz))));
    const double at_y = y.at(error);
    if (std::isfinite(last_x)) svg.line(last_x, last_y, at_x, at_y, curve.name + "line");
    svg.dot(at_x, at_y, 3.5, curve.name);
    last_x = at_x;
    last_y = at_y;
  }
  if (!result.dense) return;
  const double dense = curve.error(*result.dense);
  if (!std::isfinite(dense) || dense > y.high) return;
  svg.line(kPlotLeft, y.at(dense), kPlotRight, y.at(dense), curve.name + "dense");
}

}  // namespace

std::string path_svg(const PathResult& result) {
  Svg svg;
  const bool accuracy =
      !result.points.empty() && result.points.front().scores.train_accuracy.has_value();
  const std::string_view what = accuracy ? "share of wrong answers" : "loss";
  svg.text(kPlotLeft, 22.0, Svg::Anchor::kStart, "head", what);
  if (!result.points.empty()) {
    const std::vector<Curve> curves = curves_of(result);
    const Axis x = count_axis(result);
    const Axis y = error_axis(result, curves);
    draw_axes(svg, x, y);
    double at = kPlotRight;
    for (const Curve& curve : curves) {
      draw_curve(svg, result, curve, x, y);
      svg.text(at, 22.0, Svg::Anchor::kEnd, curve.name,
               curve.name + (result.dense ? " (dashed: dense)" : ""));
      at -= result.dense ? 150.0 : 60.0;
    }
  }
  return svg.file(kPlotWidth, kPlotHeight, "error over the number of nonzero weights", kPathCss);
}

}  // namespace cuthresh
