#include "cuda/pool.hpp"

#include <cstdint>
#include <limits>

namespace cuthresh::cuda {

Pool::Pool(Health& health, int device) : health_(health) {
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.handleTypes = cudaMemHandleTypeNone;
  properties.location.type = cudaMemLocationTypeDevice;
  properties.location.id = device;
  health.check(cudaMemPoolCreate(&pool_, &properties), "cudaMemPoolCreate");
  // Freed memory stays in the pool: by default it would go back to the driver at every wait, and
  // the next round would ask for it again.
  std::uint64_t keep = std::numeric_limits<std::uint64_t>::max();
  const cudaError_t status = cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &keep);
  if (status != cudaSuccess) {
    health.note(cudaMemPoolDestroy(pool_), "cudaMemPoolDestroy");
    health.check(status, "cudaMemPoolSetAttribute");
  }
}

Pool::~Pool() {
  health_.note(cudaMemPoolDestroy(pool_), "cudaMemPoolDestroy");
}

}  // namespace cuthresh::cuda
