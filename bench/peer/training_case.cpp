#include <limits>
#include <optional>

#include "bench/peer/case.hpp"
#include "nn/network.hpp"
#include "train/trainer.hpp"

namespace cuthresh::peer {
namespace {

constexpr std::int64_t kRows = 1000;
constexpr std::int64_t kForever = std::numeric_limits<std::int64_t>::max();

/// The trainer's own loop is what is timed: its watch, called after each step's status was read,
/// takes the clock. So a timed step is a training's step, whatever that comes to be. Training just
/// goes on from sample to sample.
class TrainingCase final : public Case {
 public:
  TrainingCase(Backend& backend, const ModelFile& state)
      : network_(backend, nn::MlpSpec{kWidths}, kRows),
        trainer_(backend, network_, data(state), settings(),
                 set_initial(backend, network_.parameters(), state, "")),
        lambda_(kWidths.size() - 1, kLambda) {}

  Timing time() override {
    Stopwatch watch;
    std::int64_t last = 0;
    std::int64_t taken = 0;
    watch.start();
    bool enough = false;
    const auto look = [&](std::int64_t step, const StepStatus&, const train::Sample&) {
      if (step - last < watch.steps()) return;
      watch.lap(step - last);
      last = step;
      enough = watch.enough();
      watch.start();
    };
    const auto ask = [&] {
      ++taken;
      return enough ? train::Trainer::Wish::kEnd : train::Trainer::Wish::kLook;
    };
    const StepStatus status = trainer_.run(lambda_, never(), kForever, look, ask);
    require_all_steps(status, taken);
    return watch.timing();
  }

  Outcome check() override {
    const StepStatus status = trainer_.run(lambda_, {}, kCheckSteps, {});
    require_all_steps(status, kCheckSteps);
    return {{"nnz", status.total}, {"loss", trainer_.evaluate_train().loss}};
  }

 private:
  static DataSplit data(const ModelFile& state) {
    const std::int64_t in = kWidths.front();
    const std::int64_t out = kWidths.back();
    DataSplit split;
    split.train = {
        kRows, in, out, values_of(state, "x", {kRows, in}), values_of(state, "y", {kRows, out}),
        "x, y"};
    return split;
  }

  /// Full batch; the loss's value is wanted at the very first step only, which is part of the
  /// warm-up.
  static train::TrainerSettings settings() {
    return {.loss = train::LossKind::kMse,
            .learning_rate = kLearningRate,
            .batch = 0,
            .sample_every = kForever,
            .seed = 0};
  }

  nn::Network network_;
  train::Trainer trainer_;
  std::vector<float> lambda_;
};

}  // namespace

std::unique_ptr<Case> make_training_case(Backend& backend, const ModelFile& state) {
  return std::make_unique<TrainingCase>(backend, state);
}

}  // namespace cuthresh::peer
