// Devices, streams, events and the names of errors.

#include <algorithm>
#include <chrono>
#include <cstring>

#include "simt/fake_cuda/state.hpp"

using cuthresh::simt::Call;
using cuthresh::simt::CallKind;
using namespace cuthresh::simt::fake;

namespace {

bool is_device(int device) {
  return device >= 0 && device < state().devices;
}

Call query(const char* name) {
  Call call;
  call.name = name;
  return call;
}

Call on_stream(const char* name, CallKind kind, cudaStream_t stream) {
  Call call;
  call.name = name;
  call.kind = kind;
  call.stream = stream;
  return call;
}

constexpr Traits kPlain{};
constexpr Traits kNotCaptured{Capture::kForbidden, false};

template <class T>
cudaError_t destroy(std::set<T>& live, T handle) {
  if (live.erase(handle) == 0) return cudaErrorInvalidResourceHandle;
  delete handle;
  return cudaSuccess;
}

struct ErrorText {
  cudaError_t error;
  const char* name;
  const char* text;
};
constexpr ErrorText kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection",
     "invalid copy direction for memcpy"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorDevicesUnavailable, "cudaErrorDevicesUnavailable",
     "CUDA-capable device(s) is/are busy or unavailable"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorDeviceUninitialized, "cudaErrorDeviceUninitialized", "invalid device context"},
    {cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice",
     "no kernel image is available for execution on the device"},
    {cudaErrorECCUncorrectable, "cudaErrorECCUncorrectable", "uncorrectable ECC error encountered"},
    {cudaErrorUnsupportedPtxVersion, "cudaErrorUnsupportedPtxVersion",
     "the provided PTX was compiled with an unsupported toolchain."},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress",
     "an illegal memory access was encountered"},
    {cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources",
     "too many resources requested for launch"},
    {cudaErrorLaunchTimeout, "cudaErrorLaunchTimeout", "the launch timed out and was terminated"},
    {cudaErrorAssert, "cudaErrorAssert", "device-side assert triggered"},
    {cudaErrorHardwareStackError, "cudaErrorHardwareStackError", "hardware stack error"},
    {cudaErrorIllegalInstruction, "cudaErrorIllegalInstruction",
     "an illegal instruction was encountered"},
    {cudaErrorMisalignedAddress, "cudaErrorMisalignedAddress", "misaligned address"},
    {cudaErrorInvalidAddressSpace, "cudaErrorInvalidAddressSpace",
     "operation not supported on global/shared address space"},
    {cudaErrorInvalidPc, "cudaErrorInvalidPc", "invalid program counter"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorSystemDriverMismatch, "cudaErrorSystemDriverMismatch",
     "system has unsupported display driver / cuda driver combination"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"},
};

const ErrorText* find_text(cudaError_t error) {
  const auto* found = std::find_if(std::begin(kErrors), std::end(kErrors),
                                   [error](const ErrorText& e) { return e.error == error; });
  return found == std::end(kErrors) ? nullptr : found;
}

std::int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

int attribute_value(cudaDeviceAttr attribute) {
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      return 1024;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return 48 * 1024;
    case cudaDevAttrWarpSize:
      return 32;
    case cudaDevAttrMultiProcessorCount:
      return state().processors;
    case cudaDevAttrL2CacheSize:
      return 4 << 20;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      return 2048;
    case cudaDevAttrComputeCapabilityMajor:
      return 9;
    case cudaDevAttrComputeCapabilityMinor:
      return 0;
    case cudaDevAttrMemoryPoolsSupported:
      return 1;
  }
  return -1;
}

}  // namespace

