#include "nn/gradient_plan.hpp"

#include <algorithm>
#include <cstddef>

namespace cuthresh::nn {
namespace {

class Planner {
 public:
  explicit Planner(const Graph& graph)
      : graph_(graph), gradient_(graph.tensors.size(), GradientStep::kNone) {
    plan_.steps.resize(graph.nodes.size());
  }

  GradientPlan run() {
    const std::size_t last = graph_.nodes.back().out;
    plan_.output = gradient_[last] = take(elements(last));
    for (std::size_t n = graph_.nodes.size(); n-- > 0;) node(graph_.nodes[n], plan_.steps[n]);
    return std::move(plan_);
  }

 private:
  std::int64_t elements(std::size_t tensor) const { return graph_.tensors[tensor].elements(); }

  /// A buffer that nothing uses: the smallest that is large enough, else the largest, which then
  /// grows; a new one if all are in use.
  int take(std::int64_t size) {
    int found = GradientStep::kNone;
    std::int64_t best = 0;
    for (std::size_t b = 0; b < uses_.size(); ++b) {
      if (uses_[b] != 0) continue;
      const std::int64_t has = plan_.buffers[b];
      const bool better = best >= size ? has >= size && has < best : has > best;
      if (found >= 0 && !better) continue;
      found = static_cast<int>(b);
      best = has;
    }
    if (found < 0) {
      found = static_cast<int>(uses_.size());
      uses_.push_back(0);
      plan_.buffers.push_back(0);
    }
    const auto index = static_cast<std::size_t>(found);
    plan_.buffers[index] = std::max(plan_.buffers[index], size);
    uses_[index] = 1;
    return found;
  }

  int& uses(int buffer) { return uses_[static_cast<std::size_t>(buffer)]; }

  /// `buffer` if nothing else shares it, else a new one with `from` saying what to copy.
  int own(int buffer, std::int64_t size, int& from) {
    if (uses(buffer) == 1) return buffer;
    --uses(buffer);
    from = buffer;
    return take(size);
  }

  /// The gradient of `tensor` so far and `buffer`, whose use passes to the tensor.
  void deliver(std::size_t tensor, int buffer, GradientStep& step) {
    int& so_far = gradient_[tensor];
    if (so_far == GradientStep::kNone) {
      so_far = buffer;
      return;
    }
    GradientStep::Sum sum;
    sum.into = so_far = own(so_far, elements(tensor), sum.own_from);
    sum.add = buffer;
    step.sums.push_back(sum);
    --uses(buffer);
  }

  void node(const Node& n, GradientStep& step) {
    const bool linear = n.activation == Activation::kIdentity;
    const bool wanted = n.in != 0;
    step.dy = gradient_[n.out];
    const bool shared = uses(step.dy) > 1;

    if (n.kind == NodeKind::kPointwise) {
      if (!linear) step.dy = own(step.dy, elements(n.out), step.own_from);
      // Both operands have the gradient of the sum; whoever would overwrite it takes a copy then.
      for (const std::size_t operand : {n.in, n.other}) {
        if (operand == Node::kNone || operand == 0) continue;
        ++uses(step.dy);
        deliver(operand, step.dy, step);
      }
      --uses(step.dy);
      return;
    }

    const bool in_place = n.kind == NodeKind::kBatchNorm || n.kind == NodeKind::kDropout;
    // A linear node leaves dy as it is unless it writes dx over it.
    if (!linear) step.dy = own(step.dy, elements(n.out), step.own_from);
    const bool over = in_place && (!linear || !shared);
    if (wanted) {
      step.dx = over ? step.dy : take(elements(n.in));
      if (!over) --uses(step.dy);
      deliver(n.in, step.dx, step);
    } else {
      --uses(step.dy);
    }
  }

  const Graph& graph_;
  GradientPlan plan_;
  std::vector<int> gradient_;  // a tensor: its buffer
  std::vector<int> uses_;      // a buffer: tensors whose gradient it holds
};

}  // namespace

GradientPlan plan_gradients(const Graph& graph) {
  return Planner(graph).run();
}

std::int64_t floats_a_row(const Graph& graph) {
  std::int64_t floats = 0;
  for (const Node& node : graph.nodes) {
    floats += graph.tensors[node.out].elements() * (needs_preactivation(node.activation) ? 2 : 1);
  }
  for (const std::int64_t elements : plan_gradients(graph).buffers) floats += elements;
  return floats;
}

}  // namespace cuthresh::nn
