#include "train/trainer.hpp"

#include <algorithm>
#include <chrono>

namespace cuthresh::train {
namespace {

bool finishes(const search::RunSchedule* controlled, std::int64_t index) {
  return controlled != nullptr && controlled->phase(index) == search::RunPhase::kFinish;
}

}  // namespace

std::int64_t Trainer::rows_needed(std::int64_t train_rows, std::int64_t batch,
                                  std::int64_t floats_a_row) {
  // A full batch passes in one piece where that takes less than 1 GiB: only then are the bits of
  // its gradient those of one product. Evaluation alone is worth 32 MiB.
  constexpr std::int64_t kFullBatchFloats = std::int64_t{1} << 28;
  constexpr std::int64_t kEvaluationFloats = std::int64_t{1} << 23;
  const std::int64_t floats = batch == 0 ? kFullBatchFloats : kEvaluationFloats;
  const std::int64_t most = batch == 0 ? train_rows : std::min(kEvaluationRows, train_rows);
  return std::max({batch, std::int64_t{1}, std::min(most, floats / floats_a_row)});
}

Trainer::Trainer(Backend& backend, nn::Network& network, const DataSplit& data,
                 const TrainerSettings& settings, std::span<const std::int32_t> groups,
                 Trainer* twin)
    : backend_(backend),
      network_(network),
      settings_(settings),
      outputs_(network.outputs()),
      data_(backend, data,
            {settings.loss == LossKind::kCrossEntropy, settings.batch, settings.seed,
             network.max_rows(), settings.random_crop, settings.random_flip, settings.data_stay},
            twin != nullptr ? twin->arrived_data() : nullptr),
      sum_(backend, 1),
      graphs_(backend, settings.execution, settings.longest_chunk),
      small_(backend, network, settings.execution, data_.batch_rows(0)) {
  std::vector<ProxTensor> tensors;
  std::int32_t count = 0;
  nn::Parameters& parameters = network.parameters();
  if (has_momentum(settings.step)) {
    momentum_ = Array<float>(backend, parameters.elements());
  }
  for (std::size_t i = 0; i < parameters.list().size(); ++i) {
    const nn::Parameter& p = parameters.list()[i];
    if (!p.trained()) continue;
    float* const v = momentum_.data() == nullptr ? nullptr : momentum_.data() + p.offset;
    tensors.push_back({parameters.value(i), parameters.gradient(i), p.numel, groups[i], v});
    count = std::max(count, groups[i] + 1);
  }
  plan_ = backend.make_plan(tensors, count, settings.step);
  backend.skip_zeros(*plan_, ZeroSkipping::kAuto);  // begin_run() restores, then sets the stop rule
  float learning_rate = settings.learning_rate;
  if (settings.schedule) {
    const Schedule& schedule = *settings.schedule;
    learning_rate = static_cast<float>(schedule.learning_rate);
    const bool constant = schedule.kind == ScheduleKind::kConstant && schedule.warmup == 0;
    if (!constant) rates_.emplace(backend, schedule);
  }
  backend.set_rate(*plan_, {learning_rate, settings.momentum});
}

const DeviceData* Trainer::arrived_data() {
  backend_.synchronize();
  return &data_;
}

float Trainer::gradient_scale(std::int64_t rows) const {
  const bool mse = settings_.loss == LossKind::kMse;
  return static_cast<float>((mse ? 2.0 : 1.0) / static_cast<double>(mse ? rows * outputs_ : rows));
}

void Trainer::apply_loss(const float* prediction, const Batch& batch, std::int64_t mean_over,
                         bool accumulate, Wanted wanted) {
  LossArgs args;
  args.rows = batch.rows;
  args.columns = outputs_;
  args.prediction = prediction;
  args.target = batch.targets;
  args.label = batch.labels;
  args.gradient_scale = gradient_scale(mean_over);
  if (wanted.gradient) args.gradient = network_.output_gradient();
  if (wanted.loss) args.sum = sum_.data();
  args.accumulate = accumulate;
  if (settings_.loss == LossKind::kMse) {
    backend_.mse(args);
  } else {
    backend_.softmax_cross_entropy(args);
  }
}

template <class BatchAt>
void Trainer::pass_over(std::int64_t rows, const BatchAt& batch_at,
                        const nn::ForwardOptions& options, Wanted wanted) {
  for (std::int64_t first = 0; first < rows; first += network_.max_rows()) {
    const Batch batch = batch_at(first, std::min(network_.max_rows(), rows - first));
    const bool further = first > 0;
    const float* prediction = network_.forward(batch.inputs, batch.rows, options);
    apply_loss(prediction, batch, rows, further, wanted);
    if (wanted.gradient) network_.backward(batch.inputs, batch.rows, further);
  }
}

void Trainer::pass_over(DeviceData::Part part, Pass pass, Wanted wanted) {
  const auto batch_at = [&](std::int64_t first, std::int64_t rows) {
    return data_.slice(part, first, rows);
  };
  pass_over(data_.rows(part), batch_at, {.pass = pass}, wanted);
}

void Trainer::pass_step(std::int64_t index, const search::RunSchedule* controlled, bool sampled) {
  sampled_rows_ = data_.batch_rows(index);
  if (small_.taken()) {
    return small_.step(*plan_, data_.batch(index, 0, sampled_rows_, plan_.get()),
                       gradient_scale(sampled_rows_), sampled ? sum_.data() : nullptr,
                       !finishes(controlled, index));
  }
  const nn::ForwardOptions options{Pass::kTrain, settings_.seed, plan_.get()};
  const auto batch_at = [&](std::int64_t first, std::int64_t rows) {
    return data_.batch(index, first, rows, plan_.get());
  };
  pass_over(sampled_rows_, batch_at, options, {.loss = sampled, .gradient = true});
}

void Trainer::update_weights(std::int64_t index, const search::RunSchedule* controlled,
                             bool captured) {
  if (finishes(controlled, index)) return backend_.keep_targets(*plan_);
  if (!small_.taken()) backend_.prox_step(*plan_);
  if (controlled == nullptr || controlled->phase(index) == search::RunPhase::kDebias) return;
  if (captured || controlled->updates_after(index)) backend_.control(*plan_);
}

void Trainer::follow_schedule(std::int64_t index, bool captured) {
  if (!rates_) return;
  if (captured || rate_now_ != rates_->at(index)) rates_->follow(*plan_);
  rate_now_ = rates_->at(index);
}

StepStatus Trainer::run(std::span<const float> lambda, const StopRule& rule, std::int64_t steps,
                        const Watch& watch, const Ask& ask) {
  backend_.set_lambda(*plan_, lambda);
  begin_run(rule);
  return take_steps({steps, watch, ask}, 0, steps);
}

StepStatus Trainer::run_controlled(const ControlledRun& controlled, const Watch& watch,
                                   const Ask& ask, const std::function<void()>& frozen,
                                   const TrainerState* from) {
  const search::RunSchedule& schedule = controlled.schedule;
  begin_run({});
  // The rule is part of what is captured.
  graphs_.forget();
  ControlRule rule = schedule.rule;
  rule.every = schedule.update_every;
  rule.end = schedule.finish_at;
  backend_.set_control(*plan_, rule, controlled.targets);
  const std::int64_t first = from == nullptr ? 0 : from->control.steps;
  if (from != nullptr) restore_state(*from);
  const Run run{schedule.steps, watch, ask, &schedule};
  if (from != nullptr && !from->chosen.empty()) return take_steps(run, first, schedule.steps);
  const StepStatus status = take_steps(run, first, schedule.debias_at);
  if (status.steps < schedule.debias_at || status.stopped) return status;
  frozen();
  freeze();
  return take_steps(run, schedule.debias_at, schedule.steps);
}

void Trainer::begin_run(const StopRule& rule) {
  frozen_ = false;
  network_.parameters().restore_start();
  if (momentum_.size() > 0) momentum_.zero();
  backend_.set_stop(*plan_, rule);
  rate_now_.reset();  // steps beyond a stop may have set one
}

Trainer::Look Trainer::look_at(std::int64_t index) const {
  const auto due = [](std::int64_t step, std::int64_t every) {
    return every > 0 && step % every == 0;
  };
  const bool has_test = data_.rows(DeviceData::Part::kTest) > 0;
  const bool tested = has_test && due(index + 1, settings_.test_every);
  return {due(index, settings_.sample_every) || tested, tested};
}

StepShape Trainer::shape_of(const Run& run, std::int64_t index) const {
  using Update = StepShape::Update;
  const std::int64_t rows = data_.batch_rows(index);
  if (run.controlled == nullptr) return {rows, Update::kStep};
  switch (run.controlled->phase(index)) {
    case search::RunPhase::kFinish:
      return {rows, Update::kFinish};
    case search::RunPhase::kDebias:
      return {rows, Update::kDebias};
    default:
      return {rows, Update::kControlled};
  }
}

StepStatus Trainer::take_steps(const Run& run, std::int64_t first, std::int64_t end) {
  using Clock = std::chrono::steady_clock;
  for (std::int64_t i = first; i < end && !backend_.known_to_have_stopped(*plan_);) {
    const Clock::time_point begin = Clock::now();
    const std::int64_t blind = blind_steps(run, i, end);
    const bool replayed = blind > 0 && replay_steps(run, i, blind);
    const Look at = replayed ? Look{} : look_at(i);
    if (!replayed) take_step(run, i, at.sampled);
    const std::int64_t taken = replayed ? blind : 1;
    const Wish wish = run.ask ? run.ask() : Wish::kGoOn;
    if (at.sampled || wish == Wish::kLook) {
      if (!look(i + taken - 1, at, run.watch)) break;
    } else {
      backend_.throttle(taken);
      if (blind == graphs_.chunk()) {
        graphs_.pace(std::chrono::duration<double>(Clock::now() - begin).count());
      }
    }
    if (wish == Wish::kEnd) break;
    i += taken;
  }
  return backend_.read_status(*plan_);
}

std::int64_t Trainer::blind_steps(const Run& run, std::int64_t index, std::int64_t end) const {
  const StepShape shape = shape_of(run, index);
  if (!graphs_.ready(shape)) return 0;
  std::int64_t most = std::min(end, index + graphs_.chunk());
  most = std::min(most, data_.epoch_end(index));
  if (rates_) most = std::min(most, RateTable::window_end(index));
  std::int64_t next = index;
  while (next < most && !look_at(next).sampled && shape_of(run, next) == shape) ++next;
  return next - index;
}

bool Trainer::replay_steps(const Run& run, std::int64_t index, std::int64_t count) {
  data_.prepare(index);
  if (rates_) rates_->prepare(index, run.steps);
  const bool replayed = graphs_.replay(shape_of(run, index), count, [&] {
    follow_schedule(index, true);
    pass_step(index, run.controlled, false);
    update_weights(index, run.controlled, true);
  });
  rate_now_.reset();
  if (replayed && rates_) rate_now_ = rates_->at(index + count - 1);
  return replayed;
}

void Trainer::take_step(const Run& run, std::int64_t index, bool sampled) {
  const StepShape shape = shape_of(run, index);
  // The first of its shape asks for all that captured ones will.
  const bool first = !sampled && !graphs_.ready(shape);
  if (rates_) rates_->prepare(index, run.steps);
  follow_schedule(index, first);
  pass_step(index, run.controlled, sampled);
  update_weights(index, run.controlled, first);
  if (!sampled) graphs_.note_plain(shape);
}

bool Trainer::look(std::int64_t index, const Look& at, const Watch& watch) {
  const std::uint64_t before = backend_.bytes_to_host();
  const StepStatus status = backend_.read_status(*plan_);
  // Steps are enqueued beyond the one that stopped. The room does not take them, so their loss is
  // no sample.
  const bool taken = status.steps == index + 1;
  Sample sample;
  if (taken && at.sampled) {
    const Evaluation batch = read_evaluation(sampled_rows_);
    sample.loss = batch.loss;
    sample.accuracy = batch.accuracy;
  }
  if (taken && at.tested) sample.test = evaluate_test();
  bytes_looked_at_ += backend_.bytes_to_host() - before;
  if (taken && watch) watch(status.steps, status, sample);
  return taken;
}

Evaluation Trainer::read_evaluation(std::int64_t rows) {
  LossSum sum;
  backend_.download(&sum, sum_.data(), sizeof sum);
  Evaluation evaluation;
  const bool mse = settings_.loss == LossKind::kMse;
  evaluation.loss = sum.loss / static_cast<double>(mse ? rows * outputs_ : rows);
  if (!mse) {
    evaluation.accuracy = static_cast<double>(sum.correct) / static_cast<double>(rows);
  }
  return evaluation;
}

Evaluation Trainer::evaluate(DeviceData::Part part) {
  pass_over(part, Pass::kEvaluate, {.loss = true});
  return read_evaluation(data_.rows(part));
}

std::optional<Evaluation> Trainer::evaluate_test() {
  if (data_.rows(DeviceData::Part::kTest) == 0) return std::nullopt;
  return evaluate(DeviceData::Part::kTest);
}

std::optional<Evaluation> Trainer::full_gradient() {
  pass_over(DeviceData::Part::kTrain, Pass::kGradient, {.loss = true, .gradient = true});
  if (network_.depends_on_pass()) return std::nullopt;
  return read_evaluation(data_.rows(DeviceData::Part::kTrain));
}

std::unique_ptr<ProxPlan> Trainer::look_plan(std::span<const std::size_t> parameters,
                                             bool together) {
  std::vector<ProxTensor> tensors;
  nn::Parameters& all = network_.parameters();
  std::int32_t group = 0;
  for (const std::size_t i : parameters) {
    tensors.push_back({all.value(i), all.gradient(i), all.list()[i].numel, group});
    if (!together) ++group;
  }
  return backend_.make_plan(tensors, together ? 1 : group);
}

float Trainer::largest_gradient(std::span<const std::size_t> parameters) {
  return backend_.read_kth_gradient(*look_plan(parameters, true), 1);
}

std::vector<KktResult> Trainer::kkt(std::span<const std::size_t> parameters,
                                    std::span<const float> lambda) {
  const std::unique_ptr<ProxPlan> plan = look_plan(parameters, false);
  backend_.set_lambda(*plan, lambda);
  return backend_.read_kkt(*plan);
}

}  // namespace cuthresh::train
