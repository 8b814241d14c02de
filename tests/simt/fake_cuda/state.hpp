#pragma once

// What the fake runtime is made of. Every API function is one call of api(), which deals with what
// they have in common: no driver, sticky and injected errors, captures, dead streams, the
// recording.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "simt/recording.hpp"

struct CUgraph_st {
  std::vector<std::shared_ptr<cuthresh::simt::fake::Work>> nodes;
};
struct CUgraphExec_st {
  std::vector<std::shared_ptr<cuthresh::simt::fake::Work>> nodes;
};
struct CUstream_st {
  int device = 0;
  CUgraph_st* graph = nullptr;  // while it is captured
  bool invalidated = false;
  std::optional<std::thread::id> only_thread = {};  // whose calls it forbids; none: everybody's
};
struct CUevent_st {
  std::int64_t nanoseconds = -1;  // never recorded
};
struct CUmemPoolHandle_st {
  std::uint64_t release_threshold = 0;
  std::uint64_t used_high = 0;
};

namespace cuthresh::simt::fake {

struct Allocation {
  std::size_t bytes = 0;
  int device = 0;
  bool host = false;  // pinned
};

struct Injection {
  std::string call;
  cudaError_t error = cudaSuccess;
  int skip = 0;
};

struct State {
  std::recursive_mutex mutex;
  int devices = -1;
  int processors = 3;
  int blocks_a_processor = 2;
  std::size_t memory = std::size_t{16} << 30;
  std::size_t used = 0;
  cudaError_t sticky = cudaSuccess;
  std::vector<Injection> injections;
  std::map<const char*, Allocation> allocations;  // by first byte, device and pinned
  std::set<cudaStream_t> streams;
  std::set<cudaEvent_t> events;
  std::set<cudaGraph_t> graphs;
  std::set<cudaGraphExec_t> executables;
  std::map<int, CUmemPoolHandle_st> pools;  // the devices' default ones
  std::size_t own_pools = 0;                // made and not yet destroyed
  Recording recording;
};

State& state();
int current_device();
void set_current_device(int device);
void set_last_error(cudaError_t error);

/// How a call stands to streams and captures.
enum class Capture : std::uint8_t { kAllowed, kForbidden };
struct Traits {
  Capture capture = Capture::kAllowed;
  bool uses_stream = false;
};

/// First half of a call: the error that it ends with before it does anything.
cudaError_t enter(const Call& call, const Traits& traits);
cudaError_t leave(Call& call, cudaError_t status);

template <class F>
cudaError_t api(Call call, const Traits& traits, F body) {
  const std::lock_guard lock(state().mutex);
  cudaError_t status = enter(call, traits);
  if (status == cudaSuccess) {
    try {
      status = body(call);
    } catch (...) {  // a kernel's fault: the test that made it sees it, and the call is listed
      call.status = static_cast<int>(cudaErrorLaunchFailure);
      state().recording.add(call);
      throw;
    }
  }
  return leave(call, status);
}

/// Runs work now, or when the graph runs that its stream is captured into.
void enqueue(cudaStream_t stream, std::shared_ptr<Work> work);
template <class F>
void enqueue(cudaStream_t stream, F function, cudaGraphNodeType type = cudaGraphNodeTypeKernel) {
  class FunctionWork final : public Work {
   public:
    explicit FunctionWork(F f) : function_(std::move(f)) {}
    void run() override { function_(); }

   private:
    F function_;
  };
  const std::shared_ptr<Work> work(new FunctionWork(std::move(function)));
  work->type = type;
  enqueue(stream, work);
}

/// The allocation that [pointer, pointer + bytes) lies in; null when there is none.
const Allocation* find_allocation(const void* pointer, std::size_t bytes = 1);
bool is_device_memory(const void* pointer, std::size_t bytes);
/// A capture that forbids calls of this thread.
bool is_capture_here(cudaStream_t stream);
bool any_capture();

/// Nearest value with a 10-bit mantissa, ties away from zero, as tensor cores are fed.
inline float to_tf32(float x) {
  if (!std::isfinite(x)) return x;
  std::uint32_t bits = 0;
  std::memcpy(&bits, &x, sizeof bits);
  bits = (bits + 0x1000U) & ~0x1fffU;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

}  // namespace cuthresh::simt::fake
