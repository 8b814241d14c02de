#include "bench/peer/case.hpp"
#include "core/array.hpp"
#include "nn/network.hpp"
#include "nn/presets.hpp"

namespace cuthresh::peer {
namespace {

constexpr std::int64_t kImages = 128;
constexpr std::int64_t kExtent = 28;
constexpr std::int64_t kClasses = 10;

/// One batch that stays where it is: which images come next is no part of the comparison. Each
/// timing starts from the initial weights.
class ConvCase final : public Case {
 public:
  ConvCase(Backend& backend, const ModelFile& state)
      : backend_(backend),
        network_(backend, spec(), kImages),
        x_(backend, values_of(state, "cnn.x", {kImages, 1, kExtent, kExtent})),
        labels_(backend, labels(state)),
        sum_(backend, 1) {
    nn::Parameters& parameters = network_.parameters();
    const std::vector<std::int32_t> groups = set_initial(backend, parameters, state, "cnn.");
    std::vector<ProxTensor> list;
    std::int32_t penalised = 0;
    for (std::size_t i = 0; i < groups.size(); ++i) {
      list.push_back(
          {parameters.value(i), parameters.gradient(i), parameters.list()[i].numel, groups[i]});
      if (groups[i] >= 0) ++penalised;
    }
    plan_ = backend.make_plan(list, penalised);
    backend.set_lambda(*plan_, std::vector<float>(static_cast<std::size_t>(penalised), kLambda));
    backend.set_rate(*plan_, {kLearningRate});
  }

  Timing time() override {
    reset();
    Stopwatch watch;
    std::int64_t taken = 0;
    while (!watch.enough()) {
      watch.start();
      steps(watch.steps());
      taken += watch.steps();
      watch.lap(watch.steps());
    }
    require_all_steps(backend_.read_status(*plan_), taken);
    return watch.timing();
  }

  Outcome check() override {
    reset();
    steps(kConvCheckSteps);
    const StepStatus status = backend_.read_status(*plan_);
    require_all_steps(status, kConvCheckSteps);
    pass(Pass::kEvaluate);
    return {{"nnz", status.total},
            {"loss", sum_.to_host().front().loss / static_cast<double>(kImages)}};
  }

 private:
  static nn::NetworkSpec spec() {
    nn::NetworkSpec spec;
    spec.input = {kExtent, kExtent, 1};
    spec.layers = nn::parse_layers(*nn::preset_layers("cnn-paper", "relu", kClasses));
    return spec;
  }

  static std::vector<std::int32_t> labels(const ModelFile& state) {
    std::vector<std::int32_t> labels;
    for (const float label : values_of(state, "cnn.labels", {kImages})) {
      labels.push_back(static_cast<std::int32_t>(label));
    }
    return labels;
  }

  void reset() {
    network_.parameters().restore_initial();
    backend_.set_stop(*plan_, never());
    backend_.synchronize();
  }

  void pass(Pass pass) {
    LossArgs loss;
    loss.rows = kImages;
    loss.columns = kClasses;
    loss.prediction = network_.forward(x_.data(), kImages, {.pass = pass, .plan = plan_.get()});
    loss.label = labels_.data();
    loss.gradient = pass == Pass::kTrain ? network_.output_gradient() : nullptr;
    loss.gradient_scale = 1.0f / static_cast<float>(kImages);
    loss.sum = sum_.data();
    backend_.softmax_cross_entropy(loss);
  }

  /// Each with its loss and its counts read.
  void steps(std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
      pass(Pass::kTrain);
      network_.backward(x_.data(), kImages, false);
      backend_.prox_step(*plan_);
      backend_.read_status(*plan_);
    }
  }

  Backend& backend_;
  nn::Network network_;
  Array<float> x_;
  Array<std::int32_t> labels_;
  Array<LossSum> sum_;
  std::unique_ptr<ProxPlan> plan_;
};

}  // namespace

std::unique_ptr<Case> make_conv_case(Backend& backend, const ModelFile& state) {
  return std::make_unique<ConvCase>(backend, state);
}

}  // namespace cuthresh::peer
