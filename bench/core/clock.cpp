#include "bench/core/clock.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace cuthresh::bench {
namespace {

constexpr double kSampleSeconds = 2e-3;  // long against what reading a clock costs
constexpr double kLongSeconds = 1.0;
constexpr std::int64_t kShortSamples = 30;
constexpr std::int64_t kFewSamples = 5;
constexpr std::int64_t kLongSamples = 3;
constexpr std::int64_t kMostSamples = 1000;

/// At least `wanted` calls as whole rotations, as far as max_calls lets them.
std::int64_t whole_rotations(double wanted, const CallLimits& limits) {
  const std::int64_t sets = limits.sets;
  const std::int64_t max_calls = limits.max_calls;
  const auto rounds = static_cast<std::int64_t>(std::ceil(wanted / static_cast<double>(sets)));
  const std::int64_t calls = std::max<std::int64_t>(rounds, 1) * sets;
  if (max_calls <= 0 || calls <= max_calls) return calls;
  return max_calls >= sets ? max_calls / sets * sets : max_calls;
}

struct Calibration {
  std::int64_t calls = 0;
  double seconds = 0.0;
};

Calibration calibrate(const CallLimits& limits, const Sample& sample) {
  std::int64_t calls = whole_rotations(1.0, limits);
  double seconds = sample(calls);  // memory is touched for the first time, a graph uploaded
  if (seconds > kLongSeconds) return {calls, seconds};
  // A first guess can be off where a call gets faster with repetition, so a few rounds.
  for (int round = 0; round < 6; ++round) {
    seconds = sample(calls);
    if (seconds >= kSampleSeconds) break;
    const double grow = std::min(1.25 * kSampleSeconds / std::max(seconds, 1e-9), 1000.0);
    const std::int64_t more = whole_rotations(grow * static_cast<double>(calls), limits);
    if (more <= calls) break;
    calls = more;
    sample(calls);
  }
  return {calls, seconds};
}

/// 30, or what fits into four times the time that was asked for.
std::int64_t least_samples(const ClockOptions& options, double sample_seconds) {
  if (sample_seconds > kLongSeconds) return kLongSamples;
  const double fit = 4.0 * options.min_seconds / std::max(sample_seconds, 1e-9);
  if (fit >= static_cast<double>(kShortSamples)) return kShortSamples;
  return std::max(kFewSamples, static_cast<std::int64_t>(fit));
}

}  // namespace

Timing timing_of(std::vector<double> samples, std::int64_t calls) {
  std::sort(samples.begin(), samples.end());
  const std::size_t n = samples.size();
  const double median = (samples[(n - 1) / 2] + samples[n / 2]) / 2;
  return {samples.front(), median, samples[std::min(n - 1, n * 9 / 10)],
          static_cast<std::int64_t>(n), calls};
}

Timing take_samples(const ClockOptions& options, const CallLimits& limits, const Sample& sample) {
  std::int64_t calls = whole_rotations(1.0, limits);
  std::int64_t least = kLongSamples;
  double until = 0.0;
  if (limits.max_samples > 0) {
    least = options.smoke ? std::min(kLongSamples, limits.max_samples) : limits.max_samples;
  } else if (!options.smoke) {
    const Calibration found = calibrate(limits, sample);
    calls = found.calls;
    least = least_samples(options, found.seconds);
    until = found.seconds > kLongSeconds ? 0.0 : options.min_seconds;
  }
  std::vector<double> microseconds;
  double total = 0.0;
  for (std::int64_t taken = 0; taken < least || (total < until && taken < kMostSamples); ++taken) {
    const double seconds = sample(calls);
    total += seconds;
    microseconds.push_back(seconds * 1e6 / static_cast<double>(calls));
  }
  return timing_of(std::move(microseconds), calls);
}

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Timing WallClock::time(Workload& workload, const CallLimits& limits) {
  return take_samples(options_, limits, [&](std::int64_t calls) {
    workload.reset();
    backend_.synchronize();
    const double begin = now_();
    std::int64_t set = 0;
    for (std::int64_t i = 0; i < calls; ++i) {
      workload.call(set);
      if (++set == limits.sets) set = 0;
    }
    backend_.synchronize();
    return now_() - begin;
  });
}

}  // namespace cuthresh::bench
