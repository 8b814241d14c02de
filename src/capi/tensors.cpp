#include "capi/tensors.hpp"

#include <algorithm>

#include "backend/check_values.hpp"
#include "capi/boundary.hpp"

namespace cuthresh::capi {
namespace {

const char* dtype_name(std::int32_t dtype) {
  switch (dtype) {
    case CTH_FLOAT32:
      return "float32";
    case CTH_FLOAT64:
      return "float64";
    case CTH_FLOAT16:
      return "float16";
    case CTH_BFLOAT16:
      return "bfloat16";
    default:
      return nullptr;
  }
}

void check_dtype(const std::string& where, std::int32_t dtype) {
  if (dtype == CTH_FLOAT32) return;
  const char* const name = dtype_name(dtype);
  if (name == nullptr) {
    invalid(where, "the dtype must be one of cth_dtype", std::to_string(dtype), "use CTH_FLOAT32");
  }
  unsupported(where, "plans take float32 only", name,
              "convert it, or keep a float32 master copy of the weights");
}

}  // namespace

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

float* check_tensor(const std::string& where, const cth_tensor& tensor, const Device& device) {
  check_dtype(where, tensor.dtype);
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
  check_aligned(where, tensor.data, alignof(float));
  return static_cast<float*>(tensor.data);
}

float* check_tensor(const std::string& where, const cth_tensor& tensor, const Device& device,
                    std::int64_t weight_size) {
  float* const data = check_tensor(where, tensor, device);
  if (tensor.size == weight_size) return data;
  invalid(where, "must be as large as its weight, " + std::to_string(weight_size),
          std::to_string(tensor.size), "pass as many elements");
}

}  // namespace cuthresh::capi
