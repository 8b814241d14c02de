#include "bench/app.hpp"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <regex>
#include <string>
#include <vector>

#include "bench/cases/cases.hpp"
#include "bench/core/instruments.hpp"
#include "bench/core/interrupt.hpp"
#include "bench/core/machine.hpp"
#include "bench/core/progress.hpp"
#include "bench/core/runner.hpp"
#include "bench/report/compare.hpp"
#include "bench/report/format.hpp"
#include "bench/report/json.hpp"
#include "bench/report/plot.hpp"
#include "core/registry.hpp"
#include "cuthresh/error.hpp"
#include "io/atomic_file.hpp"

namespace cuthresh::bench {
namespace {

constexpr int kFailed = 1;
constexpr int kWrongUse = 2;
constexpr int kSlower = 4;
constexpr int kInterrupted = 130;

struct AppOptions {
  BackendOptions backend;
  ClockOptions clock;
  std::string filter;
  bool list = false;
  std::string format = "table";
  std::string out;
  std::string compare;
  std::optional<double> slower;
  std::string plot;
};

void add_options(CLI::App& app, AppOptions& o) {
  app.set_version_flag("--version", "cuthresh-bench " CTH_VERSION);
  app.add_option("--filter", o.filter, "only cases whose name this regular expression is found in");
  app.add_flag("--list", o.list, "list the cases instead of running them");
  app.add_option("--min-time", o.clock.min_seconds, "seconds that a measurement takes at least")
      ->check(CLI::Range(0.001, 3600.0))
      ->capture_default_str();
  app.add_option("--device", o.backend.device, "auto, cpu or cuda")->capture_default_str();
  app.add_option("--engine", o.backend.engine,
                 "the CPU's matrix products: auto, onednn, tiled or reference")
      ->capture_default_str();
  app.add_option("--threads", o.backend.threads, "the CPU's threads; 0: one a core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--precision", o.backend.precision, "the GPU's matrix products: fp32 or tf32")
      ->capture_default_str();
  app.add_option("--format", o.format, std::string(kFormatNames))->capture_default_str();
  app.add_option("--out", o.out, "write the report to this file instead of standard output");
  CLI::Option* compare =
      app.add_option("--compare", o.compare, "an earlier report in JSON to compare with");
  app.add_option("--slower", o.slower,
                 "exit with 4 when a case takes more than this many times as long as in --compare")
      ->check(CLI::Range(1.0, 1e6))
      ->needs(compare);
  app.add_option("--plot", o.plot, "draw the report as an SVG into this file");
  app.add_flag("--smoke", o.clock.smoke, "small sizes, every check, and times that mean nothing");
}

/// Found out before anything is measured.
void require_place_for(const char* option, const std::string& path) {
  if (path.empty()) return;
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    throw InputError({option, "is a folder", path, "give the name of a file in it"});
  }
  if (!folder.empty() && !std::filesystem::is_directory(folder, ignored)) {
    throw InputError({option, "the folder of this file does not exist", path, "make it first"});
  }
}

Format format_of(const std::string& name) {
  if (const auto format = format_named(name)) return *format;
  throw InputError(
      {"--format", "unknown format", name, fmt::format("use one of {}", kFormatNames)});
}

std::regex regex_of(const std::string& filter) {
  try {
    return std::regex(filter);
  } catch (const std::regex_error& error) {
    throw InputError({"--filter", std::string("no regular expression: ") + error.what(), filter,
                      "escape what is meant literally with a backslash"});
  }
}

std::vector<Case> selected_cases(const Room& room, Instruments& instruments,
                                 const AppOptions& options) {
  const std::regex filter = regex_of(options.filter);
  std::vector<Case> all = instruments.overhead_cases();
  for (std::vector<Case> others : {all_cases(room), instruments.room_cases(room.smoke)}) {
    std::move(others.begin(), others.end(), std::back_inserter(all));
  }
  std::erase_if(all, [&](const Case& c) { return !std::regex_search(c.name, filter); });
  if (all.empty()) {
    throw InputError(
        {"--filter", "no case's name has this in it", options.filter, "see cuthresh-bench --list"});
  }
  return all;
}

void print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw InternalError({"standard output", "cannot be written", "", "check where it goes"});
  }
}

