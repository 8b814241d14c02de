#pragma once

// DLPack's DLTensor as its ABI has been from the first version to 1.x (dlpack.h of
// github.com/dmlc/dlpack), under names of our own: dlpack.h may be there too.

#include <cstdint>

namespace cuthresh::capi::dlpack {

enum DeviceType : std::int32_t { kCpu = 1, kCuda = 2, kCudaHost = 3, kCudaManaged = 13 };
enum TypeCode : std::uint8_t { kFloat = 2, kBfloat = 4 };

struct Device {
  std::int32_t type;
  std::int32_t index;
};

struct DataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};

struct Tensor {
  void* data;
  Device device;
  std::int32_t ndim;
  DataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  ///< in elements; null: contiguous
  std::uint64_t byte_offset;
};

}  // namespace cuthresh::capi::dlpack