extern "C" {

const char* cudaGetErrorName(cudaError_t error) {
  const ErrorText* found = find_text(error);
  return found == nullptr ? "unrecognized error code" : found->name;
}
const char* cudaGetErrorString(cudaError_t error) {
  const ErrorText* found = find_text(error);
  return found == nullptr ? "unrecognized error code" : found->text;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = state().devices < 0 ? 0 : CUDART_VERSION;  // works without a driver
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  return api(query("cudaGetDeviceCount"), kPlain, [&](Call&) {
    *count = state().devices;
    return state().devices == 0 ? cudaErrorNoDevice : cudaSuccess;
  });
}
cudaError_t cudaGetDevice(int* device) {
  return api(query("cudaGetDevice"), kPlain, [&](Call&) {
    *device = current_device();
    return cudaSuccess;
  });
}
cudaError_t cudaSetDevice(int device) {
  return api(query("cudaSetDevice"), kPlain, [&](Call&) {
    if (!is_device(device)) return cudaErrorInvalidDevice;
    set_current_device(device);
    return cudaSuccess;
  });
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return api(query("cudaDeviceGetAttribute"), kPlain, [&](Call&) {
    if (!is_device(device)) return cudaErrorInvalidDevice;
    const int found = attribute_value(attribute);
    if (found < 0) return cudaErrorInvalidValue;
    *value = found;
    return cudaSuccess;
  });
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return api(query("cudaGetDeviceProperties"), kPlain, [&](Call&) {
    if (!is_device(device)) return cudaErrorInvalidDevice;
    *properties = {};
    std::strcpy(properties->name, "interpreted device");
    properties->totalGlobalMem = state().memory;
    properties->sharedMemPerBlock = 48 * 1024;
    properties->warpSize = 32;
    properties->maxThreadsPerBlock = 1024;
    properties->major = attribute_value(cudaDevAttrComputeCapabilityMajor);
    properties->minor = attribute_value(cudaDevAttrComputeCapabilityMinor);
    properties->multiProcessorCount = state().processors;
    properties->l2CacheSize = attribute_value(cudaDevAttrL2CacheSize);
    properties->maxThreadsPerMultiProcessor =
        attribute_value(cudaDevAttrMaxThreadsPerMultiProcessor);
    return cudaSuccess;
  });
}
cudaError_t cudaDeviceSynchronize() {
  return api(on_stream("cudaDeviceSynchronize", CallKind::kSynchronize, nullptr), kNotCaptured,
             [](Call&) { return cudaSuccess; });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned int flags) {
  return api(on_stream("cudaStreamCreateWithFlags", CallKind::kHandle, nullptr), kPlain,
             [&](Call& call) {
               if (state().devices == 0) return cudaErrorNoDevice;
               if (flags > cudaStreamNonBlocking) return cudaErrorInvalidValue;
               *stream = new CUstream_st{current_device(), nullptr, false};
               state().streams.insert(*stream);
               call.stream = *stream;
               return cudaSuccess;
             });
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return api(on_stream("cudaStreamDestroy", CallKind::kHandle, stream), kPlain, [&](Call&) {
    if (stream != nullptr && state().streams.count(stream) != 0) delete stream->graph;
    return destroy(state().streams, stream);
  });
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return api(on_stream("cudaStreamSynchronize", CallKind::kSynchronize, stream),
             {Capture::kForbidden, true}, [](Call&) { return cudaSuccess; });
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return api(on_stream("cudaStreamQuery", CallKind::kQuery, stream), {Capture::kForbidden, true},
             [](Call&) { return cudaSuccess; });
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int) {
  return api(on_stream("cudaStreamWaitEvent", CallKind::kHandle, stream), {Capture::kAllowed, true},
             [&](Call&) {
               return state().events.count(event) == 0 ? cudaErrorInvalidResourceHandle
                                                       : cudaSuccess;
             });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int) {
  return api(on_stream("cudaEventCreateWithFlags", CallKind::kHandle, nullptr), kPlain, [&](Call&) {
    *event = new CUevent_st;
    state().events.insert(*event);
    return cudaSuccess;
  });
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return api(on_stream("cudaEventDestroy", CallKind::kHandle, nullptr), kPlain,
             [&](Call&) { return destroy(state().events, event); });
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return api(on_stream("cudaEventRecord", CallKind::kHandle, stream), {Capture::kAllowed, true},
             [&](Call&) {
               if (state().events.count(event) == 0) return cudaErrorInvalidResourceHandle;
               event->nanoseconds = now();
               return cudaSuccess;
             });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return api(
      on_stream("cudaEventSynchronize", CallKind::kSynchronize, nullptr), kNotCaptured, [&](Call&) {
        return state().events.count(event) == 0 ? cudaErrorInvalidResourceHandle : cudaSuccess;
      });
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return api(query("cudaEventQuery"), kNotCaptured, [&](Call&) {
    return state().events.count(event) == 0 ? cudaErrorInvalidResourceHandle : cudaSuccess;
  });
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  return api(query("cudaEventElapsedTime"), kNotCaptured, [&](Call&) {
    const auto recorded = [](cudaEvent_t e) {
      return state().events.count(e) != 0 && e->nanoseconds >= 0;
    };
    if (!recorded(start) || !recorded(end)) return cudaErrorInvalidResourceHandle;
    *milliseconds = static_cast<float>(end->nanoseconds - start->nanoseconds) * 1e-6f;
    return cudaSuccess;
  });
}

}  // extern "C"
