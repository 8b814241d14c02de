#include <algorithm>
#include <cstdio>

#include "train/fit_reporter.hpp"
#include "train/fit_run.hpp"

namespace cuthresh {

FitObserver::~FitObserver() = default;

namespace train {

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

Fit::Fit(const FitConfig& config, FitObserver& observer)
    : observer_(observer),
      data_(load_data(config.data, config.run.seed)),
      config_(in_steps(config, data_.train.rows)),
      graph_(nn::build_graph(model_spec(config_, data_))),
      chosen_(checked_backend(data_, graph_, config_)),
      backend_(*chosen_.backend),
      network_(
          backend_, graph_,
          Trainer::rows_needed(data_.train.rows, config_.train.batch, nn::floats_a_row(graph_))),
      task_(make_task(config_, network_.parameters().list())),
      resumed_(find_checkpoint()),
      folder_(prepare_folder()),
      trainer_(backend_, network_, data_, trainer_settings(), task_.groups) {
  for (std::int64_t i = 1; i < config_.search.parallel; ++i) {
    beside_.push_back(std::make_unique<Beside>(backend_options(config_), backend_, network_, data_,
                                               trainer_settings(), task_.groups, trainer_));
    set_initial(*beside_.back()->chosen.backend, beside_.back()->network.parameters());
  }
}

FitResult Fit::run() {
  observer_.note("device: " + chosen_.why);
  for (const std::string& note : task_.notes) observer_.note(note);
  if (resumed_ && !one_run()) check_resumed(0);  // refuses another search.method
  const Found found = one_run() ? train_controlled() : search_lambda();
  const std::uint64_t of_search = bytes_to_host_search();
  if (config_.search.compare_dense && !cancelled_) train_dense();
  FitResult result = summarise(found);
  result.bytes_to_host_search = of_search;
  write(result);
  return result;
}

ChosenBackend Fit::checked_backend(const DataSplit& data, const nn::Graph& graph,
                                   const FitConfig& config) {
  check_data(data, config, graph.output().elements());
  return choose_backend(config, graph);
}

void Fit::set_initial(Backend& backend, nn::Parameters& parameters) const {
  if (config_.run.init.empty()) {
    parameters.initialise(initialisation(config_.model), config_.run.seed);
  } else {
    load_initial(backend, parameters, config_.run.init);
  }
}

std::unique_ptr<RunFolder> Fit::prepare_folder() {
  // Initial weights first: a bad file is found before anything is made on disk.
  set_initial(backend_, network_.parameters());
  // What was interrupted had the right to the folder, and may have left it with what it had then.
  return std::make_unique<RunFolder>(config_.run.out, config_.run.force || resumed_);
}

std::int64_t Fit::sample_every() const {
  const std::int64_t every = config_.train.eval_every;
  if (every == kNever) return 0;
  return every > 0 ? every : std::max<std::int64_t>(1, config_.train.steps / 50);
}

TrainerSettings Fit::trainer_settings() const {
  const TrainConfig& c = config_.train;
  TrainerSettings settings;
  settings.loss = loss_kind(c);
  settings.learning_rate = static_cast<float>(c.learning_rate);
  settings.batch = c.batch;
  settings.sample_every = sample_every();
  settings.seed = config_.run.seed;
  settings.random_crop = config_.data.random_crop;
  settings.random_flip = config_.data.random_flip;
  settings.step = step_kind(c);
  settings.momentum = static_cast<float>(c.momentum);
  settings.schedule = make_schedule(c);
  settings.test_every = c.test_every;
  settings.execution = execution(config_.run);
  settings.data_stay = true;
  return settings;
}

StepStatus Fit::train(std::int64_t round, const std::vector<float>& lambda, const StopRule& rule) {
  Reporter reporter(*this, round, lambda);
  return trainer_.run(task_.plan_lambda(lambda), rule, config_.train.steps, reporter.watcher(),
                      reporter.asker());
}

void Fit::train_dense() {
  observer_.note("the dense network beside it: one training of " +
                 std::to_string(config_.train.steps) + " steps with λ 0");
  gradient_of_ = kNoRound;
  network_.parameters().start_from_initial();
  const std::vector<float> zero(task_.search_groups.size(), 0.0f);
  const StepStatus status = train(0, zero, StopRule{});
  NetworkScores dense;
  dense.steps = status.steps;
  set_scores(dense, trainer_.evaluate_train(), trainer_.evaluate_test());
  if (!cancelled_) dense_ = dense;
}

StepSample Fit::step_sample(std::int64_t round, std::int64_t step,
                            const std::vector<double>& lambda,
                            const std::vector<std::int64_t>& counts, const Sample& sample,
                            Clock::time_point begin) {
  return {round,
          step,
          lambda,
          counts,
          *sample.loss,
          sample.test ? sample.test->loss : kNoNumber,
          sample.accuracy,
          sample.test ? sample.test->accuracy : std::nullopt,
          seconds_since(begin)};
}

RoundResult Fit::finish_round(std::int64_t number, const StepStatus& status, bool wants_gradient) {
  note_execution();
  if (wants_gradient && status.nonfinite == 0) gradient_of_ = rounds_.size();
  return scored(trainer_, number, status, wants_gradient);
}

RoundResult Fit::scored(Trainer& trainer, std::int64_t number, const StepStatus& status,
                        bool wants_gradient) const {
  RoundResult round;
  round.round = number;
  round.nnz = task_.search_counts(status.nnz);
  round.steps = status.steps;
  round.diverged = status.nonfinite > 0;
  round.train_loss = round.test_loss = kNoNumber;
  if (round.diverged) return round;
  // Where the gradient is wanted anyway, for the pivot or the certificate, it brings the loss.
  std::optional<Evaluation> train;
  if (wants_gradient) train = trainer.full_gradient();
  if (!train) train = trainer.evaluate_train();
  set_scores(round, *train, trainer.evaluate_test());
  // Finite weights can still give a loss that is not: the network is of no use.
  round.diverged = !std::isfinite(round.train_loss);
  return round;
}

void Fit::note_execution() {
  // Where there is no choice there is nothing to say.
  if (config_.run.execution == "auto" && !backend_.unsupported(Operation::kGraph).empty()) return;
  if (execution_ == trainer_.execution()) return;
  execution_ = trainer_.execution();
  observer_.note("steps: " + execution_);
}

void Fit::keep_round(const RoundResult& round) {
  rounds_.push_back(round);
  history_.add_round(round);
  observer_.round_ended(round);
}

}  // namespace train

FitResult fit(const FitConfig& config, FitObserver* observer) {
  validate(config);
  struct Silent final : FitObserver {
    bool wants_progress() override { return false; }
  } silent;
  return train::Fit(config, observer == nullptr ? silent : *observer).run();
}

}  // namespace cuthresh
