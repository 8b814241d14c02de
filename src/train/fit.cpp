#include "cuthresh/fit.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/registry.hpp"
#include "cuthresh/error.hpp"
#include "cuthresh/model_file.hpp"
#include "io/report.hpp"
#include "io/run_folder.hpp"
#include "search/search.hpp"
#include "train/prepare.hpp"
#include "train/trainer.hpp"

namespace cuthresh {

FitObserver::~FitObserver() = default;

namespace train {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

/// No round yet.
constexpr std::size_t kNoRound = std::numeric_limits<std::size_t>::max() - 1;

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
  to.test_loss = test ? test->loss : kNone;
  to.test_accuracy = test ? test->accuracy : std::nullopt;
}

/// One run of the command: a search (src/search) asks for trainings, a Trainer does them, a
/// RunFolder takes what comes out.
class Fit {
 public:
  Fit(const FitConfig& config, FitObserver& observer)
      : observer_(observer),
        data_(load_data(config.data, config.run.seed)),
        config_(in_steps(config, data_.train.rows)),
        graph_(nn::build_graph(model_spec(config_, data_))),
        chosen_(choose_backend(data_, graph_, config_)),
        backend_(*chosen_.backend),
        network_(
            backend_, graph_,
            Trainer::rows_needed(data_.train.rows, config_.train.batch, nn::floats_a_row(graph_))),
        task_(make_task(config_, network_.parameters().list())),
        folder_(prepare_folder()),
        trainer_(backend_, network_, data_, trainer_settings(), task_.groups) {}

  FitResult run() {
    observer_.note("device: " + chosen_.why);
    for (const std::string& note : task_.notes) observer_.note(note);
    search::LambdaSearch search(search_settings());
    while (search.phase() != search::Phase::kDone && !cancelled_) {
      if (search.phase() == search::Phase::kTrain) {
        train_round(search);
      } else {
        report_pivot(search);
      }
      for (const std::string& note : search.take_notes()) observer_.note(note);
    }
    const std::uint64_t bytes_to_host_search =
        backend_.bytes_to_host() - trainer_.bytes_looked_at();
    if (config_.search.compare_dense && !cancelled_) train_dense();
    FitResult result = summarise(search);
    result.bytes_to_host_search = bytes_to_host_search;
    write(result);
    return result;
  }

 private:
  static ChosenBackend choose_backend(const DataSplit& data, const nn::Graph& graph,
                                      const FitConfig& config) {
    check_data(data, config, graph.output().elements());
    ChosenBackend chosen = make_backend(
        {config.run.device, config.run.engine, config.run.threads, config.run.precision});
    check_operations(*chosen.backend, config, graph);
    return chosen;
  }

  std::unique_ptr<RunFolder> prepare_folder() {
    // Initial weights first: a bad file is found before anything is made on disk.
    if (config_.run.init.empty()) {
      network_.parameters().initialise(initialisation(config_.model), config_.run.seed);
    } else {
      load_initial(backend_, network_.parameters(), config_.run.init);
    }
    return std::make_unique<RunFolder>(config_.run.out, config_.run.force);
  }

  std::int64_t sample_every() const {
    const std::int64_t every = config_.train.eval_every;
    if (every == kNever) return 0;
    return every > 0 ? every : std::max<std::int64_t>(1, config_.train.steps / 50);
  }

  TrainerSettings trainer_settings() const {
    const TrainConfig& c = config_.train;
    TrainerSettings settings;
    settings.loss = loss_kind(c);
    settings.learning_rate = static_cast<float>(c.learning_rate);
    settings.batch = c.batch;
    settings.sample_every = sample_every();
    settings.seed = config_.run.seed;
    settings.random_crop = config_.data.random_crop;
    settings.random_flip = config_.data.random_flip;
    settings.method = step_method(c);
    settings.schedule = make_schedule(c);
    settings.test_every = c.test_every;
    return settings;
  }

