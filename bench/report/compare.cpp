#include "bench/report/compare.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "bench/report/text.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::bench {
namespace {

// Both measurements of a row are made in one process, on the same pages and the same layout of code
// and heap. The next start draws these anew, which moves a median by a percent or two while noise()
// sees nothing of it.
constexpr double kLeastFloor = 0.02;
// A row's own noise() is a single draw, which the next draw exceeds half of the time. Three
// standard deviations are 3 / 0.6745 medians of its distribution, taken over all rows of a report.
constexpr double kNoiseSpread = 4.45;
// Ceilings differ by this much between two quiet runs on one machine without a reason.
constexpr double kCeilingFloor = 0.05;

using RowKey = std::pair<std::string_view, bool>;

std::map<RowKey, const Row*> rows_by_key(const Report& report) {
  std::map<RowKey, const Row*> rows;
  for (const Row& row : report.rows) rows.emplace(RowKey{row.name, row.cold}, &row);
  return rows;
}

// The four medians must not contradict each other: both of now above both of before, or below.
bool medians_overlap(const Row& before, const Row& now) {
  const auto [before_low, before_high] =
      std::minmax(before.timing.median_us, before.again.median_us);
  const auto [now_low, now_high] = std::minmax(now.timing.median_us, now.again.median_us);
  return now_low <= before_high && before_low <= now_high;
}

// The typical noise() of a report; NaN when every row was measured once only.
double typical_noise(const Report& report) {
  std::vector<double> noises;
  for (const Row& row : report.rows) {
    if (const double one = noise(row); !std::isnan(one)) noises.push_back(one);
  }
  if (noises.empty()) return std::nan("");
  const auto middle = noises.begin() + static_cast<std::ptrdiff_t>(noises.size() / 2);
  std::nth_element(noises.begin(), middle, noises.end());
  return *middle;
}

Verdict judge(const Row& before, const Row& now, double ratio, double floor) {
  if (std::isnan(floor)) return Verdict::kNoiseUnknown;
  if (std::max(ratio, 1.0 / ratio) <= 1.0 + floor || medians_overlap(before, now)) {
    return Verdict::kNoDifference;
  }
  return ratio > 1.0 ? Verdict::kSlower : Verdict::kFaster;
}

/// `least` is the least floor of these two reports.
Compared compare_rows(const Row& before, const Row& now, double least) {
  Compared out;
  out.name = now.name;
  out.cold = now.cold;
  out.before_us = before.timing.median_us;
  out.now_us = now.timing.median_us;
  out.ratio = out.now_us / out.before_us;
  out.min_ratio = now.timing.min_us / before.timing.min_us;
  const double noises[] = {noise(before), noise(now)};
  const bool known = !std::isnan(noises[0]) && !std::isnan(noises[1]);
  out.floor = known ? std::max({least, noises[0], noises[1]}) : std::nan("");
  out.verdict = judge(before, now, out.ratio, out.floor);
  return out;
}

void warn_if_changed(std::vector<std::string>& warnings, std::string_view what,
                     const std::string& before, const std::string& now) {
  if (before == now) return;
  const auto shown = [](const std::string& text) { return text.empty() ? "nothing" : text; };
  warnings.push_back(fmt::format("another {}: {} before, {} now", what, shown(before), shown(now)));
}

void warn_of_libraries(std::vector<std::string>& warnings, const Machine& before,
                       const Machine& now) {
  std::set<std::string> names;
  for (const auto* libraries : {&before.libraries, &now.libraries}) {
    for (const auto& library : *libraries) names.insert(library.first);
  }
  const auto version = [](const Machine& machine, const std::string& name) {
    const auto found = machine.libraries.find(name);
    return found == machine.libraries.end() ? "" : found->second;
  };
  for (const std::string& name : names) {
    warn_if_changed(warnings, name, version(before, name), version(now, name));
  }
}

std::string machine_text(const Machine& machine) {
  return fmt::format("{}, {} cores, last-level cache {}", machine.processor, machine.cores,
                     bytes_text(static_cast<double>(machine.cache_bytes)));
}

// The ceiling that moved most between the two runs: what the machine does without us.
void warn_of_ceilings(std::vector<std::string>& warnings, const Report& before, const Report& now) {
  const auto key = [](const Ceiling& c) { return std::tuple(c.traffic, c.footprint, c.cold); };
  double most = kCeilingFloor;
  std::string text;
  for (const Ceiling& old : before.ceilings) {
    const auto found = std::find_if(now.ceilings.begin(), now.ceilings.end(),
                                    [&](const Ceiling& c) { return key(c) == key(old); });
    if (found == now.ceilings.end()) continue;
    const double old_speed = gb_per_s(old);
    const double speed = gb_per_s(*found);
    if (!(old_speed > 0.0) || !(speed > 0.0)) continue;
    const double change = speed / old_speed - 1.0;
    if (std::abs(change) <= most) continue;
    most = std::abs(change);
    text = fmt::format(
        "the machine itself ran {}: {} over {}, {}, went from {} to {} GB/s ({}); rows that memory "
        "limits follow it",
        change < 0.0 ? "slower" : "faster", name_of(old.traffic),
        bytes_text(static_cast<double>(old.footprint)), old.cold ? "cold" : "warm",
        three_digits(old_speed), three_digits(speed), change_text(change));
  }
  if (!text.empty()) warnings.push_back(std::move(text));
}

std::vector<std::string> warnings_of(const Report& before, const Report& now) {
  std::vector<std::string> warnings;
  const std::string old_machine = machine_text(before.machine);
  const std::string machine = machine_text(now.machine);
  if (old_machine != machine) {
    warnings.push_back(fmt::format(
        "this compares two machines, not two versions: {} before, {} now", old_machine, machine));
  }
  warn_if_changed(warnings, "room", before.machine.room, now.machine.room);
  warn_if_changed(warnings, "number of threads", std::to_string(before.machine.threads),
                  std::to_string(now.machine.threads));
  warn_if_changed(warnings, "compiler", before.machine.compiler, now.machine.compiler);
  warn_if_changed(warnings, "build", before.machine.build, now.machine.build);
  warn_of_libraries(warnings, before.machine, now.machine);
  for (const auto& [report, when] : {std::pair{&before, "before"}, std::pair{&now, "now"}}) {
    if (report->smoke) {
      warnings.push_back(
          fmt::format("the run of {} is a smoke run, whose times mean nothing", when));
    }
  }
  warn_of_ceilings(warnings, before, now);
  return warnings;
}

std::string run_text(const Report& report) {
  std::string text = report.version;
  if (!report.machine.commit.empty()) text += ", commit " + report.machine.commit;
  if (!report.machine.date.empty()) text += ", " + report.machine.date;
  return text;
}

}  // namespace

