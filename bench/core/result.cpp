#include "bench/core/result.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace cuthresh::bench {
namespace {

bool has_time(const Timing& timing) {
  return timing.median_us > 0.0;
}

// In 10⁹ units a second.
std::optional<double> rate_of(double units, const Timing& timing) {
  if (!(units > 0.0) || !has_time(timing)) return std::nullopt;
  return units / timing.median_us * 1e-3;
}

// By one pass over the buffers: y = y + x reads both and writes one.
double passes(Traffic traffic) {
  switch (traffic) {
    case Traffic::kRead:
    case Traffic::kCopy:
      return 1.0;
    case Traffic::kStream:
      return 1.5;
    case Traffic::kNone:
      break;
  }
  return 0.0;
}

}  // namespace

std::string name_of(Traffic traffic) {
  switch (traffic) {
    case Traffic::kRead:
      return "read";
    case Traffic::kCopy:
      return "copy 1:1";
    case Traffic::kStream:
      return "stream 2:1";
    case Traffic::kNone:
      break;
  }
  return "";
}

std::optional<double> gb_per_s(const Row& row) {
  return rate_of(row.work.bytes, row.timing);
}

std::optional<double> gflop_per_s(const Row& row) {
  return rate_of(row.work.flops, row.timing);
}

std::optional<double> share_of_ceiling(const Row& row) {
  const std::optional<double> rate = gb_per_s(row);
  if (!rate || !row.ceiling_gb_per_s || !(*row.ceiling_gb_per_s > 0.0)) return std::nullopt;
  return *rate / *row.ceiling_gb_per_s;
}

double noise(const Row& row) {
  if (!has_time(row.timing) || !has_time(row.again)) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  return std::abs(row.again.median_us / row.timing.median_us - 1.0);
}

double gb_per_s(const Ceiling& ceiling, const Timing& timing) {
  const double bytes = passes(ceiling.traffic) * static_cast<double>(ceiling.footprint);
  return rate_of(bytes, timing).value_or(0.0);
}

double gb_per_s(const Ceiling& ceiling) {
  return std::max(gb_per_s(ceiling, ceiling.first), gb_per_s(ceiling, ceiling.last));
}

}  // namespace cuthresh::bench
