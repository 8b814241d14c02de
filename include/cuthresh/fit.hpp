#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cuthresh/config.hpp"
#include "cuthresh/export.hpp"

namespace cuthresh {

/// One penalised layer in the result. Residuals are those of the stationarity conditions of
/// L(W, b) + Σ λ_j ‖W_j‖₁ at the full training gradient g (arXiv 2408.02801, Theorems 4, 5 and 9).
struct LayerResult {
  std::string name;                        ///< "fc1"
  std::int64_t numel = 0;                  ///< weights
  std::int64_t nnz = 0;                    ///< weights that compare unequal to zero
  std::optional<std::int64_t> target_nnz;  ///< its own target (Algorithm 2)
  double lambda = 0.0;                     ///< λ_j of the returned network
  std::optional<double>
      kkt_nonzero;  ///< max over w ≠ 0 of |g + λ sign(w)| / λ; none: λ = 0 or no such w
  std::optional<double>
      kkt_zero;  ///< max over w = 0 of max(|g| − λ, 0) / λ; none: λ = 0 or no such w
  /// Its target was met, or the one that it shares; with one target for all layers, that one. False
  /// without a target.
  bool reached = false;
  /// "one-run": max over w ≠ 0 of |g|, how far the network is from stationary with its zeros
  /// frozen; none without such w
  std::optional<double> gradient_nonzero = {};
  /// The target of this layer together with others that share it.
  std::optional<std::int64_t> shared_target_nnz = {};
};

/// One training of the search.
struct RoundResult {
  std::int64_t round = 0;  ///< from 1; with search.parallel those at the same time have the same
  std::vector<double>
      lambda;  ///< one in all, or one a target of [sparsity.layers] or of an allocation
  std::vector<std::int64_t> nnz;  ///< as many, when the round ended
  std::int64_t steps = 0;         ///< steps done, ≤ train.steps
  double train_loss = 0.0;  ///< over the whole training set at the end; NaN after a divergence
  double test_loss = 0.0;   ///< NaN without test rows
  bool hit = false;         ///< the target was met
  bool diverged = false;    ///< stopped by a non-finite weight, or ended with a non-finite loss
  double seconds = 0.0;
  std::optional<double> train_accuracy = {};  ///< cross-entropy only, in [0, 1]
  std::optional<double> test_accuracy = {};   ///< the same; none without test rows
  std::int64_t candidate = 1;                 ///< which of its round's trainings, from 1
};

/// How the target was met: a stop at a crossing is not a stationary point.
enum class Outcome {
  kCrossed,  ///< first-hit: training stopped at the first step whose count was inside the tolerance
  kConverged,  ///< the count was inside the tolerance at the end of a full training
  kKept,       ///< one-run: the finish kept exactly so many weights, and they were trained on
  kMissed,     ///< the budget ended without it; the best network tried is returned
  kFixed       ///< method "fixed": trained once at the given λ, nothing to meet
};

/// Another network than the result, beside it: its figures after so many steps.
struct NetworkScores {
  std::int64_t steps = 0;
  double train_loss = 0.0;
  double test_loss = 0.0;                     ///< NaN without test rows
  std::optional<double> train_accuracy = {};  ///< cross-entropy only, in [0, 1]
  std::optional<double> test_accuracy = {};   ///< the same; none without test rows
};

struct FitResult {
  Outcome outcome = Outcome::kMissed;
  bool achieved = false;
  std::string why_stopped;  ///< a sentence
  /// What the target is about: all penalised weights, or, with per-layer targets, those of the
  /// layers that have one.
  std::int64_t numel = 0;
  std::int64_t nnz = 0;                    ///< how many of them compare unequal to zero
  std::optional<std::int64_t> target_nnz;  ///< in all; with per-layer targets their sum
  std::int64_t best_round = 0;             ///< whose network is kept; 0: none
  std::int64_t best_candidate = 0;         ///< and which of that round's; 0: none
  std::int64_t steps_total = 0;
  double train_loss = 0.0;
  double test_loss = 0.0;                     ///< NaN without test rows
  std::optional<double> train_accuracy = {};  ///< cross-entropy only, in [0, 1]
  std::optional<double> test_accuracy = {};   ///< the same; none without test rows
  /// The same training without a penalty, when it was asked for (search.compare_dense).
  std::optional<NetworkScores> dense;
  /// "one-run": the network when its weights had been chosen, before they were trained on alone.
  std::optional<NetworkScores> before_debias;
  double seconds = 0.0;
  std::vector<LayerResult> layers;
  std::vector<RoundResult> rounds;
  /// Searches by rounds: steps of all their trainings over the time that the rounds took.
  std::optional<double> candidate_steps_per_second = {};
  /// Rounds done.
  std::int64_t rounds_done() const { return rounds.empty() ? 0 : rounds.back().round; }
  std::uint64_t bytes_to_host = 0;  ///< moved from the device to the host, the network included
  /// What the search itself took of them: without samples and progress, the certificate and the
  /// network.
  std::uint64_t bytes_to_host_search = 0;
  std::string folder;  ///< the run folder: run.out, or run.out-2, … if that appeared meanwhile
  std::string device;  ///< "cpu (oneDNN 2.6.3, 2 threads, avx512)" and why it was taken
};

/// Called from the thread that called fit().
class CTH_API FitObserver {
 public:
  virtual ~FitObserver();

  struct Progress {
    std::int64_t round = 0, max_rounds = 0;  ///< from 1; 0: the dense training
    std::int64_t step = 0, steps = 0;
    std::vector<double> lambda;  ///< one in all, or one a targeted layer
    std::int64_t nnz = 0;        ///< as FitResult::nnz
    std::optional<std::int64_t> target_nnz;
    double loss = 0.0;                ///< of the latest sampled batch; NaN before the first
    double seconds = 0.0;             ///< since fit() started
    double round_seconds_left = 0.0;  ///< estimate for this round
  };
  /// Asked about ten times a second whether progress() is to be called: on a GPU that waits for all
  /// steps enqueued.
  virtual bool wants_progress() { return true; }
  virtual void progress(const Progress&) {}
  virtual void round_ended(const RoundResult&) {}
  /// Something worth a line: the device taken, a bracket end widened, a divergence.
  virtual void note(const std::string&) {}
  /// Asked about ten times a second: true ends the run as a budget would, keeping the best network.
  virtual bool cancelled() { return false; }
};

/// Trains and searches as `config` says and writes the run folder (result.json, history.csv,
/// model.safetensors, config.toml), all of it or nothing. Throws InputError before any training for
/// anything that the configuration or the data makes impossible.
CTH_API FitResult fit(const FitConfig& config, FitObserver* observer = nullptr);

}  // namespace cuthresh
