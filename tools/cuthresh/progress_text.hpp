#pragma once

#include <cstddef>
#include <string>

#include "cuthresh/fit.hpp"
#include "format.hpp"

namespace cuthresh::command {

/// The live line, at most `width` columns: round, bar and steps, λ, nnz → target, loss, time left.
/// What does not fit goes in this order: the bar, the time, the loss, λ.
std::string progress_line(const FitObserver::Progress& progress, std::size_t width,
                          const Style& style);

/// The same facts for a log, without a bar.
std::string progress_log_line(const FitObserver::Progress& progress, const Style& style);

/// What a finished round is worth a line. `max_rounds` 0: not known.
std::string round_line(const RoundResult& round, std::int64_t max_rounds, const Style& style);

}  // namespace cuthresh::command
