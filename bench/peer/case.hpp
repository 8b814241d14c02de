#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "backend/backend.hpp"
#include "cuthresh/model_file.hpp"
#include "nn/parameters.hpp"

namespace cuthresh::peer {

// What tools/peers/README.md prescribes.
inline const std::vector<std::int64_t> kWidths = {6, 128, 128, 64, 1};
inline constexpr float kLearningRate = 0.1f;
inline constexpr float kLambda = 1e-4f;
inline constexpr std::int64_t kCheckSteps = 200;
inline constexpr std::int64_t kConvCheckSteps = 10;
inline constexpr std::int64_t kWarmUpSteps = 3;

/// Never holds (its band is empty), so that a timed step looks at its rule as a first-hit search
/// does.
inline StopRule never() {
  return {.bands = {{1, 0}}, .required = 1, .after = 0};
}

/// Milliseconds a step.
struct Timing {
  double min_ms = 0.0;
  double median_ms = 0.0;
  std::size_t samples = 0;
};

/// Turns readings of the clock into samples: the warm-up first, then until there are enough.
class Stopwatch {
 public:
  /// Steps until the next lap: those of the warm-up, then as many as take about 1 ms.
  std::int64_t steps() const { return steps_; }
  void start() { begin_ = std::chrono::steady_clock::now(); }
  /// After `steps` steps since start().
  void lap(std::int64_t steps);
  bool enough() const { return seconds_ >= 0.3 && ms_.size() >= 7; }
  Timing timing() const;

 private:
  std::chrono::steady_clock::time_point begin_;
  bool warm_ = false;
  std::int64_t steps_ = kWarmUpSteps;
  double seconds_ = 0.0;
  std::vector<double> ms_;
};

/// What `check CASE` answers: figures by name, in the order of the protocol.
using Outcome = std::vector<std::pair<std::string, std::variant<std::uint64_t, double>>>;

/// One kind of step. Both members start from the state file's values; both throw InternalError when
/// a value stopped being finite, after which no more steps would be taken and a time would mean
/// nothing.
class Case {
 public:
  virtual ~Case() = default;
  virtual Timing time() = 0;
  virtual Outcome check() = 0;
};

/// "mackey_glass_step": forward, mean squared error, backward, fused step with counts, all by
/// train::Trainer.
std::unique_ptr<Case> make_training_case(Backend& backend, const ModelFile& state);
/// "prox_step_25k": the fused step alone on the four weights and their constant gradients.
std::unique_ptr<Case> make_small_prox_case(Backend& backend, const ModelFile& state);
/// "prox_step_25m": the same on 25,000,000 weights, the four over and over, in one tensor.
std::unique_ptr<Case> make_large_prox_case(Backend& backend, const ModelFile& state);
/// "conv_step": forward, cross-entropy, backward, fused step with counts of the paper's
/// convolutional network on one batch of 128 images.
std::unique_ptr<Case> make_conv_case(Backend& backend, const ModelFile& state);

/// The cases below work on tensors by formula (bench/peer/formula.hpp) of these sizes.
/// "bracket_median_*", "search_pivot_687k": the lower median of |g| inside a bracket, a tensor.
std::unique_ptr<Case> make_median_case(Backend& backend, const std::vector<std::int64_t>& sizes);
/// "kth_25m": the size/10-th largest |g|.
std::unique_ptr<Case> make_kth_case(Backend& backend, std::int64_t size);
/// "count_25m": the nonzeros of w.
std::unique_ptr<Case> make_count_case(Backend& backend, std::int64_t size);
/// "certificate_25m": the stationarity residuals of w and g.
std::unique_ptr<Case> make_certificate_case(Backend& backend, std::int64_t size);

/// The values of tensor `name`; throws InputError when there is none of this shape.
const std::vector<float>& values_of(const ModelFile& state, const std::string& name,
                                    const std::vector<std::int64_t>& shape);
/// Sets the initial values from the tensors named `prefix` and the parameter's name; returns each
/// parameter's group, one a weight and none for biases.
std::vector<std::int32_t> set_initial(Backend& backend, nn::Parameters& parameters,
                                      const ModelFile& state, const std::string& prefix);
/// Throws InternalError unless all `steps` were taken and the values are finite.
void require_all_steps(const StepStatus& status, std::int64_t steps);

}  // namespace cuthresh::peer
