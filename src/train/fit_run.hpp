#pragma once

// One run of fit(): a search (src/search) asks for trainings, or one training is controlled; a
// Trainer does them, a RunFolder takes what comes out.

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/registry.hpp"
#include "cuthresh/fit.hpp"
#include "io/report.hpp"
#include "io/run_folder.hpp"
#include "search/search.hpp"
#include "train/beside.hpp"
#include "train/checkpoint.hpp"
#include "train/prepare.hpp"
#include "train/task.hpp"
#include "train/trainer.hpp"

namespace cuthresh::train {

inline constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();

/// The figures that rounds, the dense network and the result have alike.
template <class To, class From>
void copy_scores(To& to, const From& from) {
  to.train_loss = from.train_loss;
  to.test_loss = from.test_loss;
  to.train_accuracy = from.train_accuracy;
  to.test_accuracy = from.test_accuracy;
}

template <class To>
void set_scores(To& to, const Evaluation& train, const std::optional<Evaluation>& test) {
  to.train_loss = train.loss;
  to.train_accuracy = train.accuracy;
  to.test_loss = test ? test->loss : kNoNumber;
  to.test_accuracy = test ? test->accuracy : std::nullopt;
}

std::string short_number(double value);

/// Its members are defined in fit.cpp, fit_search.cpp and fit_rounds.cpp (rounds with one λ a
/// training), fit_one_run.cpp, fit_checkpoint.cpp and fit_result.cpp.
class Fit {
 public:
  Fit(const FitConfig& config, FitObserver& observer);
  FitResult run();

 private:
  using Clock = std::chrono::steady_clock;
  static double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  /// What was found, and how: the network is the kept one.
  struct Found {
    bool have = false;  ///< a training ended with a network that is of use
    bool met = false;   ///< with the target
    std::string reason;
    std::vector<float> lambda;  ///< a search group
  };

  static ChosenBackend checked_backend(const DataSplit& data, const nn::Graph& graph,
                                       const FitConfig& config);
  void set_initial(Backend& backend, nn::Parameters& parameters) const;
  std::unique_ptr<RunFolder> prepare_folder();
  std::int64_t sample_every() const;
  TrainerSettings trainer_settings() const;
  bool one_run() const { return config_.search.method == "one-run"; }

  /// What a training tells the user while it runs; `round` 0 is the dense one.
  class Reporter;
  /// One training with λ a search group. Shows progress.
  StepStatus train(std::int64_t round, const std::vector<float>& lambda, const StopRule& rule);
  /// The same training without a penalty, for comparison; leaves other weights than the best.
  void train_dense();
  /// What one of its steps was, where it was sampled.
  static StepSample step_sample(std::int64_t round, std::int64_t step,
                                const std::vector<double>& lambda,
                                const std::vector<std::int64_t>& counts, const Sample& sample,
                                Clock::time_point begin);
  /// The figures of a training that has just ended, from the weights that it left; of the first one
  /// of a round, whose gradient is then in place where it is wanted.
  RoundResult finish_round(std::int64_t number, const StepStatus& status, bool wants_gradient);
  RoundResult scored(Trainer& trainer, std::int64_t number, const StepStatus& status,
                     bool wants_gradient) const;
  void keep_round(const RoundResult& round);
  /// How the steps were taken, where that is not what was said before.
  void note_execution();

  search::Settings search_settings();
  float automatic_lambda_max();
  Found search_lambda();
  void train_round(search::LambdaSearch& search);
  /// The trainings of a round, all at the same time: the first here, each of the others in a room
  /// beside this one.
  std::vector<RoundResult> train_candidates(const std::vector<std::vector<float>>& candidates);
  StepStatus train_beside(std::size_t candidate, std::int64_t round,
                          const std::vector<float>& lambda, std::vector<StepSample>& samples);
  void report_round(search::LambdaSearch& search, std::vector<RoundResult>& ended);
  /// The network that a candidate has trained.
  nn::Network& network_of(std::size_t candidate);
  std::vector<float> values_of(std::size_t candidate);
  void start_warm(const std::vector<RoundResult>& ended);
  void note_diverged(const RoundResult& round);
  void note_throughput(const std::vector<RoundResult>& ended, double seconds);
  void report_pivot(search::LambdaSearch& search);

  Found train_controlled();
  bool meets_targets(const std::vector<std::int64_t>& nnz) const;
  std::string controlled_reason(const RoundResult& round, bool met) const;

  std::optional<Checkpoint> find_checkpoint() const;
  std::vector<std::string> check_resumed(std::int64_t finish_at) const;
  /// Null: from the beginning.
  const TrainerState* begin_from_checkpoint(const ControlledRun& run);
  bool leaves_checkpoints() const;
  /// What cannot be written is a note: the training is worth more.
  bool save_checkpoint();
  void interrupted(const StepStatus& status, std::int64_t steps);
  void remove_checkpoint();
  /// With those of the runs that this one goes on with.
  std::uint64_t bytes_to_host() const;
  std::uint64_t bytes_to_host_search() const;

  FitResult summarise(const Found& found);
  Outcome outcome(const FitResult& result) const;
  /// Residuals relative to λ (a layer), at the gradient that full_gradient() has just left.
  void certify(FitResult& result, const std::vector<float>& lambda);
  /// A layer's target, its own or one that it shares, and whether it was met.
  void judge(LayerResult& row, std::int32_t group, const std::vector<KktResult>& kkt) const;
  void write(FitResult& result);

  FitObserver& observer_;
  Clock::time_point start_ = Clock::now();
  DataSplit data_;
  FitConfig config_;  // with train.steps, whatever was given
  nn::Graph graph_;
  ChosenBackend chosen_;
  Backend& backend_;
  nn::Network network_;
  Task task_;
  std::optional<Checkpoint> resumed_;  // what this run goes on with
  std::unique_ptr<RunFolder> folder_;
  Trainer trainer_;
  std::vector<std::unique_ptr<Beside>> beside_;  // for the other candidates of a round
  HistoryCsv history_;
  std::vector<RoundResult> rounds_;
  std::size_t best_round_ = 0;
  /// The round whose weights' gradient is in place; none yet.
  static constexpr std::size_t kNoRound = std::numeric_limits<std::size_t>::max() - 1;
  std::size_t gradient_of_ = kNoRound;
  std::optional<NetworkScores> dense_;
  std::optional<NetworkScores> before_debias_;
  std::int64_t steps_total_ = 0;
  double seconds_of_rounds_ = 0.0;
  std::string execution_;                // as it was noted
  std::atomic<bool> cancelled_ = false;  // all trainings end soon
};

}  // namespace cuthresh::train
