#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "bench/cases/cases.hpp"
#include "bench/cases/float64_network.hpp"
#include "bench/cases/models.hpp"
#include "core/array.hpp"
#include "kernels/math/philox.hpp"
#include "nn/gradient_plan.hpp"
#include "nn/network.hpp"
#include "train/small_steps.hpp"

namespace cuthresh::bench {
namespace {

constexpr std::uint64_t kTrainingSeed = 5;
constexpr float kAlpha = 0.01f;
constexpr float kLambda = 1e-4f;
/// Multiply-adds of a float64 pass that a check may spend; three passes are 0.6 s.
constexpr double kPassProducts = 2e8;

/// How far float32 may be from float64, as shares. Seen on the CPU: 1e-7 and 2e-6; a rectifier that
/// float32 puts on the other side is 6e-4 of the slope of four images in a residual network.
struct Allowed {
  double loss = 1e-5;
  double slope = 3e-3;
};

std::int64_t checked_rows(const nn::Graph& graph, std::int64_t rows) {
  double products = 0.0;
  for (const ProductLayer& layer : product_layers(graph, 1)) products += forward_flops(layer) / 2.0;
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(kPassProducts / products), 2, rows);
}

std::uint32_t drawn_word(std::int64_t i, std::uint32_t stream) {
  return Philox::block(kTrainingSeed, static_cast<std::uint64_t>(i), stream, RandomPurpose::kSplit)
      .words[0];
}

std::vector<double> widened(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

using Tensors = std::vector<std::vector<double>>;

/// A direction in which every tensor's gradient has the same length, so that an error in one of
/// them shows whatever its size: random signs over the norm of the gradient.
Tensors random_direction(const Tensors& gradient) {
  Tensors direction;
  for (std::size_t t = 0; t < gradient.size(); ++t) {
    double square = 0.0;
    for (const double g : gradient[t]) square += g * g;
    const double size = square > 0.0 ? 1.0 / std::sqrt(square) : 1.0;
    std::vector<double> entries(gradient[t].size());
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const std::uint32_t word =
          drawn_word(static_cast<std::int64_t>(i), 100 + static_cast<std::uint32_t>(t));
      entries[i] = (word & 1U) != 0 ? size : -size;
    }
    direction.push_back(std::move(entries));
  }
  return direction;
}

Tensors moved(Tensors from, const Tensors& direction, double by) {
  for (std::size_t t = 0; t < from.size(); ++t) {
    for (std::size_t i = 0; i < direction[t].size(); ++i) from[t][i] += by * direction[t][i];
  }
  return from;
}

/// One batch that stays where it is: which rows come next is the trainer's matter, and costs a
/// copy.
class TrainingWorkload final : public Workload {
 public:
  TrainingWorkload(const Room& room, std::string name, const Model& model, bool fused)
      : backend_(room.backend),
        name_(std::move(name)),
        model_(model),
        network_(backend_, model.spec, model.rows),
        x_(backend_, model.rows * network_.inputs()),
        sum_(backend_, 1) {
    if (operand_rounding(room) > 0.0) allowed_ = {1e-2, 1e-1};
    backend_.initialise_uniform(x_.data(), x_.size(), 1.0f, kTrainingSeed, 1000);
    draw_targets();
    nn::Parameters& parameters = network_.parameters();
    parameters.initialise(nn::Initialisation::kPytorch, kTrainingSeed);
    make_plan();
    if (fused) small_.emplace(backend_, network_, train::Execution::kFused, model.rows);
    reset();
  }

  void reset() override {
    network_.parameters().restore_initial();
    // Looked at after each step and never met.
    backend_.set_stop(*plan_, {.bands = {{1, 0}}, .required = 1, .after = 0});
  }

  void call(std::int64_t /*set*/) override {
    if (!small_) pass(model_.rows, nullptr);
    step(model_.rows);
  }

