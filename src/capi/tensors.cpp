#include "capi/tensors.hpp"

#include <algorithm>

#include "backend/check_values.hpp"
#include "capi/boundary.hpp"

namespace cuthresh::capi {
namespace {

const char* dtype_name(Dtype dtype) {
  switch (dtype) {
    case Dtype::kFloat32:
      return "float32";
    case Dtype::kFloat64:
      return "float64";
    case Dtype::kFloat16:
      return "float16";
    case Dtype::kBfloat16:
      break;
  }
  return "bfloat16";
}

}  // namespace

Dtype read_dtype(const std::string& where, std::int32_t dtype) {
  switch (dtype) {
    case CTH_FLOAT32:
      return Dtype::kFloat32;
    case CTH_FLOAT64:
      return Dtype::kFloat64;
    case CTH_FLOAT16:
      return Dtype::kFloat16;
    case CTH_BFLOAT16:
      return Dtype::kBfloat16;
    default:
      invalid(where, "the dtype must be one of cth_dtype", std::to_string(dtype),
              "use CTH_FLOAT32");
  }
}

Dtype compute_dtype(Dtype dtype) {
  return dtype == Dtype::kFloat64 ? dtype : Dtype::kFloat32;
}

std::string name_of(const Device& device) {
  if (device.type == CTH_CPU) return "CPU";
  if (device.type == CTH_CUDA) return "CUDA device " + std::to_string(device.index);
  return "device type " + std::to_string(device.type);
}

void check_aligned(const std::string& where, const void* pointer, std::size_t bytes) {
  if (reinterpret_cast<std::uintptr_t>(pointer) % bytes == 0) return;
  invalid(where, "must lie on a multiple of " + std::to_string(bytes) + " bytes", hex(pointer),
          "pass a pointer to whole elements");
}

void* check_tensor(const std::string& where, const cth_tensor& tensor, const Device& device,
                   Dtype dtype) {
  const Dtype given = read_dtype(where, tensor.dtype);
  if (given != dtype) {
    unsupported(
        where,
        std::string("the dtype must be ") + dtype_name(dtype) +
            " here: weights and gradients of a plan have that of its first weight, momentum "
            "float64 beside float64 and else float32, master copies float32",
        dtype_name(given), "make a plan for each dtype, or convert the tensor");
  }
  const Device on{tensor.device_type, tensor.device_index};
  if (on.type != CTH_CPU && on.type != CTH_CUDA) {
    invalid(where, "the device type must be CTH_CPU or CTH_CUDA", std::to_string(on.type),
            "use cth_cpu_float32 or cth_cuda_float32");
  }
  if (on != device) {
    invalid(where, "must be on the context's device, " + name_of(device), name_of(on),
            "move it there, or use a context of its device");
  }
  if (tensor.size < 0 || tensor.size > kMaxElements) {
    invalid(where, "the size must be from 0 to 2^60 elements", std::to_string(tensor.size),
            "pass the number of elements");
  }
  if (tensor.data == nullptr && tensor.size > 0) {
    invalid(where, "data must not be NULL", "NULL, " + std::to_string(tensor.size) + " elements",
            "pass the tensor's memory");
  }
  check_aligned(where, tensor.data, storage_bytes(dtype));
  return tensor.data;
}

void* check_tensor(const std::string& where, const cth_tensor& tensor, const Device& device,
                   Dtype dtype, std::int64_t weight_size) {
  void* const data = check_tensor(where, tensor, device, dtype);
  if (tensor.size == weight_size) return data;
  invalid(where, "must be as large as its weight, " + std::to_string(weight_size),
          std::to_string(tensor.size), "pass as many elements");
}

}  // namespace cuthresh::capi
