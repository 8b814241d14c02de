#pragma once

// result.json and history.csv as text; docs/result.md documents them key by key.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cuthresh/config.hpp"
#include "cuthresh/fit.hpp"

namespace cuthresh {

/// The text of result.json (schema "cuthresh/result/1"): UTF-8, indented by 2, ends with a newline.
/// Numbers that are not finite become null. `version` is cuthresh's own.
std::string result_json(const FitResult& result, const FitConfig& config,
                        const std::string& version);

/// "crossed", "converged", "kept", "missed" or "fixed".
std::string outcome_name(Outcome outcome);

/// A sampled step of a training.
struct StepSample {
  std::int64_t round = 0;                ///< from 1
  std::int64_t step = 0;                 ///< from 1
  std::vector<double> lambda;            ///< one in all, or one a targeted layer
  std::vector<std::int64_t> nnz;         ///< as many
  double train_loss = 0.0;               ///< of this step's batch
  double test_loss = 0.0;                ///< after the step; NaN where it was not evaluated
  std::optional<double> train_accuracy;  ///< of this step's batch
  std::optional<double> test_accuracy;
  double seconds = 0.0;  ///< since the round began
};

/// Collects the lines of history.csv.
class HistoryCsv {
 public:
  HistoryCsv();
  void add_step(const StepSample& sample);
  void add_round(const RoundResult& round);
  /// In place of all lines so far those of a run that is gone on with.
  void take_over(std::string text) { text_ = std::move(text); }
  /// The header and every line so far.
  std::string text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace cuthresh
