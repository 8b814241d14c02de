#pragma once

#include <cuda_runtime.h>

#include <new>

#include "cuda/check.hpp"

namespace cuthresh::cuda {

/// Makes a device the thread's current one for a scope, and then again the one that was: the
/// caller's. Where it is current already that is one question, which CUDA answers from memory.
class OnDevice {
 public:
  OnDevice(Health& health, int device) : OnDevice(device, health) {
    if (before_ != device_) health.check(cudaSetDevice(device_), "cudaSetDevice");
  }
  /// For destructors.
  OnDevice(Health& health, int device, std::nothrow_t) noexcept : OnDevice(device, health) {
    if (before_ != device_) health.note(cudaSetDevice(device_), "cudaSetDevice");
  }
  ~OnDevice() {
    if (before_ != device_) health_.note(cudaSetDevice(before_), "cudaSetDevice");
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  OnDevice(int device, Health& health) noexcept : health_(health), device_(device) {
    health.note(cudaGetDevice(&before_), "cudaGetDevice");
  }

  Health& health_;
  int device_;
  int before_ = 0;
};

}  // namespace cuthresh::cuda