  std::string check() override {
    reset();
    const Float64Network reference(network_.graph(), model_.spec.leaky_slope);
    const std::int64_t rows = checked_rows(network_.graph(), model_.rows);
    const Float64Batch batch = first_rows(rows);
    const Tensors before = values();
    pass(rows, sum_.data());
    const double off_loss = check_loss(reference.loss(before, batch), rows);
    const Tensors gradient = gradients();
    const double off_slope = check_slope(reference, batch, before, gradient);
    step(rows);
    check_step(before, gradient);
    // The whole batch once.
    reset();
    call(0);
    check_after(1);
    return fmt::format(
        "{} of {} rows in float64: loss within {:.0e}, a derivative within {:.0e}; a step of {} "
        "values",
        rows, model_.rows, off_loss, off_slope, trained_values());
  }

  void check_after(std::int64_t calls) override {
    const StepStatus& status = backend_.read_status(*plan_);
    if (status.stopped || status.nonfinite != 0 || status.steps != calls) {
      fail(fmt::format("{} of {} steps were taken, {} values are not finite", status.steps, calls,
                       status.nonfinite));
    }
    if (!std::isfinite(present_loss())) fail("the loss is not finite");
  }

  std::map<std::string, double> more() override {
    return {{"parameters", static_cast<double>(trained_values())}, {"loss", present_loss()}};
  }

 private:
  bool classifies() const { return model_.loss == train::LossKind::kCrossEntropy; }
  [[noreturn]] void fail(const std::string& what) const { throw CheckFailed(name_ + ": " + what); }

  void draw_targets() {
    if (!classifies()) {
      y_ = Array<float>(backend_, model_.rows * network_.outputs());
      backend_.initialise_uniform(y_.data(), y_.size(), 1.0f, kTrainingSeed, 1001);
      return;
    }
    for (std::int64_t i = 0; i < model_.rows; ++i) {
      labels_host_.push_back(static_cast<std::int32_t>(drawn_word(i, 0) % network_.outputs()));
    }
    labels_ = Array<std::int32_t>(backend_, std::span<const std::int32_t>(labels_host_));
  }

  /// A λ for each weight tensor; biases and normalisations are not penalised.
  void make_plan() {
    nn::Parameters& parameters = network_.parameters();
    std::vector<ProxTensor> tensors;
    std::int32_t groups = 0;
    for (std::size_t i = 0; i < parameters.list().size(); ++i) {
      const nn::Parameter& p = parameters.list()[i];
      if (!p.trained()) continue;
      const std::int32_t group = p.role == nn::Role::kWeight ? groups++ : -1;
      trained_.push_back({i, group >= 0});
      tensors.push_back({parameters.value(i), parameters.gradient(i), p.numel, group});
    }
    plan_ = backend_.make_plan(tensors, groups);
    backend_.set_lambda(*plan_, std::vector<float>(static_cast<std::size_t>(groups), kLambda));
    backend_.set_rate(*plan_, {kAlpha});
  }

  float gradient_scale(std::int64_t rows) const {
    return static_cast<float>((classifies() ? 1.0 : 2.0) / static_cast<double>(loss_terms(rows)));
  }
  LossArgs loss_args(std::int64_t rows, const float* prediction) {
    LossArgs args;
    args.rows = rows;
    args.columns = network_.outputs();
    args.prediction = prediction;
    args.target = y_.data();
    args.label = labels_.data();
    args.gradient_scale = gradient_scale(rows);
    return args;
  }
  std::int64_t loss_terms(std::int64_t rows) const {
    return classifies() ? rows : rows * network_.outputs();
  }
  void apply(const LossArgs& args) {
    classifies() ? backend_.softmax_cross_entropy(args) : backend_.mse(args);
  }

  /// Forward, loss, backward. Between two samples a training does not ask for the loss's value.
  void pass(std::int64_t rows, LossSum* sum) {
    if (small_) return fused(rows, sum, false);
    LossArgs args = loss_args(
        rows, network_.forward(x_.data(), rows, {.pass = Pass::kTrain, .plan = plan_.get()}));
    args.gradient = network_.output_gradient();
    args.sum = sum;
    apply(args);
    network_.backward(x_.data(), rows, false);
  }

