#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/backend.hpp"
#include "nn/network.hpp"
#include "train/device_data.hpp"
#include "train/step_graphs.hpp"

namespace cuthresh::train {

/// Rows that decide how steps are taken.
struct StepRowCounts {
  std::int64_t of_step = 0;  ///< of the largest step
  std::int64_t at_once = 0;  ///< that a network has room for
};

/// The steps of a fully connected network that is small enough for the room to take each in one
/// call (Backend::small_network_step), where the room has that and nothing speaks against it.
class SmallSteps {
 public:
  /// Rows a step up to which Execution::kAuto takes it. A block goes through all weights for every
  /// 8 rows, so that with many rows a library's products, which read them less often, win: an
  /// estimate, not measured.
  static constexpr std::int64_t kAutoRows = 8192;

  /// `rows`: those of the largest step.
  SmallSteps(Backend& backend, nn::Network& network, Execution execution, std::int64_t rows);

  bool taken() const { return refusal_.empty(); }
  /// A step on these rows, `update` false: its gradients only, into the parameters'. `sum`: null
  /// where the loss is not wanted.
  void step(ProxPlan& plan, const Batch& batch, float gradient_scale, LossSum* sum, bool update);

  /// How steps reach the device, after what graphs say of it.
  std::string describe(const std::string& graphs) const;

 private:
  Backend& backend_;
  std::vector<SmallNetworkLayer> layers_;
  std::vector<SmallNetworkLayer> with_gradients_;
  bool asked_for_;
  std::string refusal_;
};

/// How steps will reach a device, as Trainer::execution() says it afterwards, as far as that is
/// known before one is taken: a capture may still fail.
std::string expected_execution(const Backend& backend, const nn::Graph& graph, Execution execution,
                               const StepRowCounts& rows);

}  // namespace cuthresh::train