void list_cases(const std::vector<Case>& cases) {
  std::size_t width = 0;
  for (const Case& c : cases) width = std::max(width, c.name.size());
  for (const Case& c : cases) print(fmt::format("{:<{}}  {}\n", c.name, width, c.what));
}

/// Says it on standard error as well; the report lists it under what was left out.
int status_of(const Findings& findings, const Comparison* compared, const AppOptions& options) {
  if (findings.interrupted) {
    fmt::print(stderr, "cuthresh-bench: interrupted; these rows are missing:\n");
    for (const LeftOut& left : findings.left_out) {
      fmt::print(stderr, "  {}: {}\n", left.name, left.reason);
    }
  }
  if (findings.failures != 0) {
    fmt::print(stderr, "cuthresh-bench: {} of the measurements failed, see above\n",
               findings.failures);
    return kFailed;
  }
  if (findings.interrupted) return kInterrupted;
  if (compared != nullptr && options.slower && compared->any_slower_than(*options.slower)) {
    fmt::print(stderr, "cuthresh-bench: something got slower than {} times its time in {}\n",
               *options.slower, options.compare);
    return kSlower;
  }
  return 0;
}

int measure(const AppOptions& options) {
  const Format format = format_of(options.format);
  require_place_for("--out", options.out);
  require_place_for("--plot", options.plot);
  std::optional<Report> before;
  if (!options.compare.empty()) before = read_json(options.compare);

  const ChosenBackend chosen = make_backend(options.backend);
  const auto instruments =
      make_instruments(*chosen.backend, options.backend.threads, options.clock);
  const Room room{*chosen.backend, instruments->threads(), instruments->free_bytes(),
                  instruments->cache_bytes(), options.clock.smoke};
  const std::vector<Case> cases = selected_cases(room, *instruments, options);
  if (options.list) {
    list_cases(cases);
    return 0;
  }

  const InterruptGuard guard;
  ProgressLine progress(stderr, stderr_is_terminal());
  Report report{CTH_VERSION,
                describe_machine(*chosen.backend, chosen.why, *instruments),
                options.clock.smoke,
                {},
                {},
                {}};
  Runner runner(
      room, instruments->clock(), [&](Traffic traffic) { return instruments->ways(traffic); },
      progress, InterruptGuard::interrupted);
  const Findings findings = runner.run(cases);
  report.ceilings = findings.ceilings;
  report.rows = findings.rows;
  report.left_out = findings.left_out;

  std::optional<Comparison> compared;
  if (before) compared = compare(*before, report, options.slower.value_or(1.0));
  const Comparison* const comparison = compared ? &*compared : nullptr;
  const std::string text = render(report, format, comparison);
  options.out.empty() ? print(text) : write_file_atomically(options.out, text);
  if (!options.plot.empty()) write_file_atomically(options.plot, plot_svg(report));
  return status_of(findings, comparison, options);
}

}  // namespace

int run_program(int argc, char** argv) {
  CLI::App app(
      "Times what cuthresh does on this machine; every result is checked before it is timed",
      "cuthresh-bench");
  AppOptions options;
  add_options(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    fmt::print(stderr, "cuthresh-bench: error: {}; see cuthresh-bench --help\n", error.what());
    return kWrongUse;
  }
  try {
    return measure(options);
  } catch (const InputError& error) {
    fmt::print(stderr, "cuthresh-bench: error: {}\n", error.what());
    return kWrongUse;
  } catch (const std::exception& error) {
    fmt::print(stderr, "cuthresh-bench: error: {}\n", error.what());
    return kFailed;
  }
}

}  // namespace cuthresh::bench