  /// With the gradients of the same rows, where they are fused into it.
  void step(std::int64_t rows) { small_ ? fused(rows, nullptr, true) : backend_.prox_step(*plan_); }
  void fused(std::int64_t rows, LossSum* sum, bool update) {
    const train::Batch batch{rows, x_.data(), y_.data(), labels_.data()};
    small_->step(*plan_, batch, gradient_scale(rows), sum, update);
  }

  double read_loss(std::int64_t rows) {
    return sum_.to_host().front().loss / static_cast<double>(loss_terms(rows));
  }
  double present_loss() {
    LossArgs args = loss_args(model_.rows, network_.forward(x_.data(), model_.rows));
    args.sum = sum_.data();
    apply(args);
    return read_loss(model_.rows);
  }

  Float64Batch first_rows(std::int64_t rows) {
    Float64Batch batch;
    batch.rows = rows;
    batch.inputs = widened(x_.to_host());
    batch.inputs.resize(static_cast<std::size_t>(rows * network_.inputs()));
    batch.labels = labels_host_;
    if (classifies()) {
      batch.labels.resize(static_cast<std::size_t>(rows));
    } else {
      batch.targets = widened(y_.to_host());
      batch.targets.resize(static_cast<std::size_t>(rows * network_.outputs()));
    }
    return batch;
  }

  std::vector<double> download(const float* from, std::int64_t size) {
    std::vector<float> host(static_cast<std::size_t>(size));
    backend_.download(host.data(), from, host.size() * sizeof(float));
    return widened(host);
  }
  /// A tensor a parameter, running statistics too.
  Tensors values() {
    nn::Parameters& p = network_.parameters();
    Tensors all;
    for (std::size_t i = 0; i < p.list().size(); ++i) {
      all.push_back(download(p.value(i), p.list()[i].numel));
    }
    return all;
  }
  /// The same; empty for what is not trained.
  Tensors gradients() {
    nn::Parameters& p = network_.parameters();
    Tensors all(p.list().size());
    for (const Trained& t : trained_) {
      all[t.index] = download(p.gradient(t.index), p.list()[t.index].numel);
    }
    return all;
  }
  std::int64_t trained_values() const {
    std::int64_t count = 0;
    for (const Trained& t : trained_) count += network_.parameters().list()[t.index].numel;
    return count;
  }

  double check_loss(double want, std::int64_t rows) {
    const double got = read_loss(rows);
    const double off = std::fabs(got - want) / want;
    if (off <= allowed_.loss) return off;
    fail(fmt::format("the loss of {} rows is {:.9g}, in float64 {:.9g}", rows, got, want));
  }

  /// Along a direction in which every tensor counts the same; the error as a share of what all of
  /// them together would bring at right angles.
  double check_slope(const Float64Network& reference, const Float64Batch& batch,
                     const Tensors& before, const Tensors& gradient) const {
    const Tensors direction = random_direction(gradient);
    double longest = 0.0;
    double got = 0.0;
    for (const Trained& t : trained_) {
      longest = std::max(longest, std::fabs(direction[t.index].front()));
      got += std::inner_product(gradient[t.index].begin(), gradient[t.index].end(),
                                direction[t.index].begin(), 0.0);
    }
    // No weight moves by more than 1e-8: with 1e-6 enough rectifiers change sides for an error of
    // 2e-3, with 1e-9 the loss's own rounding is 1e-4.
    const double step = 1e-8 / longest;
    const auto loss = [&](double by) {
      return reference.loss(moved(before, direction, by), batch);
    };
    const double want = (loss(step) - loss(-step)) / (2.0 * step);
    const double off = std::fabs(got - want) / std::sqrt(static_cast<double>(trained_.size()));
    if (off <= allowed_.slope) return off;
    fail(fmt::format("a derivative is {:.9g}, in float64 {:.9g}", got, want));
  }

