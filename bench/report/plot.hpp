#pragma once

#include <string>

#include "bench/core/result.hpp"

namespace cuthresh::bench {

/// An SVG, 800 px wide: GB/s against the measured ceiling, GFLOP/s of what arithmetic limits, and
/// the time of all other cases.
std::string plot_svg(const Report& report);

}  // namespace cuthresh::bench
