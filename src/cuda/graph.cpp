#include "cuda/graph.hpp"

#include <memory>
#include <optional>
#include <vector>

#include "cuda/backend_impl.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::cuda {
namespace {

/// Between the two ends of a capture. What leaves it early ends the capture too, so that the stream
/// can be used again.
class Capture {
 public:
  explicit Capture(Context& context) : context_(context), graph_(context.health()) {
    context_.health().check(
        cudaStreamBeginCapture(context_.stream().get(), cudaStreamCaptureModeThreadLocal),
        "cudaStreamBeginCapture");
    context_.set_capturing(true);
    open_ = true;
  }
  ~Capture() {
    if (open_) (void)close();
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  /// Throws when what was captured is no graph.
  const Graph& end() {
    context_.health().check(close(), "cudaStreamEndCapture");
    return graph_;
  }

 private:
  cudaError_t close() noexcept {
    open_ = false;
    context_.set_capturing(false);
    const cudaError_t status = cudaStreamEndCapture(context_.stream().get(), graph_.place());
    if (status != cudaSuccess) context_.health().note(status, "cudaStreamEndCapture");
    return status;
  }

  Context& context_;
  Graph graph_;
  bool open_ = false;
};

/// Why a node of this type is not one to replay; null: it is.
const char* objection(cudaGraphNodeType type) {
  switch (type) {
    case cudaGraphNodeTypeKernel:
    case cudaGraphNodeTypeMemcpy:
    case cudaGraphNodeTypeMemset:
    case cudaGraphNodeTypeEmpty:
      return nullptr;
    case cudaGraphNodeTypeHost:
      return "a call of the host";
    case cudaGraphNodeTypeMemAlloc:
      return "an allocation";
    case cudaGraphNodeTypeMemFree:
      return "a release of memory";
    default:
      return "a node of another kind";
  }
}

std::string describe_node(Health& health, cudaGraphNode_t node, cudaGraphNodeType type) {
  std::string text = objection(type);
  if (type == cudaGraphNodeTypeMemAlloc) {
    cudaMemAllocNodeParams params{};
    health.check(cudaGraphMemAllocNodeGetParams(node, &params), "cudaGraphMemAllocNodeGetParams");
    text += " of " + std::to_string(params.bytesize) + " bytes";
  }
  return text + " (type " + std::to_string(static_cast<int>(type)) + ")";
}

}  // namespace

Graph::~Graph() {
  if (graph_ != nullptr) health_.note(cudaGraphDestroy(graph_), "cudaGraphDestroy");
}

CudaStepGraph::CudaStepGraph(Context& context, const Graph& graph) : context_(context) {
  const OnDevice current = context.here();
  context.health().check(cudaGraphInstantiate(&exec_, graph.get(), 0), "cudaGraphInstantiate");
  context.add_graph();
}

CudaStepGraph::~CudaStepGraph() {
  const OnDevice current(context_.health(), context_.device(), std::nothrow);
  context_.health().note(cudaGraphExecDestroy(exec_), "cudaGraphExecDestroy");
  context_.drop_graph();
}

void CudaStepGraph::launch() {
  context_.health().require_usable("cudaGraphLaunch");
  const OnDevice current = context_.here();
  context_.health().check(cudaGraphLaunch(exec_, context_.stream().get()), "cudaGraphLaunch");
}

std::string find_foreign_node(Health& health, const Graph& graph) {
  std::size_t count = 0;
  health.check(cudaGraphGetNodes(graph.get(), nullptr, &count), "cudaGraphGetNodes");
  if (count == 0) return "nothing was enqueued";
  std::vector<cudaGraphNode_t> nodes(count);
  health.check(cudaGraphGetNodes(graph.get(), nodes.data(), &count), "cudaGraphGetNodes");
  for (std::size_t i = 0; i < count; ++i) {
    cudaGraphNodeType type{};
    health.check(cudaGraphNodeGetType(nodes[i], &type), "cudaGraphNodeGetType");
    if (objection(type) == nullptr) continue;
    return "node " + std::to_string(i + 1) + " of " + std::to_string(count) + " is " +
           describe_node(health, nodes[i], type) +
           ", which a step must have behind it before it is captured";
  }
  return {};
}

Captured capture_steps(Context& context, const std::function<void()>& enqueue) {
  if (context.is_captured()) return {nullptr, "the stream is being captured by its owner"};
  try {
    const OnDevice current = context.here();
    Capture capture(context);
    enqueue();
    const Graph& graph = capture.end();
    std::string foreign = find_foreign_node(context.health(), graph);
    if (!foreign.empty()) return {nullptr, std::move(foreign)};
    return {std::make_unique<CudaStepGraph>(context, graph)};
  } catch (const InternalError& error) {
    context.health().require_usable("capture");
    return {nullptr, error.what()};
  }
}

Captured CudaBackend::capture(const std::function<void()>& enqueue) {
  const std::string reason = unsupported(Operation::kGraph);
  if (!reason.empty()) return {nullptr, reason};
  return capture_steps(context_, enqueue);
}

void CudaBackend::replay(StepGraph& graph) {
  static_cast<CudaStepGraph&>(graph).launch();
}

}  // namespace cuthresh::cuda
