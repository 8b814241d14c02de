#pragma once

// The fake CUDA runtime as tests see it: every call that was made, and what the device is like.
// Device memory is heap blocks of exactly the size asked for (red zones under ASan), filled with
// 0xFF so that what was never written reads as NaN; streams run at once; kernels run in the
// interpreter. The calls behave as the CUDA runtime documents them: errors, wrong-sided pointers,
// calls that a stream in capture forbids.

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cuthresh::simt {

enum class CallKind : std::uint8_t {
  kLaunch,
  kGraphLaunch,
  kBlas,  // products and convolutions: work of cuBLAS and cuDNN
  kCopyToDevice,
  kCopyToHost,
  kCopyOnDevice,
  kSet,
  kAllocate,  // device memory
  kFree,
  kHostMemory,   // pinned memory, both ways
  kSynchronize,  // the host waits: stream, event, device, and copies that wait
  kHandle,       // streams, events, graphs, handles of libraries: making, setting, ending
  kQuery         // asks, changes nothing
};

struct Call {
  const char* name = "";
  CallKind kind = CallKind::kQuery;
  cudaStream_t stream = nullptr;
  std::size_t bytes = 0;
  std::uint32_t grid = 0;
  std::uint32_t block = 0;
  const void* kernel = nullptr;
  int status = 0;

  std::string kernel_name() const;  ///< "prox_step_kernel<256u>"
};

/// Calls since clear(). Queries and the handling of errors (cudaGetLastError) are listed too.
class Recording {
 public:
  void clear();
  /// The first 100,000 calls; the counts below go on.
  const std::vector<Call>& calls() const { return calls_; }
  std::uint64_t count(CallKind kind) const { return counts_[static_cast<std::size_t>(kind)]; }
  std::uint64_t launches() const { return count(CallKind::kLaunch); }
  std::uint64_t synchronizations() const { return count(CallKind::kSynchronize); }
  std::uint64_t allocations() const { return count(CallKind::kAllocate); }
  std::uint64_t frees() const { return count(CallKind::kFree); }
  std::uint64_t bytes_to_host() const {
    return bytes_[static_cast<std::size_t>(CallKind::kCopyToHost)];
  }
  std::uint64_t bytes_to_device() const {
    return bytes_[static_cast<std::size_t>(CallKind::kCopyToDevice)];
  }
  /// Calls on the default stream, which waits for all others and is waited for.
  std::uint64_t default_stream_uses() const { return default_stream_; }
  /// Names of the kernels launched, in order.
  std::vector<std::string> kernels() const;

  /// While set, calls that a capture forbids are done, but listed in violations(). Real captures
  /// (cudaStreamBeginCapture) list them too, and refuse them.
  void declare_capturing(bool on) { declared_ = on; }
  bool declared_capturing() const { return declared_; }
  const std::vector<std::string>& violations() const { return violations_; }

  void add(const Call& call);
  void add_default_stream_use() { ++default_stream_; }
  void add_violation(std::string text) { violations_.push_back(std::move(text)); }

 private:
  static constexpr std::size_t kKinds = static_cast<std::size_t>(CallKind::kQuery) + 1;
  std::vector<Call> calls_;
  std::vector<std::string> violations_;
  std::uint64_t counts_[kKinds] = {};
  std::uint64_t bytes_[kKinds] = {};
  std::uint64_t default_stream_ = 0;
  bool declared_ = false;
};

Recording& recording();

/// What machine this is. 0 devices: the driver is there but no device; −1, the state at the start:
/// no driver, as on a machine without a GPU.
void set_device_count(int count);
/// Defaults: 3 multiprocessors that hold 2 blocks each, so that grids have 6 blocks; 16 GiB.
void set_processors(int processors, int blocks_a_processor);
void set_device_memory(std::size_t bytes);
/// The next call of this name fails with `error`, after `skip` others of it. Errors that CUDA
/// contexts do not survive are sticky: all later calls fail with them.
void fail_next(std::string_view call, cudaError_t error, int skip = 0);
/// Takes away a sticky error and injections; memory, streams and recording stay.
void heal_device();

std::size_t live_allocations();
std::size_t live_bytes();
std::size_t live_streams();
std::size_t live_graphs();  // and what was instantiated from them
std::size_t live_pools();   // made, not the devices' own

/// A machine with devices for the length of a scope; a clean recording; no injections left behind.
class DeviceScope {
 public:
  explicit DeviceScope(int count = 1);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int before_;
};

}  // namespace cuthresh::simt
