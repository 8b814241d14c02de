// State of the fake runtime and its recording.

#include "simt/recording.hpp"

#include <algorithm>

#include "simt/fake_cuda/state.hpp"

namespace cuthresh::simt {
namespace {

constexpr std::size_t kListed = 100000;

bool is_sticky(cudaError_t error) {
  switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorUnknown:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::string Call::kernel_name() const {
  return kernel == nullptr ? "" : simt::kernel_name(kernel);
}

void Recording::clear() {
  const bool declared = declared_;
  *this = {};
  declared_ = declared;
}

void Recording::add(const Call& call) {
  ++counts_[static_cast<std::size_t>(call.kind)];
  if (call.status == 0) bytes_[static_cast<std::size_t>(call.kind)] += call.bytes;
  if (calls_.size() < kListed) calls_.push_back(call);
}

std::vector<std::string> Recording::kernels() const {
  std::vector<std::string> names;
  for (const Call& call : calls_) {
    if (call.kind == CallKind::kLaunch) names.push_back(call.kernel_name());
  }
  return names;
}

Recording& recording() {
  return fake::state().recording;
}

void set_device_count(int count) {
  fake::state().devices = count;
}
void set_processors(int processors, int blocks_a_processor) {
  fake::state().processors = processors;
  fake::state().blocks_a_processor = blocks_a_processor;
}
void set_device_memory(std::size_t bytes) {
  fake::state().memory = bytes;
}
void fail_next(std::string_view call, cudaError_t error, int skip) {
  fake::state().injections.push_back({std::string(call), error, skip});
}
void heal_device() {
  fake::state().sticky = cudaSuccess;
  fake::state().injections.clear();
  fake::set_last_error(cudaSuccess);
}

std::size_t live_allocations() {
  return fake::state().allocations.size();
}
std::size_t live_bytes() {
  return fake::state().used;
}
std::size_t live_streams() {
  return fake::state().streams.size();
}

std::size_t live_graphs() {
  return fake::state().graphs.size() + fake::state().executables.size();
}

std::size_t live_pools() {
  return fake::state().own_pools;
}

DeviceScope::DeviceScope(int count) : before_(fake::state().devices) {
  set_device_count(count);
  heal_device();
  recording() = {};
}

DeviceScope::~DeviceScope() {
  set_device_count(before_);
  set_processors(3, 2);
  set_device_memory(std::size_t{16} << 30);
  fake::set_current_device(0);
  heal_device();
  recording() = {};
}

namespace fake {
namespace {
thread_local int device_now = 0;
thread_local cudaError_t last_error = cudaSuccess;
}  // namespace

State& state() {
  static State value;
  return value;
}
int current_device() {
  return device_now;
}
void set_current_device(int device) {
  device_now = device;
}
void set_last_error(cudaError_t error) {
  last_error = error;
}

bool is_capture_here(cudaStream_t s) {
  return s->graph != nullptr && (!s->only_thread || s->only_thread == std::this_thread::get_id());
}

bool any_capture() {
  return std::any_of(state().streams.begin(), state().streams.end(), is_capture_here);
}

cudaError_t enter(const Call& call, const Traits& traits) {
  State& s = state();
  if (s.devices < 0) return cudaErrorInsufficientDriver;
  if (s.sticky != cudaSuccess) return s.sticky;
  for (auto i = s.injections.begin(); i != s.injections.end(); ++i) {
    if (i->call != call.name || i->skip-- > 0) continue;
    const cudaError_t error = i->error;
    s.injections.erase(i);
    return error;
  }
  const bool default_stream = traits.uses_stream && call.stream == nullptr;
  if (default_stream) s.recording.add_default_stream_use();
  if (traits.capture == Capture::kForbidden || default_stream) {
    const bool captured = any_capture();
    if (captured || s.recording.declared_capturing()) {
      s.recording.add_violation(std::string(call.name) +
                                (default_stream ? " on the default stream" : "") +
                                " during capture");
    }
    if (captured) {
      for (cudaStream_t stream : s.streams)
        stream->invalidated = stream->invalidated || is_capture_here(stream);
      return default_stream ? cudaErrorStreamCaptureImplicit : cudaErrorStreamCaptureUnsupported;
    }
  }
  if (traits.uses_stream && call.stream != nullptr && s.streams.count(call.stream) == 0) {
    return cudaErrorInvalidResourceHandle;
  }
  return cudaSuccess;
}

cudaError_t leave(Call& call, cudaError_t status) {
  call.status = static_cast<int>(status);
  State& s = state();
  s.recording.add(call);
  // Not an error, but the answer "not yet".
  if (status != cudaSuccess && status != cudaErrorNotReady) last_error = status;
  if (is_sticky(status)) s.sticky = status;
  return status;
}

void enqueue(cudaStream_t stream, std::shared_ptr<Work> work) {
  if (stream != nullptr && stream->graph != nullptr) {
    stream->graph->nodes.push_back(std::move(work));
  } else {
    work->run();
  }
}

}  // namespace fake
}  // namespace cuthresh::simt

using cuthresh::simt::fake::last_error;
using cuthresh::simt::fake::state;

extern "C" cudaError_t cudaPeekAtLastError() {
  if (state().devices < 0) return cudaErrorInsufficientDriver;
  return state().sticky != cudaSuccess ? state().sticky : last_error;
}

extern "C" cudaError_t cudaGetLastError() {
  const cudaError_t error = cudaPeekAtLastError();
  last_error = cudaSuccess;
  return error;
}
