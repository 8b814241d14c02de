#include "train/step_graphs.hpp"

#include <algorithm>
#include <utility>

namespace cuthresh::train {

namespace {

std::string refusal_of(const Backend& backend, Execution execution) {
  return execution == Execution::kPlain ? "as run.execution wants it"
                                        : backend.unsupported(Operation::kGraph);
}

std::string described_graphs(const std::string& refusal) {
  if (!refusal.empty()) return "plain: " + refusal;
  return "captured graph, up to " + std::to_string(StepGraphs::kChunk) + " at a time";
}

}  // namespace

StepGraphs::StepGraphs(Backend& backend, Execution execution, double longest)
    : backend_(backend), longest_(longest), refusal_(refusal_of(backend, execution)) {}

StepGraph* StepGraphs::graph(const StepShape& shape, std::int64_t steps,
                             const std::function<void()>& step) {
  std::unique_ptr<StepGraph>& found = graphs_[{shape, steps}];
  if (found == nullptr) {
    Captured captured = backend_.capture([&] {
      for (std::int64_t i = 0; i < steps; ++i) step();
    });
    found = std::move(captured.graph);
    refusal_ = std::move(captured.refusal);
  }
  return found.get();
}

bool StepGraphs::replay(const StepShape& shape, std::int64_t steps,
                        const std::function<void()>& step) {
  const std::int64_t unrolled = steps / kUnrolled;
  const std::int64_t single = steps % kUnrolled;
  StepGraph* const many = unrolled == 0 ? nullptr : graph(shape, kUnrolled, step);
  StepGraph* const one = single == 0 || !refusal_.empty() ? nullptr : graph(shape, 1, step);
  if (!refusal_.empty()) {
    forget();
    return false;
  }
  for (std::int64_t i = 0; i < unrolled; ++i) backend_.replay(*many);
  for (std::int64_t i = 0; i < single; ++i) backend_.replay(*one);
  replayed_ += steps;
  return true;
}

void StepGraphs::pace(double seconds) {
  if (seconds > longest_) chunk_ = std::max(chunk_ / 2, kUnrolled);
  if (seconds < longest_ / 4) chunk_ = std::min(chunk_ * 2, kChunk);
}

std::string StepGraphs::describe() const {
  if (!refusal_.empty() || replayed_ > 0) return described_graphs(refusal_);
  return "plain: no two of them were taken without a look";
}

std::string StepGraphs::expected(const Backend& backend, Execution execution) {
  return described_graphs(refusal_of(backend, execution));
}

}  // namespace cuthresh::train
