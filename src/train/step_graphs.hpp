#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "backend/backend.hpp"

namespace cuthresh::train {

/// How the steps of a training are enqueued (run.execution). kAuto: captured where the room can,
/// and fused where it has that for the network (small_steps.hpp); kGraph: captured, layer by layer;
/// kFused: fused, whatever the number of rows.
enum class Execution : std::uint8_t { kAuto, kPlain, kGraph, kFused };

/// What a step is made of. Steps that are alike in this are the same work, since all else that
/// differs from step to step is read on the device.
struct StepShape {
  enum class Update : std::uint8_t { kStep, kControlled, kFinish, kDebias };
  std::int64_t rows = 0;
  Update update = Update::kStep;

  friend auto operator<=>(const StepShape&, const StepShape&) = default;
};

/// Captured steps, replayed without the host in between. Each shape is captured when it is first
/// replayed; before that one of it has been taken as such, which makes what it needs.
class StepGraphs {
 public:
  /// Steps in one graph: a launch costs the host about as much as one of the ten to a hundred
  /// kernels of a step, so that sixteen steps leave less than a hundredth of the launches; more
  /// would take memory for their nodes and leave more of a chunk to one-step graphs.
  static constexpr std::int64_t kUnrolled = 16;
  /// Steps that are enqueued without a look, at most: after a stop this many, and as many again
  /// that the room lets wait, do nothing.
  static constexpr std::int64_t kChunk = 256;

  /// A chunk that takes longer than `longest` seconds is halved: one who wants to end waits for it.
  StepGraphs(Backend& backend, Execution execution, double longest);

  /// A step of this shape was enqueued as such.
  void note_plain(const StepShape& shape) { known_.insert(shape); }
  /// Whether replay() may be asked.
  bool ready(const StepShape& shape) const { return refusal_.empty() && known_.contains(shape); }
  /// Enqueues `steps` steps, of which `step` enqueues one. False: none, because it cannot be
  /// captured; from here on none can.
  bool replay(const StepShape& shape, std::int64_t steps, const std::function<void()>& step);
  /// Steps to replay at once: kChunk, or fewer where these take long.
  std::int64_t chunk() const { return chunk_; }
  /// How long a whole chunk took.
  void pace(double seconds);
  /// What is captured now belongs to something that ends. Nothing replayed is under way.
  void forget() { graphs_.clear(); }

  /// "captured graph, up to 256 at a time", or "plain: " and why.
  std::string describe() const;
  /// What it will be, if captures succeed and steps are not looked at one by one.
  static std::string expected(const Backend& backend, Execution execution);

 private:
  /// Null when it cannot be captured.
  StepGraph* graph(const StepShape& shape, std::int64_t steps, const std::function<void()>& step);

  Backend& backend_;
  double longest_;
  std::string refusal_;
  std::int64_t chunk_ = kChunk;
  std::int64_t replayed_ = 0;
  std::set<StepShape> known_;
  std::map<std::pair<StepShape, std::int64_t>, std::unique_ptr<StepGraph>> graphs_;
};

}  // namespace cuthresh::train
