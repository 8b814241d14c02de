#pragma once

// Reports for the tests of their formats: one with known figures, and random ones.

#include <fmt/format.h>

#include <cmath>
#include <string>

#include "bench/core/result.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {

inline bench::Timing timing(double median_us) {
  return {0.9 * median_us, median_us, 1.2 * median_us, 40, 7};
}

inline bench::Row row(const std::string& name, bool cold, double median_us, double again_us) {
  bench::Row out;
  out.name = name;
  out.group = name.substr(0, name.find('/'));
  out.cold = cold;
  out.timing = timing(median_us);
  if (again_us > 0.0) out.again = timing(again_us);
  out.checked = "1,000 weights to the bit";
  return out;
}

/// Figures that can be worked out by hand.
inline bench::Report sample_report() {
  bench::Report report;
  report.version = "0.1.0";
  report.machine = {"Test CPU <A&B> \"2\"",
                    2,
                    16'000'000'000,
                    33'000'000,
                    "cpu (plain)",
                    "no GPU was found",
                    2,
                    "g++ 12.2.0",
                    "Release",
                    "a1b2c3d",
                    {{"oneDNN", "2.6.3"}},
                    "2026-01-02T03:04:05Z"};
  // Moves 1.5 · 200 MB in 6 ms: 50 GB/s; afterwards 48.
  report.ceilings.push_back({bench::Traffic::kStream, 200'000'000, true, "streaming stores",
                             timing(6000.0), timing(6250.0)});
  // Moves 200 kB in 1.25 µs: 160 GB/s; interrupted before it was measured again.
  report.ceilings.push_back(
      {bench::Traffic::kCopy, 200'000, false, "plain stores", timing(1.25), bench::Timing{}});

  bench::Row step = row("prox_step/fp32/plain/25m_161", true, 7500.0, 7575.0);
  step.work.bytes = 300e6;  // 40 GB/s
  step.traffic = bench::Traffic::kStream;
  step.ceiling_gb_per_s = 50.0;
  step.more = {{"nnz", 2'541'000.0}, {"peak_bytes", 1.5}};
  report.rows.push_back(step);
  bench::Row product = row("gemm/1000x128x128", false, 123.45, 126.0);
  product.work = {1e6, 2.0 * 1000 * 128 * 128};  // 265 GFLOP/s
  report.rows.push_back(product);
  report.rows.push_back(row("search/a,b|c \"quoted\" <&>", false, 2.5e6, 0.0));
  bench::Row warm = step;
  warm.cold = false;
  warm.more.clear();
  warm.timing = timing(0.8125);
  warm.again = timing(0.82);
  warm.work.bytes = 0.0;
  report.rows.push_back(warm);
  report.left_out.push_back({"prox_step/fp32/plain/1g_200", "needs 12.0 GB, 3.1 GB are free"});
  return report;
}

inline bench::Report random_report(Random& random) {
  const auto real = [&] {
    // Random bits, so that every digit counts; the exponent near that of 1.
    return std::ldexp(1.0 + random.bits() * 0x1p-32 + random.bits() * 0x1p-52,
                      static_cast<int>(random.integer(-20, 20)));
  };
  const auto text = [&] {
    static const char* const kParts[] = {"a", "/", "\"",  "\\", "\n", "λ",
                                         "µ", ",", "<&>", "\r", "|",  "\x01"};
    std::string out;
    for (std::int64_t i = random.integer(0, 8); i > 0; --i) out += kParts[random.integer(0, 11)];
    return out;
  };
  const auto some_timing = [&] {
    return bench::Timing{real(), real(), real(), random.integer(1, 1'000), random.integer(1, 9)};
  };
  const auto traffic = [&] { return static_cast<bench::Traffic>(random.integer(0, 3)); };
  bench::Report report;
  report.version = text();
  report.smoke = random.integer(0, 1) == 1;
  report.machine = {text(),
                    random.integer(1, 256),
                    random.integer(0, 1 << 30) << 20,
                    random.integer(0, 1 << 30),
                    text(),
                    text(),
                    random.integer(1, 64),
                    text(),
                    text(),
                    text(),
                    {{text(), text()}, {text(), text()}},
                    text()};
  for (std::int64_t i = random.integer(0, 3); i > 0; --i) {
    report.ceilings.push_back({traffic(), random.integer(0, 1 << 30), random.integer(0, 1) == 1,
                               text(), some_timing(), some_timing()});
  }
  for (std::int64_t i = random.integer(0, 5); i > 0; --i) {
    bench::Row row;
    row.name = fmt::format("{}{}", i, text());
    row.group = text();
    row.cold = random.integer(0, 1) == 1;
    row.timing = some_timing();
    if (random.integer(0, 1) == 1) row.again = some_timing();
    row.work = {real(), random.integer(0, 1) == 1 ? 0.0 : real()};
    row.traffic = traffic();
    if (random.integer(0, 1) == 1) row.ceiling_gb_per_s = real();
    row.checked = text();
    for (std::int64_t k = random.integer(0, 3); k > 0; --k) row.more[text()] = real();
    report.rows.push_back(row);
  }
  for (std::int64_t i = random.integer(0, 2); i > 0; --i)
    report.left_out.push_back({text(), text()});
  return report;
}

/// Every member, floating-point numbers by their bits.
inline std::string members_of(const bench::Report& r) {
  const auto timing_text = [](const bench::Timing& t) {
    return fmt::format("{:a} {:a} {:a} {} {}; ", t.min_us, t.median_us, t.p90_us, t.samples,
                       t.calls);
  };
  const bench::Machine& m = r.machine;
  std::string out = fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}\n", r.version, r.smoke,
                                m.processor, m.cores, m.memory_bytes, m.cache_bytes, m.room, m.why,
                                m.threads, m.compiler, m.build, m.commit, m.date);
  for (const auto& [name, version] : m.libraries) out += fmt::format("lib {}={}\n", name, version);
  for (const bench::Ceiling& c : r.ceilings) {
    out += fmt::format("ceiling {} {} {} {} {}{}\n", static_cast<int>(c.traffic), c.footprint,
                       c.cold, c.how, timing_text(c.first), timing_text(c.last));
  }
  for (const bench::Row& row : r.rows) {
    out += fmt::format("row {}|{}|{} {}{}{:a} {:a} {} {:a} {}", row.name, row.group, row.cold,
                       timing_text(row.timing), timing_text(row.again), row.work.bytes,
                       row.work.flops, static_cast<int>(row.traffic),
                       row.ceiling_gb_per_s.value_or(-1.0), row.checked);
    for (const auto& [name, value] : row.more) out += fmt::format("|{}={:a}", name, value);
    out += '\n';
  }
  for (const bench::LeftOut& one : r.left_out)
    out += fmt::format("out {}: {}\n", one.name, one.reason);
  return out;
}

}  // namespace cuthresh::testing
