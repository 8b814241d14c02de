#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.hpp"
#include "core/array.hpp"
#include "cuthresh/data.hpp"
#include "kernels/math/schedule.hpp"
#include "nn/network.hpp"
#include "search/schedule.hpp"
#include "train/device_data.hpp"
#include "train/rate_table.hpp"
#include "train/small_steps.hpp"
#include "train/step_graphs.hpp"

namespace cuthresh::train {

enum class LossKind : std::uint8_t { kMse, kCrossEntropy };

struct TrainerSettings {
  LossKind loss = LossKind::kMse;
  float learning_rate = 0.1f;
  std::int64_t batch = 0;         ///< 0: full batch
  std::int64_t sample_every = 1;  ///< steps between two looks at the batch's loss; 0: none
  std::uint64_t seed = 0;
  std::int64_t random_crop = 0;  ///< images of a step are moved by up to so many pixels
  bool random_flip = false;      ///< and every second one is mirrored, at random
  StepKind step = StepKind::kPlain;
  float momentum = 0.0f;                  ///< its buffers begin at zero in every round
  std::optional<Schedule> schedule = {};  ///< none: learning_rate in every step
  std::int64_t test_every = 0;  ///< steps between two evaluations of the test rows; 0: none
  Execution execution = Execution::kAuto;
  double longest_chunk = 0.5;  ///< seconds that captured steps are taken without asking, at most
  bool data_stay = false;      ///< the data outlive the trainer: it may read images where they lie
};

/// One training that ends with exactly the targets' numbers of nonzeros: λ is controlled until the
/// finish, then the largest weights are kept, and in the debias the survivors alone are trained,
/// without a penalty.
struct ControlledRun {
  search::RunSchedule schedule;
  std::vector<ControlTarget> targets;
};

/// A controlled run after some of its steps: with the settings, all that it takes to go on.
struct TrainerState {
  ControlState control;         ///< the number of steps among it
  std::vector<float> values;    ///< Parameters::elements()
  std::vector<float> momentum;  ///< the same; none without momentum
  /// In the debias the values when the zeros were frozen, which of them say; else none.
  std::vector<float> chosen;
};

/// Mean loss and, for cross-entropy, the share of rows classified right.
struct Evaluation {
  double loss = 0.0;
  std::optional<double> accuracy;
};

/// What was looked at after a step.
struct Sample {
  std::optional<double> loss;      ///< of the step's batch, before the step
  std::optional<double> accuracy;  ///< of the same, with cross-entropy
  std::optional<Evaluation> test;  ///< of the test rows, after the step
};

/// Algorithm 3 of arXiv 2408.02801 on one network and data set: proximal gradient steps from the
/// initial weights. The plan's groups are the penalised parameters, in the network's order.
class Trainer {
 public:
  /// Rows of a forward pass when batches are not the full set: enough to keep two cores busy.
  static constexpr std::int64_t kEvaluationRows = 1024;
  /// Rows a network should have room for; a row takes `floats_a_row` (nn::floats_a_row).
  static std::int64_t rows_needed(std::int64_t train_rows, std::int64_t batch,
                                  std::int64_t floats_a_row);

  /// `groups`: for each parameter its group, or −1 for one that is not penalised. `twin`: a trainer
  /// on the same device, maybe by another room, with the same data and settings, whose rows serve
  /// both; it outlives this one.
  Trainer(Backend& backend, nn::Network& network, const DataSplit& data,
          const TrainerSettings& settings, std::span<const std::int32_t> groups,
          Trainer* twin = nullptr);

  /// After a step that was looked at: its number from 1, the status, what was sampled. A step that
  /// was enqueued after the stop is neither sampled nor reported.
  using Watch =
      std::function<void(std::int64_t step, const StepStatus& status, const Sample& sample)>;
  /// After every step, or every chunk of captured ones, which may still be under way. Looking waits
  /// for it.
  enum class Wish : std::uint8_t { kGoOn, kLook, kEnd };
  using Ask = std::function<Wish()>;

  /// One round: at most `steps` steps with `lambda` (one a group) from the initial weights, zero
  /// momentum and the schedule's beginning. What is looked at changes no weight.
  StepStatus run(std::span<const float> lambda, const StopRule& rule, std::int64_t steps,
                 const Watch& watch, const Ask& ask = {});
  /// A controlled run, of the schedule's steps, in place of a round with one λ. `frozen` is called
  /// when the last phase begins, or at the end without one, at the weights that are kept. `from`:
  /// goes on there, as if it had never been interrupted.
  StepStatus run_controlled(const ControlledRun& controlled, const Watch& watch, const Ask& ask,
                            const std::function<void()>& frozen,
                            const TrainerState* from = nullptr);
  /// Of a controlled run, between two steps: while it is watched, or after an ask ended it. Looks,
  /// as samples do.
  TrainerState save_state();
  /// λ a group, as it is now.
  std::vector<float> lambda() { return backend_.read_lambda(*plan_); }
  /// How steps reached the device so far: "captured graph, up to 256 at a time", "plain: " and why.
  std::string execution() const { return small_.describe(graphs_.describe()); }
  /// Of Backend::bytes_to_host, what samples and looks took so far: rounds do without.
  std::uint64_t bytes_looked_at() const { return bytes_looked_at_; }