std::string_view name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::kNoDifference:
      return "no difference";
    case Verdict::kFaster:
      return "faster";
    case Verdict::kSlower:
      return "slower";
    case Verdict::kNoiseUnknown:
      break;
  }
  return "noise unknown";
}

bool Comparison::any_slower_than(double factor) const {
  return std::any_of(rows.begin(), rows.end(), [&](const Compared& row) {
    return row.verdict == Verdict::kSlower && row.ratio > factor;
  });
}

Comparison compare(const Report& before, const Report& now, double slower_factor) {
  if (!std::isfinite(slower_factor) || slower_factor < 1.0) {
    throw InputError({"factor of a slower row", "expected a finite number of at least 1",
                      fmt::format("{}", slower_factor), "give for example 1.1, for 10 % slower"});
  }
  Comparison out;
  out.before = run_text(before);
  out.slower_factor = slower_factor;
  out.warnings = warnings_of(before, now);
  // std::fmax leaves NaN out: without any noise known no row gets a verdict either.
  const double least =
      std::fmax(kLeastFloor, kNoiseSpread * std::fmax(typical_noise(before), typical_noise(now)));
  const std::map<RowKey, const Row*> old_rows = rows_by_key(before);
  for (const Row& row : now.rows) {
    const auto old = old_rows.find({row.name, row.cold});
    if (old == old_rows.end()) {
      out.only_now.push_back({row.name, row.cold});
    } else {
      out.rows.push_back(compare_rows(*old->second, row, least));
    }
  }
  const std::map<RowKey, const Row*> new_rows = rows_by_key(now);
  for (const Row& row : before.rows) {
    if (!new_rows.contains({row.name, row.cold})) out.only_before.push_back({row.name, row.cold});
  }
  return out;
}

}  // namespace cuthresh::bench
