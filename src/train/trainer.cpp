#include "train/trainer.hpp"

#include <algorithm>

#include "train/batches.hpp"

namespace cuthresh::train {

std::int64_t Trainer::rows_needed(std::int64_t train_rows, std::int64_t batch) {
  return batch == 0 ? train_rows : std::max(batch, std::min(kEvaluationRows, train_rows));
}

Trainer::Trainer(Backend& backend, nn::Network& network, const DataSplit& data,
                 const TrainerSettings& settings, std::span<const std::int32_t> groups)
    : backend_(backend),
      network_(network),
      settings_(settings),
      outputs_(network.outputs()),
      train_(upload(data.train)),
      test_(upload(data.test)),
      sum_(backend, 1) {
  std::vector<ProxTensor> tensors;
  std::int32_t count = 0;
  nn::Parameters& parameters = network.parameters();
  if (settings.method.kind != StepKind::kPlain) {
    momentum_ = Array<float>(backend, parameters.elements());
  }
  for (std::size_t i = 0; i < parameters.list().size(); ++i) {
    const nn::Parameter& p = parameters.list()[i];
    float* const v = momentum_.data() == nullptr ? nullptr : momentum_.data() + p.offset;
    tensors.push_back({parameters.value(i), parameters.gradient(i), p.numel, groups[i], v});
    count = std::max(count, groups[i] + 1);
  }
  plan_ = backend.make_plan(tensors, count, settings.method);
  backend.set_learning_rate(*plan_, settings.learning_rate);
  learning_rate_ = settings.learning_rate;
  if (settings.batch > 0) {
    order_ = Array<std::int64_t>(backend, train_.rows);
    batch_inputs_ = Array<float>(backend, settings.batch * network.inputs());
    if (settings.loss == LossKind::kMse) {
      batch_targets_ = Array<float>(backend, settings.batch * outputs_);
    } else {
      batch_labels_ = Array<std::int32_t>(backend, settings.batch);
    }
  }
}

Trainer::DeviceData Trainer::upload(const Dataset& data) const {
  DeviceData device;
  device.rows = data.rows;
  device.inputs = Array<float>(backend_, data.inputs);
  if (settings_.loss == LossKind::kMse) {
    device.targets = Array<float>(backend_, data.targets);
  } else {
    std::vector<std::int32_t> labels(data.targets.size());
    std::transform(data.targets.begin(), data.targets.end(), labels.begin(),
                   [](float v) { return static_cast<std::int32_t>(v); });
    device.labels = Array<std::int32_t>(backend_, labels);
  }
  return device;
}

LossArgs Trainer::loss_args(const float* prediction, const float* targets,
                            const std::int32_t* labels, std::int64_t rows,
                            std::int64_t mean_over) const {
  LossArgs args;
  args.rows = rows;
  args.columns = outputs_;
  args.prediction = prediction;
  args.target = targets;
  args.label = labels;
  args.gradient_scale = settings_.loss == LossKind::kMse
                            ? static_cast<float>(2.0 / static_cast<double>(mean_over * outputs_))
                            : static_cast<float>(1.0 / static_cast<double>(mean_over));
  return args;
}

void Trainer::apply_loss(const LossArgs& args) {
  if (settings_.loss == LossKind::kMse) {
    backend_.mse(args);
  } else {
    backend_.softmax_cross_entropy(args);
  }
}

double Trainer::mean_loss(double sum, std::int64_t rows) const {
  return sum / static_cast<double>(settings_.loss == LossKind::kMse ? rows * outputs_ : rows);
}

void Trainer::gather(std::int64_t first, std::int64_t rows) {
  const std::int64_t* index = order_.data() + first;
  const auto row_bytes = [](std::int64_t elements) {
    return static_cast<std::size_t>(elements) * 4;
  };
  backend_.gather_rows(batch_inputs_.data(), train_.inputs.data(), index, rows,
                       row_bytes(network_.inputs()));
  if (settings_.loss == LossKind::kMse) {
    backend_.gather_rows(batch_targets_.data(), train_.targets.data(), index, rows,
                         row_bytes(outputs_));
  } else {
    backend_.gather_rows(batch_labels_.data(), train_.labels.data(), index, rows, row_bytes(1));
  }
}

void Trainer::step(std::int64_t index, bool sampled) {
  const float* x = train_.inputs.data();
  const float* targets = train_.targets.data();
  const std::int32_t* labels = train_.labels.data();
  std::int64_t rows = train_.rows;
  if (settings_.batch > 0) {
    const std::int64_t a_epoch = (train_.rows + settings_.batch - 1) / settings_.batch;
    if (index / a_epoch != epoch_) {
      epoch_ = index / a_epoch;
      const std::vector<std::int64_t> order =
          epoch_order(train_.rows, settings_.seed, static_cast<std::uint32_t>(epoch_));
      backend_.upload(order_.data(), order.data(), order_.bytes());
    }
    const std::int64_t first = index % a_epoch * settings_.batch;
    rows = std::min(settings_.batch, train_.rows - first);
    gather(first, rows);
    x = batch_inputs_.data();
    targets = batch_targets_.data();
    labels = batch_labels_.data();
  }
  LossArgs args = loss_args(network_.forward(x, rows), targets, labels, rows, rows);
  args.gradient = network_.output_gradient();
  if (sampled) {
    args.sum = sum_.data();
    sampled_rows_ = rows;
  }
  apply_loss(args);
  network_.backward(x, rows, false);
  backend_.prox_step(*plan_);
}

void Trainer::set_learning_rate(double alpha) {
  const auto rounded = static_cast<float>(alpha);
  if (rounded == learning_rate_) return;
  backend_.set_learning_rate(*plan_, rounded);
  learning_rate_ = rounded;
}

StepStatus Trainer::run(std::span<const float> lambda, const StopRule& rule, std::int64_t steps,
                        const Watch& watch, const Ask& ask) {
  network_.parameters().restore_initial();
  if (momentum_.size() > 0) momentum_.zero();
  backend_.set_lambda(*plan_, lambda);
  backend_.set_stop(*plan_, rule);
  epoch_ = -1;
  const auto due = [](std::int64_t index, std::int64_t every) {
    return every > 0 && index % every == 0;
  };
  for (std::int64_t i = 0; i < steps && !backend_.known_to_have_stopped(*plan_); ++i) {
    if (settings_.schedule) set_learning_rate(settings_.schedule->at(i, steps));
    const bool tested = test_.rows > 0 && due(i + 1, settings_.test_every);
    const bool sampled = due(i, settings_.sample_every) || tested;
    step(i, sampled);
    const Wish wish = ask ? ask() : Wish::kGoOn;
    if (sampled || wish == Wish::kLook) {
      if (!look(i, sampled, tested, watch)) break;
    } else {
      backend_.throttle();
    }
    if (wish == Wish::kEnd) break;
  }
  return backend_.read_status(*plan_);
}

bool Trainer::look(std::int64_t index, bool sampled, bool tested, const Watch& watch) {
  const std::uint64_t before = backend_.bytes_to_host();
  const StepStatus status = backend_.read_status(*plan_);
  // Steps are enqueued beyond the one that stopped. The room does not take them, so their loss is
  // no sample.
  const bool taken = status.steps == index + 1;
  Sample sample;
  if (taken && sampled) {
    LossSum sum;
    backend_.download(&sum, sum_.data(), sizeof sum);
    sample.loss = mean_loss(sum.loss, sampled_rows_);
    if (settings_.loss == LossKind::kCrossEntropy) {
      sample.accuracy = static_cast<double>(sum.correct) / static_cast<double>(sampled_rows_);
    }
  }
  if (taken && tested) sample.test = evaluate_test();
  bytes_looked_at_ += backend_.bytes_to_host() - before;
  if (taken && watch) watch(status.steps, status, sample);
  return taken;
}

Evaluation Trainer::evaluate(const DeviceData& data) {
  for (std::int64_t first = 0; first < data.rows; first += network_.max_rows()) {
    const std::int64_t rows = std::min(network_.max_rows(), data.rows - first);
    const float* prediction =
        network_.forward(data.inputs.data() + first * network_.inputs(), rows);
    const bool mse = settings_.loss == LossKind::kMse;
    LossArgs args = loss_args(prediction, mse ? data.targets.data() + first * outputs_ : nullptr,
                              mse ? nullptr : data.labels.data() + first, rows, data.rows);
    args.sum = sum_.data();
    args.accumulate = first > 0;
    apply_loss(args);
  }
  LossSum sum;
  backend_.download(&sum, sum_.data(), sizeof sum);
  Evaluation evaluation;
  evaluation.loss = mean_loss(sum.loss, data.rows);
  if (settings_.loss == LossKind::kCrossEntropy) {
    evaluation.accuracy = static_cast<double>(sum.correct) / static_cast<double>(data.rows);
  }
  return evaluation;
}

std::optional<Evaluation> Trainer::evaluate_test() {
  if (test_.rows == 0) return std::nullopt;
  return evaluate(test_);
}

void Trainer::full_gradient() {
  for (std::int64_t first = 0; first < train_.rows; first += network_.max_rows()) {
    const std::int64_t rows = std::min(network_.max_rows(), train_.rows - first);
    const float* x = train_.inputs.data() + first * network_.inputs();
    const bool mse = settings_.loss == LossKind::kMse;
    LossArgs args = loss_args(network_.forward(x, rows),
                              mse ? train_.targets.data() + first * outputs_ : nullptr,
                              mse ? nullptr : train_.labels.data() + first, rows, train_.rows);
    args.gradient = network_.output_gradient();
    apply_loss(args);
    network_.backward(x, rows, first > 0);
  }
}

float Trainer::largest_gradient(std::span<const std::size_t> parameters) {
  std::vector<ProxTensor> tensors;
  nn::Parameters& all = network_.parameters();
  for (const std::size_t i : parameters)
    tensors.push_back({all.value(i), all.gradient(i), all.list()[i].numel, 0});
  const std::unique_ptr<ProxPlan> plan = backend_.make_plan(tensors, 1);
  return backend_.read_kth_gradient(*plan, 1);
}

std::vector<KktResult> Trainer::kkt(std::span<const float> lambda) {
  backend_.set_lambda(*plan_, lambda);
  return backend_.read_kkt(*plan_);
}

}  // namespace cuthresh::train
