#pragma once

#include <spdlog/logger.h>

#include <chrono>
#include <memory>
#include <string>

#include "cuthresh/fit.hpp"
#include "format.hpp"

namespace cuthresh::command {

/// Shows a fit on standard error: a line redrawn in place on a terminal, log lines otherwise (one a
/// round, and one every 10 s within a round), nothing when quiet. Removes the live line when
/// destroyed.
class Reporter final : public FitObserver {
 public:
  Reporter(bool quiet, Style style, std::int64_t max_rounds);
  ~Reporter() override;
  Reporter(const Reporter&) = delete;
  Reporter& operator=(const Reporter&) = delete;

  bool wants_progress() override;
  void progress(const Progress& progress) override;
  void round_ended(const RoundResult& round) override;
  void note(const std::string& text) override;
  bool cancelled() override;

  /// Takes the live line away, for what is printed next.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  enum class Mode { kTerminal, kPlain, kQuiet };

  void log(const std::string& line);

  Mode mode_;
  Style style_;
  std::int64_t max_rounds_;
  std::shared_ptr<spdlog::logger> logger_;
  std::string live_;          // what is on the live line now; empty: nothing
  Clock::time_point logged_;  // when the last log line was written
  bool told_stopping_ = false;
};

}  // namespace cuthresh::command
