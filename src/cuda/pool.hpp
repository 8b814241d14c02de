#pragma once

#include <cuda_runtime.h>

#include "cuda/check.hpp"

namespace cuthresh::cuda {

/// Owner of a memory pool of its own. The device's default pool belongs to the whole process: what
/// keeps memory there keeps it from everyone, and after the room is gone. This one gives its memory
/// back when it is destroyed and the last piece was freed.
class Pool {
 public:
  Pool(Health& health, int device);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  cudaMemPool_t get() const noexcept { return pool_; }

 private:
  Health& health_;
  cudaMemPool_t pool_ = nullptr;
};

}  // namespace cuthresh::cuda