  /// w ← soft(w − αg, αλ) in float64, and the count of each weight tensor.
  void check_step(const Tensors& before, const Tensors& gradient) {
    const Tensors after = values();
    const StepStatus status = backend_.read_status(*plan_);
    const double alpha = static_cast<double>(kAlpha);
    auto counted = status.nnz.begin();
    for (const Trained& t : trained_) {
      const std::string& tensor = network_.parameters().list()[t.index].name;
      const double threshold = t.penalised ? alpha * static_cast<double>(kLambda) : 0.0;
      std::uint64_t nonzero = 0;
      for (std::size_t i = 0; i < after[t.index].size(); ++i) {
        const double moved_to = before[t.index][i] - alpha * gradient[t.index][i];
        const double want = std::copysign(std::max(std::fabs(moved_to) - threshold, 0.0), moved_to);
        const double got = after[t.index][i];
        nonzero += got != 0.0 ? 1U : 0U;
        // Two roundings, of the step and of the difference to a rounded threshold.
        if (!(std::fabs(got - want) <= 0x1p-23 * std::fabs(moved_to) + 1e-12)) {
          fail(fmt::format("{}[{}] is {:.9g} after a step, in float64 {:.9g}", tensor, i, got,
                           want));
        }
      }
      if (!t.penalised) continue;
      if (*counted != nonzero) {
        fail(fmt::format("{} has {} nonzeros, {} were counted", tensor, nonzero, *counted));
      }
      ++counted;
    }
  }

  struct Trained {
    std::size_t index;  // of the network's parameters
    bool penalised;
  };

  Backend& backend_;
  std::string name_;
  Model model_;
  Allowed allowed_;
  nn::Network network_;
  Array<float> x_, y_;
  std::vector<std::int32_t> labels_host_;
  Array<std::int32_t> labels_;
  Array<LossSum> sum_;
  std::vector<Trained> trained_;
  std::unique_ptr<ProxPlan> plan_;
  std::optional<train::SmallSteps> small_;  // none: layer by layer
};

Case training_case(const Model& model, bool fused) {
  const nn::Graph graph = nn::build_graph(model.spec);
  std::int64_t parameters = 0;
  std::int64_t trained = 0;
  for (const nn::Parameter& p : graph.parameters) {
    parameters += p.numel;
    if (p.trained()) trained += p.numel;
  }
  const std::int64_t floats_a_row =
      nn::floats_a_row(graph) + graph.tensors.front().elements() + graph.output().elements();
  const bool images = graph.tensors.front().positions() > 1;
  Case c;
  c.name = "training/" + model.name + (images ? fmt::format("_{}", model.rows) : "") +
           (fused ? "_fused" : "");
  c.what = fmt::format(
      "training step of {} parameters on {} rows: forward, loss, backward, fused step{}", trained,
      model.rows, fused ? ", in two kernels" : "");
  // Values, gradients, initial and best values; activations, their gradients and the batch.
  c.set_bytes =
      static_cast<std::int64_t>(sizeof(float)) * (4 * parameters + model.rows * floats_a_row);
  // Of the check, in float64: the same parameters and gradients before and after, moved both ways,
  // and the activations of some rows.
  c.more_bytes = static_cast<std::int64_t>(sizeof(double)) *
                 (6 * parameters + checked_rows(graph, model.rows) * floats_a_row);
  c.work.flops = step_flops(graph, model.rows);
  c.make = [name = c.name, model, fused](const Room& room, std::int64_t) {
    return std::make_unique<TrainingWorkload>(room, name, model, fused);
  };
  c.lacks = [images, fused](const Room& room) {
    std::vector<Operation> needed = {Operation::kDense, Operation::kProxStep, Operation::kMse,
                                     Operation::kSoftmaxCrossEntropy};
    if (fused) needed.push_back(Operation::kSmallNetwork);
    if (images) {
      for (const Operation more : {Operation::kConv, Operation::kPool, Operation::kBatchNorm}) {
        needed.push_back(more);
      }
    }
    return lacks_any(room, needed);
  };
  return c;
}

}  // namespace

std::vector<Case> training_cases(const Room& room) {
  std::vector<Case> cases;
  for (const Model& model : shipped_models(room.smoke)) {
    cases.push_back(training_case(model, false));
    // The fully connected one.
    if (model.spec.input.positions() == 1) cases.push_back(training_case(model, true));
  }
  return cases;
}

}  // namespace cuthresh::bench
