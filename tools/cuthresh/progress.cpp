#include "progress.hpp"

#include <spdlog/sinks/stdout_sinks.h>

#include <cstdio>

#include "progress_text.hpp"
#include "signals.hpp"
#include "terminal.hpp"

namespace cuthresh::command {
namespace {

constexpr std::chrono::seconds kLogEvery{10};

// One write for the whole line, and the rest of the old line erased after the new text, not before
// it: the eye never sees an empty line.
constexpr const char* kEraseToEnd = "\033[K";

void write_stderr(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

Reporter::Reporter(bool quiet, Style style, std::int64_t max_rounds)
    : mode_(quiet                  ? Mode::kQuiet
            : stderr_is_terminal() ? Mode::kTerminal
                                   : Mode::kPlain),
      style_(style),
      max_rounds_(max_rounds),
      logger_(std::make_shared<spdlog::logger>("cuthresh",
                                               std::make_shared<spdlog::sinks::stderr_sink_st>())),
      logged_(Clock::now()) {
  logger_->set_pattern(mode_ == Mode::kPlain ? "[%H:%M:%S] %v" : "%v");
  if (mode_ == Mode::kQuiet) logger_->set_level(spdlog::level::off);
}

Reporter::~Reporter() {
  clear();
}

bool Reporter::wants_progress() {
  if (mode_ == Mode::kPlain) return Clock::now() - logged_ >= kLogEvery;
  return mode_ == Mode::kTerminal;
}

void Reporter::progress(const Progress& progress) {
  max_rounds_ = progress.max_rounds;
  if (mode_ == Mode::kTerminal) {
    // The last column stays free: writing into it makes some terminals wrap.
    std::string line = progress_line(progress, terminal_columns() - 1, style_);
    if (line == live_) return;
    write_stderr("\r" + line + kEraseToEnd);
    live_ = std::move(line);
  } else if (mode_ == Mode::kPlain && Clock::now() - logged_ >= kLogEvery) {
    log(progress_log_line(progress, style_));
  }
}

void Reporter::round_ended(const RoundResult& round) {
  clear();  // the live line is of a round that is over
  log(round_line(round, max_rounds_, style_));
}

void Reporter::note(const std::string& text) {
  log(printable(text));
}

bool Reporter::cancelled() {
  if (!InterruptGuard::interrupted()) return false;
  if (!told_stopping_) {
    told_stopping_ = true;
    log("stopping; the best network so far is kept (interrupt again to stop at once, without it)");
  }
  return true;
}

void Reporter::clear() {
  if (live_.empty()) return;
  write_stderr(std::string("\r") + kEraseToEnd);
  live_.clear();
}

void Reporter::log(const std::string& line) {
  if (mode_ == Mode::kQuiet) return;
  const std::string live = live_;
  clear();
  logger_->info("{}", line);
  logged_ = Clock::now();
  if (live.empty()) return;
  write_stderr(live);
  live_ = live;
}

}  // namespace cuthresh::command
