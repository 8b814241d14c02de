#pragma once

#include <cstdint>
#include <string>

#include "cuthresh/cuthresh.h"

namespace cuthresh::capi {

/// A device of a context, and of tensors.
struct Device {
  std::int32_t type = CTH_CPU;
  std::int32_t index = 0;

  bool operator==(const Device&) const = default;
};

/// "CPU", "CUDA device 1", "device type 9".
std::string name_of(const Device& device);

/// A tensor that a plan can take: float32, on `device`, of a size from 0 to 2^60, its memory there
/// and on a boundary of floats. Refuses with `where`, "cth_plan_create, tensors[3].weight".
float* check_tensor(const std::string& where, const cth_tensor& tensor, const Device& device);
/// Of a gradient or momentum: the same, and as large as its weight.
float* check_tensor(const std::string& where, const cth_tensor& tensor, const Device& device,
                    std::int64_t weight_size);
/// Null, or on a boundary of `bytes`.
void check_aligned(const std::string& where, const void* pointer, std::size_t bytes);

}  // namespace cuthresh::capi