  search::Settings search_settings() {
    const SearchConfig& c = config_.search;
    search::Settings settings;
    settings.targets = task_.targets;
    settings.groups = task_.search_groups;
    settings.tolerance = config_.sparsity.tolerance;
    settings.groups_required = task_.targets.empty() ? 0 : task_.required;
    settings.max_rounds = c.max_rounds;
    if (layerwise()) {
      settings.names.emplace();
      for (const PenalisedLayer& layer : task_.layers) {
        if (layer.search_group >= 0) settings.names->push_back(layer.name);
      }
    }
    if (c.method == "fixed") {
      settings.pivot = search::Pivot::kFixed;
      settings.lambda_lo = settings.lambda_hi = static_cast<float>(c.lambda.front());
      return settings;
    }
    settings.pivot =
        c.method == "log-midpoint" ? search::Pivot::kLogMidpoint : search::Pivot::kGradientMedian;
    if (c.lambda.empty()) {
      settings.lambda_hi = automatic_lambda_max();
      settings.lambda_lo = settings.lambda_hi * 1e-4f;
      observer_.note("bracket: λ from " + number(static_cast<double>(settings.lambda_lo)) + " to " +
                     number(static_cast<double>(settings.lambda_hi)) +
                     ", the largest gradient at zero weights and 1e-4 of it");
    } else {
      settings.lambda_lo = static_cast<float>(c.lambda[0]);
      settings.lambda_hi = static_cast<float>(c.lambda[1]);
    }
    return settings;
  }

  /// λ_max = max |∂L/∂w| at zero weights: from there on all-zero weights are stationary (Theorem
  /// 9). Only weights that follow a λ of the search are zeroed and looked at: the others keep λ 0
  /// and do not stay at zero. Where the activations of zero weights pass nothing on (all biases
  /// negative under ReLU), the initial weights serve.
  float automatic_lambda_max() {
    nn::Parameters& parameters = network_.parameters();
    parameters.restore_initial();
    std::vector<std::size_t> searched;
    for (const PenalisedLayer& layer : task_.layers) {
      if (layer.search_group < 0) continue;
      searched.push_back(layer.parameter);
      backend_.zero(parameters.value(layer.parameter),
                    static_cast<std::size_t>(layer.numel) * sizeof(float));
    }
    trainer_.full_gradient();
    float largest = trainer_.largest_gradient(searched);
    parameters.restore_initial();
    if (!(largest > 0.0f && std::isfinite(largest))) {
      trainer_.full_gradient();
      largest = trainer_.largest_gradient(searched);
    }
    if (!(largest > 0.0f && std::isfinite(largest))) {
      throw InputError({"search.lambda",
                        "no bracket can be found: the gradient at the initial weights is not a "
                        "positive finite number",
                        number(static_cast<double>(largest)),
                        "give a bracket, e.g. lambda = [1e-7, 1e-3], and check the data's scale"});
    }
    return largest;
  }

  bool layerwise() const { return !config_.sparsity.layers.empty(); }

  /// One training with λ a search group; `round` 0 is the dense one. Shows progress.
  StepStatus train(std::int64_t round, const std::vector<float>& lambda, const StopRule& rule) {
    const auto round_start = Clock::now();
    FitObserver::Progress progress;
    progress.round = round;
    progress.max_rounds = config_.search.method == "fixed" ? 1 : config_.search.max_rounds;
    progress.steps = config_.train.steps;
    progress.lambda.assign(lambda.begin(), lambda.end());
    progress.target_nnz = task_.target_total();
    progress.loss = kNone;
    auto last_report = round_start - std::chrono::seconds(1);

    bool report_due = false;
    const auto ask = [&] {
      const auto now = Clock::now();
      if (now - last_report < std::chrono::milliseconds(100)) return Trainer::Wish::kGoOn;
      last_report = now;
      cancelled_ = observer_.cancelled();
      if (cancelled_) return Trainer::Wish::kEnd;
      report_due = observer_.wants_progress();
      return report_due ? Trainer::Wish::kLook : Trainer::Wish::kGoOn;
    };
    const auto watch = [&](std::int64_t step, const StepStatus& status, const Sample& sample) {
      const std::vector<std::int64_t> counts = task_.search_counts(status.nnz);
      if (sample.loss) {
        progress.loss = *sample.loss;
        history_.add_step({round, step, progress.lambda, counts, *sample.loss,
                           sample.test ? sample.test->loss : kNone, sample.accuracy,
                           sample.test ? sample.test->accuracy : std::nullopt,
                           seconds_since(round_start)});
      }
      if (!report_due) return;
      report_due = false;
      progress.step = step;
      progress.nnz = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
      progress.seconds = seconds_since(start_);
      progress.round_seconds_left = seconds_since(round_start) / static_cast<double>(step) *
                                    static_cast<double>(progress.steps - step);
      observer_.progress(progress);
    };
    return trainer_.run(task_.plan_lambda(lambda), rule, config_.train.steps, watch, ask);
  }

