// Kernel launches and graphs.

#include <algorithm>

#include "simt/fake_cuda/state.hpp"

using cuthresh::simt::Call;
using cuthresh::simt::CallKind;
using namespace cuthresh::simt::fake;

namespace {

constexpr Traits kNotCaptured{Capture::kForbidden, false};

Call graph_call(const char* name, CallKind kind, cudaStream_t stream) {
  Call call;
  call.name = name;
  call.kind = kind;
  call.stream = stream;
  return call;
}

bool is_launchable(const cudaLaunchConfig_t& config) {
  const dim3& grid = config.gridDim;
  const dim3& block = config.blockDim;
  return grid.x >= 1 && grid.x <= 0x7fffffffU && grid.y == 1 && grid.z == 1 && block.x >= 1 &&
         block.x <= 1024 && block.y == 1 && block.z == 1 && config.dynamicSmemBytes == 0;
}

}  // namespace

namespace cuthresh::simt::fake {

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel,
                   std::unique_ptr<Work> work) {
  Call call;
  call.name = "cudaLaunchKernelEx";
  call.kind = CallKind::kLaunch;
  call.stream = config.stream;
  call.grid = config.gridDim.x;
  call.block = config.blockDim.x;
  call.kernel = kernel;
  return api(call, {Capture::kAllowed, true}, [&](Call&) {
    if (state().devices == 0) return cudaErrorNoDevice;
    // The interpreter has one dimension and no dynamic shared memory.
    if (!is_launchable(config)) return cudaErrorInvalidConfiguration;
    if (config.stream != nullptr && config.stream->device != current_device()) {
      return cudaErrorInvalidResourceHandle;
    }
    enqueue(config.stream, std::shared_ptr<Work>(std::move(work)));
    return cudaSuccess;
  });
}

cudaError_t occupancy(int* blocks, const void* kernel, int threads, std::size_t shared) {
  Call call;
  call.name = "cudaOccupancyMaxActiveBlocksPerMultiprocessor";
  call.kernel = kernel;
  return api(call, {}, [&](Call&) {
    if (threads < 1 || threads > 1024) return cudaErrorInvalidValue;
    *blocks = shared > 48 * 1024 ? 0 : state().blocks_a_processor;
    return cudaSuccess;
  });
}

cudaError_t set_attribute(const void* kernel, cudaFuncAttribute, int value) {
  Call call;
  call.name = "cudaFuncSetAttribute";
  call.kind = CallKind::kHandle;
  call.kernel = kernel;
  return api(call, {}, [&](Call&) { return value < 0 ? cudaErrorInvalidValue : cudaSuccess; });
}

}  // namespace cuthresh::simt::fake

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return api(graph_call("cudaStreamBeginCapture", CallKind::kHandle, stream),
             {Capture::kAllowed, true}, [&](Call&) {
               if (stream == nullptr) return cudaErrorStreamCaptureUnsupported;
               if (stream->graph != nullptr) return cudaErrorInvalidValue;
               stream->graph = new CUgraph_st;
               stream->only_thread.reset();
               if (mode == cudaStreamCaptureModeThreadLocal) {
                 stream->only_thread = std::this_thread::get_id();
               }
               stream->invalidated = false;
               return cudaSuccess;
             });
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return api(graph_call("cudaStreamEndCapture", CallKind::kHandle, stream),
             {Capture::kAllowed, true}, [&](Call&) {
               if (stream == nullptr || stream->graph == nullptr) return cudaErrorInvalidValue;
               CUgraph_st* captured = std::exchange(stream->graph, nullptr);
               *graph = nullptr;
               if (stream->invalidated) {
                 delete captured;
                 return cudaErrorStreamCaptureInvalidated;
               }
               state().graphs.insert(captured);
               *graph = captured;
               return cudaSuccess;
             });
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return api(graph_call("cudaStreamIsCapturing", CallKind::kQuery, stream),
             {Capture::kAllowed, stream != nullptr}, [&](Call&) {
               *status = cudaStreamCaptureStatusNone;
               if (stream != nullptr && stream->graph != nullptr) {
                 *status = stream->invalidated ? cudaStreamCaptureStatusInvalidated
                                               : cudaStreamCaptureStatusActive;
               }
               return cudaSuccess;
             });
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  return api(graph_call("cudaGraphInstantiate", CallKind::kHandle, nullptr), kNotCaptured,
             [&](Call&) {
               if (state().graphs.count(graph) == 0) return cudaErrorInvalidValue;
               *exec = new CUgraphExec_st{graph->nodes};
               state().executables.insert(*exec);
               return cudaSuccess;
             });
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return api(graph_call("cudaGraphLaunch", CallKind::kGraphLaunch, stream),
             {Capture::kAllowed, true}, [&](Call&) {
               if (state().executables.count(exec) == 0) return cudaErrorInvalidValue;
               for (const auto& node : exec->nodes) enqueue(stream, node);
               return cudaSuccess;
             });
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* count) {
  return api(graph_call("cudaGraphGetNodes", CallKind::kQuery, nullptr), {}, [&](Call&) {
    if (state().graphs.count(graph) == 0 || count == nullptr) return cudaErrorInvalidValue;
    const std::size_t there = graph->nodes.size();
    if (nodes != nullptr) {
      for (std::size_t i = 0; i < *count; ++i) {
        nodes[i] = i < there ? graph->nodes[i].get() : nullptr;
      }
    }
    *count = nodes == nullptr ? there : std::min(there, *count);
    return cudaSuccess;
  });
}
cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, cudaGraphNodeType* type) {
  return api(graph_call("cudaGraphNodeGetType", CallKind::kQuery, nullptr), {}, [&](Call&) {
    if (node == nullptr) return cudaErrorInvalidValue;
    *type = node->type;
    return cudaSuccess;
  });
}
cudaError_t cudaGraphMemAllocNodeGetParams(cudaGraphNode_t node, cudaMemAllocNodeParams* params) {
  return api(graph_call("cudaGraphMemAllocNodeGetParams", CallKind::kQuery, nullptr), {},
             [&](Call&) {
               if (node == nullptr || node->type != cudaGraphNodeTypeMemAlloc) {
                 return cudaErrorInvalidValue;
               }
               *params = {};
               params->bytesize = node->bytes;
               params->dptr = node->memory;
               return cudaSuccess;
             });
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return api(graph_call("cudaLaunchHostFunc", CallKind::kHandle, stream), {Capture::kAllowed, true},
             [&](Call&) {
               enqueue(
                   stream, [function, data] { function(data); }, cudaGraphNodeTypeHost);
               return cudaSuccess;
             });
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return api(graph_call("cudaGraphDestroy", CallKind::kHandle, nullptr), {}, [&](Call&) {
    if (state().graphs.erase(graph) == 0) return cudaErrorInvalidValue;
    delete graph;
    return cudaSuccess;
  });
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  return api(graph_call("cudaGraphExecDestroy", CallKind::kHandle, nullptr), {}, [&](Call&) {
    if (state().executables.erase(exec) == 0) return cudaErrorInvalidValue;
    delete exec;
    return cudaSuccess;
  });
}

}  // extern "C"