  Evaluation evaluate_train() { return evaluate(DeviceData::Part::kTrain); }
  /// Nothing without test rows.
  std::optional<Evaluation> evaluate_test();

  /// ∂L/∂(every parameter) over the whole training set, at the present weights, into the gradients.
  /// Gives the evaluation of the training set as well, unless the network is another one then
  /// (batch normalisation).
  std::optional<Evaluation> full_gradient();
  /// After full_gradient().
  std::vector<MedianResult> bracket_medians(std::span<const std::pair<float, float>> brackets) {
    return backend_.read_bracket_medians(*plan_, brackets);
  }
  /// max |g| over these parameters (indices in the network's list), after full_gradient(). NaN
  /// orders above ∞.
  float largest_gradient(std::span<const std::size_t> parameters);
  /// Of each of these parameters (indices in the network's list), with λ of each.
  std::vector<KktResult> kkt(std::span<const std::size_t> parameters,
                             std::span<const float> lambda);
  std::vector<std::uint64_t> nonzeros() { return backend_.read_nonzeros(*plan_); }

 private:
  const DeviceData* arrived_data();
  /// A plan to look at these parameters with, each a group of its own, or all of them one.
  std::unique_ptr<ProxPlan> look_plan(std::span<const std::size_t> parameters, bool together);
  /// What a pass over rows leaves behind.
  struct Wanted {
    bool loss = false;      // its sum, in sum_
    bool gradient = false;  // of the mean loss over all of them, in the parameters' gradients
  };
  /// Forward, loss and, if wanted, backward over `rows` rows, as many at once as the network takes;
  /// `batch_at(first, rows)` gives them.
  template <class BatchAt>
  void pass_over(std::int64_t rows, const BatchAt& batch_at, const nn::ForwardOptions& options,
                 Wanted wanted);
  /// The same over a part of the data, as it is.
  void pass_over(DeviceData::Part part, Pass pass, Wanted wanted);
  void apply_loss(const float* prediction, const Batch& batch, std::int64_t mean_over,
                  bool accumulate, Wanted wanted);
  /// Of a mean over so many rows.
  float gradient_scale(std::int64_t rows) const;
  Evaluation evaluate(DeviceData::Part part);
  Evaluation read_evaluation(std::int64_t rows);
  void begin_run(const StopRule& rule);
  void restore_state(const TrainerState& state);
  /// The last phase begins: its weights are kept as the best, for save_state().
  void freeze();
  /// What a run of `steps` steps is told and asked; `controlled`: null with one λ.
  struct Run {
    std::int64_t steps;
    const Watch& watch;
    const Ask& ask;
    const search::RunSchedule* controlled = nullptr;
  };
  /// What is looked at after a step.
  struct Look {
    bool sampled = false;
    bool tested = false;
  };
  Look look_at(std::int64_t index) const;
  StepShape shape_of(const Run& run, std::int64_t index) const;
  /// Steps [first, end) of it.
  StepStatus take_steps(const Run& run, std::int64_t first, std::int64_t end);
  /// Steps from `index` on that are alike and none of which is looked at, up to a chunk.
  std::int64_t blind_steps(const Run& run, std::int64_t index, std::int64_t end) const;
  /// Takes that many, as a graph. False: none.
  bool replay_steps(const Run& run, std::int64_t index, std::int64_t count);
  void take_step(const Run& run, std::int64_t index, bool sampled);
  /// Gradients of step `index`'s rows; of a small network with the step, where it is an ordinary
  /// one.
  void pass_step(std::int64_t index, const search::RunSchedule* controlled, bool sampled);
  /// `captured`: asks for all that any step of this shape may need, which the device then decides.
  void update_weights(std::int64_t index, const search::RunSchedule* controlled, bool captured);
  void follow_schedule(std::int64_t index, bool captured);
  /// After step `index`. False when it was not taken, because the round had stopped before.
  bool look(std::int64_t index, const Look& at, const Watch& watch);

  Backend& backend_;
  nn::Network& network_;
  TrainerSettings settings_;
  std::int64_t outputs_;
  DeviceData data_;
  std::unique_ptr<ProxPlan> plan_;
  Array<LossSum> sum_;
  std::int64_t sampled_rows_ = 0;
  Array<float> momentum_;
  bool frozen_ = false;
  std::optional<RateTable> rates_;  // none: the same rate in every step
  std::optional<float> rate_now_;   // the plan's, where it is known
  std::uint64_t bytes_looked_at_ = 0;
  StepGraphs graphs_;
  SmallSteps small_;
};

}  // namespace cuthresh::train