  /// The same training without a penalty, for comparison; leaves other weights than the best.
  void train_dense() {
    observer_.note("the dense network beside it: one training of " +
                   std::to_string(config_.train.steps) + " steps with λ 0");
    gradient_of_ = kNoRound;
    const std::vector<float> zero(static_cast<std::size_t>(task_.search_groups), 0.0f);
    const StepStatus status = train(0, zero, StopRule{});
    DenseResult dense;
    dense.steps = status.steps;
    set_scores(dense, trainer_.evaluate_train(), trainer_.evaluate_test());
    if (!cancelled_) dense_ = dense;
  }

  void train_round(search::LambdaSearch& search) {
    const auto round_start = Clock::now();
    RoundResult round;
    round.round = static_cast<std::int64_t>(rounds_.size()) + 1;
    const std::vector<float> lambda = search.lambda();
    round.lambda.assign(lambda.begin(), lambda.end());
    const StepStatus status = train(round.round, lambda, stop_rule(config_, task_));

    round.nnz = task_.search_counts(status.nnz);
    round.steps = status.steps;
    round.diverged = status.nonfinite > 0;
    round.train_loss = round.test_loss = kNone;
    if (!round.diverged) {
      // Where the gradient is wanted anyway, for the pivot or the certificate, it brings the loss.
      std::optional<Evaluation> train;
      if (config_.search.method != "log-midpoint") {
        train = trainer_.full_gradient();
        gradient_of_ = rounds_.size();
      }
      if (!train) train = trainer_.evaluate_train();
      set_scores(round, *train, trainer_.evaluate_test());
      // Finite weights can still give a loss that is not: the network is of no use, so the probe
      // failed.
      round.diverged = !std::isfinite(round.train_loss);
    }
    if (round.diverged) {
      observer_.note("round " + std::to_string(round.round) + " diverged at step " +
                     std::to_string(round.steps) + " with λ " + number(round.lambda.front()) +
                     (round.lambda.size() > 1 ? ", …" : "") +
                     ": non-finite loss; a failed probe. A smaller train.learning_rate may help");
    }
    steps_total_ += round.steps;
    // A cancelled round is not a probe, unless there is nothing else to keep.
    if (!cancelled_ || (!search.best() && !round.diverged)) {
      if (search.report_probe(round.nnz, round.diverged)) {
        network_.parameters().keep_as_best();
        best_round_ = rounds_.size();
      }
      round.hit = !cancelled_ && search.met() && search.best() &&
                  *search.best() + 1 == search.probes().size();
    }
    round.seconds = seconds_since(round_start);
    rounds_.push_back(round);
    history_.add_round(round);
    observer_.round_ended(round);
  }

  void report_pivot(search::LambdaSearch& search) {
    // At the weights just trained, over the whole training set.
    if (gradient_of_ + 1 != rounds_.size()) trainer_.full_gradient();
    const std::vector<search::PivotQuery>& queries = search.queries();
    std::vector<std::pair<float, float>> brackets;
    const bool over_all = !layerwise();
    if (over_all) {
      brackets.emplace_back(queries.front().lo, queries.front().hi);
    } else {
      for (const PenalisedLayer& layer : task_.layers) {
        const bool wanted =
            layer.search_group >= 0 && queries[static_cast<std::size_t>(layer.search_group)].wanted;
        brackets.emplace_back(0.0f, 0.0f);  // empty: nothing asked
        if (wanted) {
          const search::PivotQuery& query = queries[static_cast<std::size_t>(layer.search_group)];
          brackets.back() = {query.lo, query.hi};
        }
      }
    }
    const std::vector<MedianResult> found = trainer_.bracket_medians(brackets);
    std::vector<std::optional<float>> medians(queries.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      const std::int32_t group = over_all ? 0 : task_.layers[i].search_group;
      if (group >= 0) medians[static_cast<std::size_t>(group)] = found[i].median;
    }
    search.report_pivot(medians);
  }

  FitResult summarise(const search::LambdaSearch& search) {
    FitResult result;
    network_.parameters().restore_best();
    const bool have_best = search.best().has_value();
    const bool fixed = config_.search.method == "fixed";
    result.why_stopped = cancelled_ ? "cancelled by the user" : search.reason();
    result.steps_total = steps_total_;
    result.rounds = rounds_;
    result.dense = dense_;
    result.device = chosen_.why;
    result.target_nnz = task_.target_total();
    result.best_round = have_best ? static_cast<std::int64_t>(best_round_) + 1 : 0;
    result.achieved = have_best && !cancelled_ && search.met();
    if (fixed && task_.targets.empty()) result.achieved = have_best && !cancelled_;
    result.outcome = outcome(result, fixed);
    if (!have_best)
      observer_.note("no training ended with finite weights: the initial weights are kept");

    const std::vector<float> lambda = task_.plan_lambda(
        have_best ? search.probes()[*search.best()].lambda
                  : std::vector<float>(static_cast<std::size_t>(task_.search_groups), 0.0f));
    if (have_best) {  // evaluated when its round ended
      copy_scores(result, rounds_[best_round_]);
    } else {
      set_scores(result, trainer_.evaluate_train(), trainer_.evaluate_test());
    }
    if (!have_best || gradient_of_ != best_round_) trainer_.full_gradient();
    certify(result, lambda);
    result.seconds = seconds_since(start_);
    return result;
  }

