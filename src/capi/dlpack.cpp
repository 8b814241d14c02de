#include "capi/dlpack.hpp"

#include <string>

#include "backend/check_values.hpp"
#include "capi/boundary.hpp"

namespace cuthresh::capi {
namespace {

constexpr char kFromDlpack[] = "cth_tensor_from_dlpack";

std::int32_t dtype_of(const dlpack::DataType& dtype) {
  const bool one_lane = dtype.lanes == 1;
  if (one_lane && dtype.code == dlpack::kFloat && dtype.bits == 32) return CTH_FLOAT32;
  if (one_lane && dtype.code == dlpack::kFloat && dtype.bits == 64) return CTH_FLOAT64;
  if (one_lane && dtype.code == dlpack::kFloat && dtype.bits == 16) return CTH_FLOAT16;
  if (one_lane && dtype.code == dlpack::kBfloat && dtype.bits == 16) return CTH_BFLOAT16;
  unsupported(argument(kFromDlpack, "dl_tensor->dtype"),
              "must be float32, float64, float16 or bfloat16, one lane",
              "code " + std::to_string(dtype.code) + ", " + std::to_string(dtype.bits) + " bits, " +
                  std::to_string(dtype.lanes) + " lanes",
              "convert it to float32");
}

void set_device(const dlpack::Device& from, cth_tensor& to) {
  switch (from.type) {
    case dlpack::kCpu:
    case dlpack::kCudaHost:  // pinned memory: the CPU reads it as any other
      to.device_type = CTH_CPU;
      to.device_index = 0;
      return;
    case dlpack::kCuda:
    case dlpack::kCudaManaged:
      to.device_type = CTH_CUDA;
      to.device_index = from.index;
      return;
    default:
      unsupported(argument(kFromDlpack, "dl_tensor->device"),
                  "must be kDLCPU, kDLCUDA, kDLCUDAHost or kDLCUDAManaged",
                  "device type " + std::to_string(from.type), "move it to the CPU or to CUDA");
  }
}

/// The number of elements.
std::int64_t size_of(const dlpack::Tensor& from) {
  if (from.ndim < 0 || (from.ndim > 0 && from.shape == nullptr)) {
    invalid(argument(kFromDlpack, "dl_tensor"), "must have a shape of 0 or more extents",
            std::to_string(from.ndim) + " extents", "pass a DLTensor that was filled in");
  }
  std::int64_t size = 1;
  bool empty = false;
  for (std::int32_t i = 0; i < from.ndim; ++i) {
    const std::int64_t extent = from.shape[i];
    empty = empty || extent == 0;
    if (extent < 0 || (extent > 0 && size > kMaxElements / extent)) {
      invalid(argument(kFromDlpack, element("dl_tensor->shape", static_cast<std::size_t>(i))),
              "extents must be at least 0, and their product at most 2^60", std::to_string(extent),
              "pass the tensor's shape");
    }
    if (extent > 0) size *= extent;
  }
  return empty ? 0 : size;
}

void check_contiguous(const dlpack::Tensor& from, std::int64_t size) {
  if (from.strides == nullptr || size == 0) return;
  std::int64_t wanted = 1;
  for (std::int32_t i = from.ndim; i-- > 0;) {
    if (from.shape[i] == 1) continue;  // its stride is never used
    if (from.strides[i] != wanted) {
      unsupported(argument(kFromDlpack, element("dl_tensor->strides", static_cast<std::size_t>(i))),
                  "the tensor must be contiguous: a stride of " + std::to_string(wanted) +
                      " is wanted here",
                  std::to_string(from.strides[i]), "pass a contiguous copy, or its whole storage");
    }
    wanted *= from.shape[i];
  }
}

}  // namespace
}  // namespace cuthresh::capi

cth_status cth_tensor_from_dlpack(const void* dl_tensor, cth_tensor* to) {
  using namespace cuthresh::capi;
  return guarded(kFromDlpack, [&] {
    require(kFromDlpack, "dl_tensor", dl_tensor);
    require(kFromDlpack, "to", to);
    const dlpack::Tensor& from = *static_cast<const dlpack::Tensor*>(dl_tensor);
    cth_tensor tensor{};
    tensor.dtype = dtype_of(from.dtype);
    set_device(from.device, tensor);
    tensor.size = size_of(from);
    check_contiguous(from, tensor.size);
    tensor.data = from.data == nullptr ? nullptr : static_cast<char*>(from.data) + from.byte_offset;
    *to = tensor;
  });
}
