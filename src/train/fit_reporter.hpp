#pragma once

#include <numeric>

#include "train/fit_run.hpp"

namespace cuthresh::train {

/// Asks the observer about ten times a second, and tells it and the history what was looked at.
class Fit::Reporter {
 public:
  /// `first`: steps that had been taken before.
  Reporter(Fit& fit, std::int64_t round, const std::vector<float>& lambda, std::int64_t first = 0)
      : fit_(fit),
        begin_(Clock::now()),
        last_(begin_ - std::chrono::seconds(1)),
        saved_(begin_),
        first_(first),
        saves_(round == 1 && fit.leaves_checkpoints()) {
    progress_.round = round;
    progress_.max_rounds = fit.config_.search.rounds();
    progress_.steps = fit.config_.train.steps;
    progress_.lambda.assign(lambda.begin(), lambda.end());
    progress_.target_nnz = fit.task_.target_total();
    progress_.loss = kNoNumber;
  }

  Trainer::Wish ask() {
    if (fit_.cancelled_) return Trainer::Wish::kEnd;  // asked for once, between two phases
    const auto now = Clock::now();
    if (now - last_ < std::chrono::milliseconds(100)) return Trainer::Wish::kGoOn;
    last_ = now;
    if (fit_.observer_.cancelled()) {
      fit_.cancelled_ = true;
      return Trainer::Wish::kEnd;
    }
    due_ = fit_.observer_.wants_progress();
    save_due_ = saves_ && now - saved_ >= std::chrono::duration<double, std::ratio<60>>(
                                              fit_.config_.run.checkpoint_minutes);
    return due_ || save_due_ ? Trainer::Wish::kLook : Trainer::Wish::kGoOn;
  }

  void watch(std::int64_t step, const StepStatus& status, const Sample& sample) {
    const std::vector<std::int64_t> counts = fit_.task_.search_counts(status.nnz);
    if (progress_.round > 0 && fit_.one_run()) {
      const std::vector<float> lambda = fit_.task_.search_lambda(fit_.trainer_.lambda());
      progress_.lambda.assign(lambda.begin(), lambda.end());
    }
    if (sample.loss) {
      progress_.loss = *sample.loss;
      fit_.history_.add_step(
          step_sample(progress_.round, step, progress_.lambda, counts, sample, begin_));
    }
    if (save_due_) save(step, status);
    if (!due_) return;
    due_ = false;
    progress_.step = step;
    progress_.nnz = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
    progress_.seconds = seconds_since(fit_.start_);
    progress_.round_seconds_left = seconds_since(begin_) / static_cast<double>(step - first_) *
                                   static_cast<double>(progress_.steps - step);
    fit_.observer_.progress(progress_);
  }

  Trainer::Watch watcher() {
    return [this](std::int64_t step, const StepStatus& status, const Sample& sample) {
      watch(step, status, sample);
    };
  }
  Trainer::Ask asker() {
    return [this] { return ask(); };
  }

 private:
  void save(std::int64_t step, const StepStatus& status) {
    save_due_ = false;
    if (status.stopped || step >= progress_.steps) return;
    fit_.save_checkpoint();
    saved_ = Clock::now();
  }

  Fit& fit_;
  Clock::time_point begin_;
  Clock::time_point last_;
  Clock::time_point saved_;
  std::int64_t first_;
  bool saves_;
  bool save_due_ = false;
  FitObserver::Progress progress_;
  bool due_ = false;
};

}  // namespace cuthresh::train
