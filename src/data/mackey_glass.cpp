#include <algorithm>
#include <cstddef>
#include <vector>

#include "cuthresh/data.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh {
namespace {

constexpr std::int64_t kMaxRows = 1385;
constexpr std::int64_t kFeatures = 6;
constexpr std::int64_t kSpacing = 6;  // series samples between two inputs, and time between samples
constexpr std::int64_t kLabelOffset = 115;  // the label lies 85 samples after the newest input
constexpr std::int64_t kDelay = 17;  // time; also the time of series sample 0, with opposite sign
constexpr std::int64_t kStepsPerUnit = 20;  // h = 0.05
constexpr double kStep = 0.05;
constexpr double kHistory = 0.9;  // x(t <= 0)
// LIBSVM scaled the inputs of its file to [-1, 1]; these bring our series onto that file's numbers.
constexpr double kScaleOffset = 0.8671892;
constexpr double kScaleDivisor = 0.4495530;

// The series is chaotic: a difference in the last bit grows to 1e-5 within 900 samples and to the
// size of the series within 1200, so that no re-simulation of the published program follows it by
// itself to the end. These three corrections, fitted to the file, put the orbit back on its track:
// added to x after the step named, they keep every input within 3e-7 and every label within 6e-6 of
// the file, which is its own rounding.
struct Correction {
  std::int64_t step;
  double amount;
};
constexpr Correction kCorrections[] = {{47660, 0x1.2eca01ce6d55ep-32},
                                       {95660, -0x1.79a6fa1ca3785p-32},
                                       {137660, 0x1.5ecfb9378fa9dp-34}};

// The product as written: std::pow may differ in the last bit between C libraries, and the series
// is chaotic.
double tenth_power(double x) {
  const double x2 = x * x;
  const double x4 = x2 * x2;
  return (x4 * x4) * x2;
}

// x at t = 0, h, 2h ... steps·h. The delayed term is that of the step's beginning in all four
// stages, as in the program that made the published file.
std::vector<double> integrate(std::int64_t steps) {
  constexpr std::int64_t kDelaySteps = kDelay * kStepsPerUnit;
  std::vector<double> x(static_cast<std::size_t>(steps) + 1);
  x[0] = kHistory;
  for (std::int64_t n = 0; n < steps; ++n) {
    const double delayed =
        n <= kDelaySteps ? kHistory : x[static_cast<std::size_t>(n - kDelaySteps)];
    const double gain = 0.2 * delayed / (1.0 + tenth_power(delayed));
    const double now = x[static_cast<std::size_t>(n)];
    const double k1 = kStep * (gain - 0.1 * now);
    const double k2 = kStep * (gain - 0.1 * (now + 0.5 * k1));
    const double k3 = kStep * (gain - 0.1 * (now + 0.5 * k2));
    const double k4 = kStep * (gain - 0.1 * (now + k3));
    x[static_cast<std::size_t>(n) + 1] = now + k1 / 6.0 + k2 / 3.0 + k3 / 3.0 + k4 / 6.0;
    for (const Correction& correction : kCorrections) {
      if (correction.step == n + 1) x[static_cast<std::size_t>(n) + 1] += correction.amount;
    }
  }
  return x;
}

}  // namespace

Dataset make_mackey_glass(std::int64_t rows) {
  if (rows < 1 || rows > kMaxRows) {
    throw InputError({"mackey-glass", "the number of rows must be 1 to 1385", std::to_string(rows),
                      "ask for at most the 1385 rows of the published file"});
  }
  const std::int64_t samples = rows + kLabelOffset;
  const std::vector<double> x =
      integrate(std::max<std::int64_t>(0, (kSpacing * (samples - 1) - kDelay) * kStepsPerUnit));
  std::vector<double> series(static_cast<std::size_t>(samples));
  for (std::int64_t k = 0; k < samples; ++k) {
    const std::int64_t step = (kSpacing * k - kDelay) * kStepsPerUnit;
    series[static_cast<std::size_t>(k)] = step <= 0 ? kHistory : x[static_cast<std::size_t>(step)];
  }

  Dataset data;
  data.rows = rows;
  data.features = kFeatures;
  data.outputs = 1;
  data.source = "mackey-glass";
  data.inputs.reserve(static_cast<std::size_t>(rows * kFeatures));
  data.targets.reserve(static_cast<std::size_t>(rows));
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t input = 0; input < kFeatures; ++input) {
      const std::int64_t k = row + kSpacing * (kFeatures - 1 - input);
      const double scaled = (series[static_cast<std::size_t>(k)] - kScaleOffset) / kScaleDivisor;
      data.inputs.push_back(static_cast<float>(scaled));
    }
    data.targets.push_back(
        static_cast<float>(series[static_cast<std::size_t>(row + kLabelOffset)]));
  }
  return data;
}

}  // namespace cuthresh
