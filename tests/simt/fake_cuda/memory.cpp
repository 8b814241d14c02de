// Device memory: heap blocks, each of exactly the size asked for.

#include <cstdlib>
#include <cstring>
#include <functional>

#include "simt/fake_cuda/state.hpp"

using cuthresh::simt::Call;
using cuthresh::simt::CallKind;
using namespace cuthresh::simt::fake;

namespace cuthresh::simt::fake {

const Allocation* find_allocation(const void* pointer, std::size_t bytes) {
  const auto& all = state().allocations;
  auto after = all.upper_bound(static_cast<const char*>(pointer));
  if (after == all.begin()) return nullptr;
  --after;
  const auto offset = static_cast<std::size_t>(static_cast<const char*>(pointer) - after->first);
  if (offset >= after->second.bytes || after->second.bytes - offset < bytes) return nullptr;
  return &after->second;
}

bool is_device_memory(const void* pointer, std::size_t bytes) {
  const Allocation* found = find_allocation(pointer, bytes);
  return found != nullptr && !found->host;
}

}  // namespace cuthresh::simt::fake

namespace {

constexpr std::size_t kAlignment = 256;  // cudaMalloc's
// What was never written reads as NaN. Larger blocks keep their first part only: touching the pages
// of a workspace that nobody uses would take longer than the test.
constexpr std::size_t kFilled = std::size_t{4} << 20;
constexpr Traits kNotCaptured{Capture::kForbidden, false};

Call memory_call(const char* name, CallKind kind, cudaStream_t stream, std::size_t bytes) {
  Call call;
  call.name = name;
  call.kind = kind;
  call.stream = stream;
  call.bytes = bytes;
  return call;
}

cudaError_t allocate(void** pointer, std::size_t bytes, bool host) {
  State& s = state();
  if (s.devices == 0) return cudaErrorNoDevice;
  if (bytes == 0) {
    *pointer = nullptr;
    return cudaSuccess;
  }
  if (!host && bytes > s.memory - s.used) return cudaErrorMemoryAllocation;
  void* block = nullptr;
  if (posix_memalign(&block, kAlignment, bytes) != 0) return cudaErrorMemoryAllocation;
  std::memset(block, 0xFF, bytes < kFilled ? bytes : kFilled);
  s.allocations.emplace(static_cast<const char*>(block), Allocation{bytes, current_device(), host});
  if (!host) {
    s.used += bytes;
    CUmemPoolHandle_st& pool = s.pools[current_device()];
    if (s.used > pool.used_high) pool.used_high = s.used;
  }
  *pointer = block;
  return cudaSuccess;
}

cudaError_t release(void* pointer, bool host) {
  if (pointer == nullptr) return cudaSuccess;
  State& s = state();
  const auto found = s.allocations.find(static_cast<const char*>(pointer));
  if (found == s.allocations.end() || found->second.host != host) return cudaErrorInvalidValue;
  if (!host) s.used -= found->second.bytes;
  s.allocations.erase(found);
  std::free(pointer);
  return cudaSuccess;
}

// As a node, memory has its address from the capture on, and belongs to the graph.
class MemoryWork final : public Work {
 public:
  MemoryWork(cudaGraphNodeType of_type, void* block, std::size_t size) {
    type = of_type;
    memory = block;
    bytes = size;
  }
  ~MemoryWork() override {
    if (type == cudaGraphNodeTypeMemAlloc) (void)release(memory, false);
  }
  void run() override {}
};

// Stream-ordered memory in a capture becomes a node, which steps must not have: it is listed.
cudaError_t captured_memory(const Call& call, void** pointer, std::size_t bytes) {
  state().recording.add_violation(std::string(call.name) + " during capture");
  const bool gives = call.kind == CallKind::kAllocate;
  if (gives) {
    const cudaError_t status = allocate(pointer, bytes, false);
    if (status != cudaSuccess) return status;
  }
  enqueue(call.stream,
          std::shared_ptr<Work>(new MemoryWork(
              gives ? cudaGraphNodeTypeMemAlloc : cudaGraphNodeTypeMemFree, *pointer, bytes)));
  return cudaSuccess;
}

bool is_captured(const Call& call) {
  if (call.stream != nullptr && call.stream->graph != nullptr) return true;
  if (state().recording.declared_capturing()) {
    state().recording.add_violation(std::string(call.name) + " during capture");
  }
  return false;
}

// The kind says which side each pointer must be on; the runtime knows device memory by address.
cudaError_t check_copy(const void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  const auto right_side = [bytes](const void* pointer, bool device) {
    if (device) return is_device_memory(pointer, bytes);
    const Allocation* found = find_allocation(pointer, 1);
    if (found == nullptr) return pointer != nullptr;
    return found->host && find_allocation(pointer, bytes) != nullptr;
  };
  switch (kind) {
    case cudaMemcpyHostToHost:
      return right_side(to, false) && right_side(from, false) ? cudaSuccess : cudaErrorInvalidValue;
    case cudaMemcpyHostToDevice:
      return right_side(to, true) && right_side(from, false) ? cudaSuccess : cudaErrorInvalidValue;
    case cudaMemcpyDeviceToHost:
      return right_side(to, false) && right_side(from, true) ? cudaSuccess : cudaErrorInvalidValue;
    case cudaMemcpyDeviceToDevice:
      return right_side(to, true) && right_side(from, true) ? cudaSuccess : cudaErrorInvalidValue;
    case cudaMemcpyDefault:
      break;
  }
  return cudaErrorInvalidMemcpyDirection;
}

CallKind kind_of(cudaMemcpyKind kind) {
  switch (kind) {
    case cudaMemcpyHostToDevice:
      return CallKind::kCopyToDevice;
    case cudaMemcpyDeviceToHost:
      return CallKind::kCopyToHost;
    default:
      return CallKind::kCopyOnDevice;
  }
}

cudaError_t copy(Call& call, void* to, const void* from, cudaMemcpyKind kind) {
  const std::size_t bytes = call.bytes;
  if (bytes == 0) return cudaSuccess;
  const cudaError_t status = check_copy(to, from, bytes, kind);
  if (status != cudaSuccess) return status;
  const bool capturing = (call.stream != nullptr && call.stream->graph != nullptr) ||
                         state().recording.declared_capturing();
  // A graph would read the host's memory when it runs, not when it was captured.
  if (capturing && kind == cudaMemcpyHostToDevice && find_allocation(from) == nullptr) {
    state().recording.add_violation("cudaMemcpyAsync from pageable memory during capture");
  }
  enqueue(
      call.stream, [to, from, bytes] { std::memmove(to, from, bytes); }, cudaGraphNodeTypeMemcpy);
  return cudaSuccess;
}

cudaError_t set(Call& call, void* to, int value) {
  const std::size_t bytes = call.bytes;
  if (bytes == 0) return cudaSuccess;
  if (!is_device_memory(to, bytes)) return cudaErrorInvalidValue;
  enqueue(
      call.stream, [to, value, bytes] { std::memset(to, value, bytes); }, cudaGraphNodeTypeMemset);
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaMallocAsync(void** pointer, std::size_t bytes, cudaStream_t stream) {
  return api(memory_call("cudaMallocAsync", CallKind::kAllocate, stream, bytes),
             {Capture::kAllowed, true}, [&](Call& call) {
               if (is_captured(call)) return captured_memory(call, pointer, bytes);
               return allocate(pointer, bytes, false);
             });
}
cudaError_t cudaMallocFromPoolAsync(void** pointer, std::size_t bytes, cudaMemPool_t pool,
                                    cudaStream_t stream) {
  return api(memory_call("cudaMallocFromPoolAsync", CallKind::kAllocate, stream, bytes),
             {Capture::kAllowed, true}, [&](Call& call) {
               if (pool == nullptr) return cudaErrorInvalidValue;
               if (is_captured(call)) return captured_memory(call, pointer, bytes);
               return allocate(pointer, bytes, false);
             });
}
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t stream) {
  return api(memory_call("cudaFreeAsync", CallKind::kFree, stream, 0), {Capture::kAllowed, true},
             [&](Call& call) {
               if (is_captured(call)) return captured_memory(call, &pointer, 0);
               return release(pointer, false);
             });
}
cudaError_t cudaMalloc(void** pointer, std::size_t bytes) {
  return api(memory_call("cudaMalloc", CallKind::kAllocate, nullptr, bytes), kNotCaptured,
             [&](Call&) { return allocate(pointer, bytes, false); });
}
cudaError_t cudaFree(void* pointer) {
  return api(memory_call("cudaFree", CallKind::kFree, nullptr, 0), kNotCaptured,
             [&](Call&) { return release(pointer, false); });
}
cudaError_t cudaMallocHost(void** pointer, std::size_t bytes) {
  return api(memory_call("cudaMallocHost", CallKind::kHostMemory, nullptr, bytes), kNotCaptured,
             [&](Call&) { return allocate(pointer, bytes, true); });
}
cudaError_t cudaHostAlloc(void** pointer, std::size_t bytes, unsigned int) {
  return cudaMallocHost(pointer, bytes);
}
// One address space: the device's address of pinned memory is the host's.
cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned int flags) {
  return api(memory_call("cudaHostGetDevicePointer", CallKind::kQuery, nullptr, 0), kNotCaptured,
             [&](Call&) {
               const Allocation* found = find_allocation(host);
               if (found == nullptr || !found->host || flags != 0) return cudaErrorInvalidValue;
               *device = host;
               return cudaSuccess;
             });
}
cudaError_t cudaFreeHost(void* pointer) {
  return api(memory_call("cudaFreeHost", CallKind::kHostMemory, nullptr, 0), kNotCaptured,
             [&](Call&) { return release(pointer, true); });
}
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total) {
  return api(memory_call("cudaMemGetInfo", CallKind::kQuery, nullptr, 0), {}, [&](Call&) {
    if (state().devices == 0) return cudaErrorNoDevice;
    *free_bytes = state().memory - state().used;
    *total = state().memory;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  return api(memory_call("cudaDeviceGetDefaultMemPool", CallKind::kQuery, nullptr, 0), {},
             [&](Call&) {
               if (device < 0 || device >= state().devices) return cudaErrorInvalidDevice;
               *pool = &state().pools[device];
               return cudaSuccess;
             });
}
cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties) {
  return api(memory_call("cudaMemPoolCreate", CallKind::kHandle, nullptr, 0), kNotCaptured,
             [&](Call&) {
               const cudaMemLocation& where = properties->location;
               if (where.type != cudaMemLocationTypeDevice || where.id < 0 ||
                   where.id >= state().devices) {
                 return cudaErrorInvalidValue;
               }
               *pool = new CUmemPoolHandle_st;
               ++state().own_pools;
               return cudaSuccess;
             });
}
cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
  return api(memory_call("cudaMemPoolDestroy", CallKind::kHandle, nullptr, 0), kNotCaptured,
             [&](Call&) {
               if (pool == nullptr) return cudaErrorInvalidValue;
               delete pool;
               --state().own_pools;
               return cudaSuccess;
             });
}
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  return api(memory_call("cudaMemPoolGetAttribute", CallKind::kQuery, nullptr, 0), {}, [&](Call&) {
    std::uint64_t found = 0;
    switch (attribute) {
      case cudaMemPoolAttrReleaseThreshold:
        found = pool->release_threshold;
        break;
      case cudaMemPoolAttrReservedMemHigh:
      case cudaMemPoolAttrUsedMemHigh:
        found = pool->used_high;
        break;
      case cudaMemPoolAttrReservedMemCurrent:
      case cudaMemPoolAttrUsedMemCurrent:
        found = state().used;
        break;
    }
    std::memcpy(value, &found, sizeof found);
    return cudaSuccess;
  });
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  return api(memory_call("cudaMemPoolSetAttribute", CallKind::kHandle, nullptr, 0), {}, [&](Call&) {
    std::uint64_t wanted = 0;
    std::memcpy(&wanted, value, sizeof wanted);
    if (attribute == cudaMemPoolAttrReleaseThreshold) {
      pool->release_threshold = wanted;
    } else if (attribute == cudaMemPoolAttrUsedMemHigh && wanted == 0) {
      pool->used_high = 0;
    } else {
      return cudaErrorInvalidValue;
    }
    return cudaSuccess;
  });
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, std::size_t) {
  return api(memory_call("cudaMemPoolTrimTo", CallKind::kHandle, nullptr, 0), kNotCaptured,
             [](Call&) { return cudaSuccess; });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  return api(memory_call("cudaPointerGetAttributes", CallKind::kQuery, nullptr, 0), {}, [&](Call&) {
    void* address = const_cast<void*>(pointer);
    const Allocation* found = find_allocation(pointer);
    if (found == nullptr) {
      *attributes = {cudaMemoryTypeUnregistered, cudaInvalidDeviceId, nullptr, address};
    } else if (found->host) {
      *attributes = {cudaMemoryTypeHost, found->device, address, address};
    } else {
      *attributes = {cudaMemoryTypeDevice, found->device, address, nullptr};
    }
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return api(memory_call("cudaMemcpyAsync", kind_of(kind), stream, bytes),
             {Capture::kAllowed, true}, [&](Call& call) { return copy(call, to, from, kind); });
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return api(memory_call("cudaMemcpy", kind_of(kind), nullptr, bytes), {Capture::kForbidden, true},
             [&](Call& call) { return copy(call, to, from, kind); });
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  return api(memory_call("cudaMemsetAsync", CallKind::kSet, stream, bytes),
             {Capture::kAllowed, true}, [&](Call& call) { return set(call, to, value); });
}
cudaError_t cudaMemset(void* to, int value, std::size_t bytes) {
  return api(memory_call("cudaMemset", CallKind::kSet, nullptr, bytes), {Capture::kForbidden, true},
             [&](Call& call) { return set(call, to, value); });
}

}  // extern "C"
