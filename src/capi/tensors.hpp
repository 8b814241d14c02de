#pragma once

#include <cstdint>
#include <string>

#include "backend/dtype.hpp"
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

/// One of cth_dtype, as the rooms call it.
Dtype read_dtype(const std::string& where, std::int32_t dtype);
/// As momentum has it beside weights of `dtype`.
Dtype compute_dtype(Dtype dtype);

/// A tensor that a plan of this dtype can take: on `device`, of a size from 0 to 2^60, its memory
/// there and on a boundary of elements. Refuses with `where`, "cth_plan_create, tensors[3].weight".
void* check_tensor(const std::string& where, const cth_tensor& tensor, const Device& device,
                   Dtype dtype);
/// Of a gradient, momentum or master copy: the same, and as large as its weight.
void* check_tensor(const std::string& where, const cth_tensor& tensor, const Device& device,
                   Dtype dtype, std::int64_t weight_size);
/// Null, or on a boundary of `bytes`.
void check_aligned(const std::string& where, const void* pointer, std::size_t bytes);

}  // namespace cuthresh::capi