  Outcome outcome(const FitResult& result, bool fixed) const {
    if (fixed) return Outcome::kFixed;
    if (!result.achieved) return Outcome::kMissed;
    const RoundResult& best = rounds_[best_round_];
    return best.steps < config_.train.steps ? Outcome::kCrossed : Outcome::kConverged;
  }

  /// Residuals relative to λ, at the gradient that full_gradient() has just left.
  void certify(FitResult& result, const std::vector<float>& lambda) {
    const std::vector<KktResult> kkt = trainer_.kkt(lambda);
    for (std::size_t i = 0; i < task_.layers.size(); ++i) {
      const PenalisedLayer& layer = task_.layers[i];
      LayerResult row;
      row.name = layer.name;
      row.numel = layer.numel;
      row.nnz = static_cast<std::int64_t>(kkt[i].nonzeros);
      row.lambda = static_cast<double>(lambda[i]);
      if (row.lambda > 0.0 && kkt[i].nonzeros > 0)
        row.kkt_nonzero = static_cast<double>(kkt[i].on_nonzero) / row.lambda;
      if (row.lambda > 0.0 && kkt[i].zeros > 0)
        row.kkt_zero = static_cast<double>(kkt[i].on_zero) / row.lambda;
      if (layerwise() && layer.search_group >= 0) {
        row.target_nnz = task_.targets[static_cast<std::size_t>(layer.search_group)];
        row.reached = search::make_band(*row.target_nnz, config_.sparsity.tolerance)
                          .contains(static_cast<std::uint64_t>(row.nnz));
      } else {
        row.reached = !layerwise() && !task_.targets.empty() && result.achieved;
      }
      if (layer.search_group >= 0) {
        result.nnz += row.nnz;
        result.numel += row.numel;
      }
      result.layers.push_back(std::move(row));
    }
  }

  void write(FitResult& result) {
    ModelFile model;
    model.metadata["format"] = "pt";
    model.metadata["cuthresh_version"] = CTH_VERSION;
    nn::Parameters& parameters = network_.parameters();
    for (std::size_t i = 0; i < parameters.list().size(); ++i) {
      const nn::Parameter& p = parameters.list()[i];
      NamedTensor tensor{p.name, p.shape, std::vector<float>(static_cast<std::size_t>(p.numel))};
      backend_.download(tensor.values.data(), parameters.value(i),
                        tensor.values.size() * sizeof(float));
      model.tensors.push_back(std::move(tensor));
    }
    write_safetensors(folder_->staged("model.safetensors"), model);
    folder_->write("history.csv", history_.text());
    folder_->write("config.toml", to_toml(config_));
    result.bytes_to_host = backend_.bytes_to_host();  // nothing comes back after the weights
    folder_->write("result.json", result_json(result, config_, CTH_VERSION));
    if (const std::string note = folder_->commit(); !note.empty()) observer_.note(note);
    result.folder = folder_->path();  // not the one asked for, if that was taken meanwhile
  }

  FitObserver& observer_;
  Clock::time_point start_ = Clock::now();
  DataSplit data_;
  FitConfig config_;  // with train.steps, whatever was given
  nn::Graph graph_;
  ChosenBackend chosen_;
  Backend& backend_;
  nn::Network network_;
  Task task_;
  std::unique_ptr<RunFolder> folder_;
  Trainer trainer_;
  HistoryCsv history_;
  std::vector<RoundResult> rounds_;
  std::size_t best_round_ = 0;
  std::size_t gradient_of_ = kNoRound;  // the round whose weights' gradient is in place
  std::optional<DenseResult> dense_;
  std::int64_t steps_total_ = 0;
  bool cancelled_ = false;
};

}  // namespace
}  // namespace train

FitResult fit(const FitConfig& config, FitObserver* observer) {
  validate(config);
  struct Silent final : FitObserver {
    bool wants_progress() override { return false; }
  } silent;
  return train::Fit(config, observer == nullptr ? silent : *observer).run();
}

}  // namespace cuthresh
