// cth_tensor_from_dlpack against dlpack.h itself where it is installed (Debian's libdlpack-dev),
// and against our declaration of it everywhere.

#include <array>
#include <cstddef>
#include <cstdint>

#include "capi/dlpack.hpp"
#include "capi/support.hpp"

#if __has_include(<dlpack/dlpack.h>)
#include <dlpack/dlpack.h>
#define CTH_HAVE_DLPACK 1
#endif

namespace cuthresh::testing {
namespace {

namespace dlpack = capi::dlpack;

#if defined(CTH_HAVE_DLPACK)
TEST(CapiDlpack, DeclarationIsThatOfTheHeader) {
  static_assert(sizeof(dlpack::Tensor) == sizeof(DLTensor));
  static_assert(offsetof(dlpack::Tensor, data) == offsetof(DLTensor, data));
  static_assert(offsetof(dlpack::Tensor, device) == offsetof(DLTensor, device));
  static_assert(offsetof(dlpack::Tensor, ndim) == offsetof(DLTensor, ndim));
  static_assert(offsetof(dlpack::Tensor, dtype) == offsetof(DLTensor, dtype));
  static_assert(offsetof(dlpack::Tensor, shape) == offsetof(DLTensor, shape));
  static_assert(offsetof(dlpack::Tensor, strides) == offsetof(DLTensor, strides));
  static_assert(offsetof(dlpack::Tensor, byte_offset) == offsetof(DLTensor, byte_offset));
  static_assert(offsetof(dlpack::Device, index) == offsetof(DLDevice, device_id));
  static_assert(offsetof(dlpack::DataType, bits) == offsetof(DLDataType, bits));
  static_assert(offsetof(dlpack::DataType, lanes) == offsetof(DLDataType, lanes));
  EXPECT_EQ(dlpack::kCpu, static_cast<int>(kDLCPU));
  EXPECT_EQ(dlpack::kCudaHost, static_cast<int>(kDLCUDAHost));
  EXPECT_EQ(dlpack::kCudaManaged, static_cast<int>(kDLCUDAManaged));
  EXPECT_EQ(dlpack::kFloat, static_cast<int>(kDLFloat));
  EXPECT_EQ(dlpack::kBfloat, static_cast<int>(kDLBfloat));
  EXPECT_EQ(static_cast<int>(CTH_CPU), static_cast<int>(kDLCPU));
  EXPECT_EQ(static_cast<int>(CTH_CUDA), static_cast<int>(kDLCUDA));
  DLTensor tensor{};  // the header's own struct goes in as it is
  float value = 0.0f;
  tensor.data = &value;
  tensor.device = {kDLCPU, 0};
  tensor.dtype = {kDLFloat, 32, 1};
  cth_tensor to{};
  EXPECT_CTH(cth_tensor_from_dlpack(&tensor, &to));
  EXPECT_EQ(to.data, &value);
  EXPECT_EQ(to.size, 1);  // no extents: a scalar
}
#endif

/// A [2, 3] tensor of float32 on the CPU.
struct Sample {
  std::array<float, 12> memory{};
  std::array<std::int64_t, 2> shape = {2, 3};
  std::array<std::int64_t, 2> strides = {3, 1};
  dlpack::Tensor tensor = {memory.data(), {dlpack::kCpu, 0}, 2, {dlpack::kFloat, 32, 1},
                           shape.data(),  strides.data(),    0};
};

TEST(CapiDlpack, TakesContiguousTensors) {
  Sample s;
  cth_tensor to{};
  ASSERT_CTH(cth_tensor_from_dlpack(&s.tensor, &to));
  EXPECT_EQ(to.data, s.memory.data());
  EXPECT_EQ(to.size, 6);
  EXPECT_EQ(to.dtype, CTH_FLOAT32);
  EXPECT_EQ(to.device_type, CTH_CPU);
  s.tensor.strides = nullptr;
  s.tensor.byte_offset = 8;
  ASSERT_CTH(cth_tensor_from_dlpack(&s.tensor, &to));
  EXPECT_EQ(to.data, s.memory.data() + 2);
  s.tensor.strides = s.strides.data();
  s.shape = {1, 3};  // the stride of an extent of 1 is never used
  s.strides = {77, 1};
  EXPECT_CTH(cth_tensor_from_dlpack(&s.tensor, &to));
  EXPECT_EQ(to.size, 3);
  s.shape = {0, 3};  // nor any of an empty tensor
  s.strides = {5, 5};
  s.tensor.data = nullptr;
  EXPECT_CTH(cth_tensor_from_dlpack(&s.tensor, &to));
  EXPECT_EQ(to.size, 0);
  EXPECT_EQ(to.data, nullptr);
}

TEST(CapiDlpack, NamesDtypesAndDevices) {
  Sample s;
  cth_tensor to{};
  const std::pair<dlpack::DataType, cth_dtype> dtypes[] = {
      {{dlpack::kFloat, 64, 1}, CTH_FLOAT64},
      {{dlpack::kFloat, 16, 1}, CTH_FLOAT16},
      {{dlpack::kBfloat, 16, 1}, CTH_BFLOAT16}};
  for (const auto& [dtype, name] : dtypes) {
    s.tensor.dtype = dtype;
    EXPECT_CTH(cth_tensor_from_dlpack(&s.tensor, &to));
    EXPECT_EQ(to.dtype, name);
  }
  s.tensor.dtype = {dlpack::kFloat, 32, 1};
  s.tensor.device = {dlpack::kCudaManaged, 3};
  EXPECT_CTH(cth_tensor_from_dlpack(&s.tensor, &to));
  EXPECT_EQ(to.device_type, CTH_CUDA);
  EXPECT_EQ(to.device_index, 3);
  s.tensor.device = {dlpack::kCudaHost, 3};
  EXPECT_CTH(cth_tensor_from_dlpack(&s.tensor, &to));
  EXPECT_EQ(to.device_type, CTH_CPU);
  EXPECT_EQ(to.device_index, 0);
}

TEST(CapiDlpack, RefusesWhatItCannotTake) {
  cth_tensor to{};
  const cth_tensor untouched = to;
  const auto refused = [&](const Sample& s, cth_status status, const std::string& text) {
    expect_refused(cth_tensor_from_dlpack(&s.tensor, &to), status, text);
    EXPECT_EQ(std::memcmp(&to, &untouched, sizeof to), 0);
  };
  expect_refused(cth_tensor_from_dlpack(nullptr, &to), CTH_INVALID_ARGUMENT, "dl_tensor");
  {
    Sample s;
    expect_refused(cth_tensor_from_dlpack(&s.tensor, nullptr), CTH_INVALID_ARGUMENT, ", to:");
    s.tensor.dtype = {0, 32, 1};
    refused(s, CTH_UNSUPPORTED, "code 0, 32 bits");
    s.tensor.dtype = {dlpack::kFloat, 32, 4};
    refused(s, CTH_UNSUPPORTED, "4 lanes");
  }
  {
    Sample s;
    s.tensor.device.type = 7;
    refused(s, CTH_UNSUPPORTED, "device type 7");
  }
  {
    Sample s;
    s.strides = {1, 2};
    refused(s, CTH_UNSUPPORTED, "dl_tensor->strides[1]");
    s.strides = {4, 1};
    refused(s, CTH_UNSUPPORTED, "dl_tensor->strides[0]");
  }
  {
    Sample s;
    s.shape = {-1, 3};
    refused(s, CTH_INVALID_ARGUMENT, "dl_tensor->shape[0]");
    s.shape = {std::int64_t{1} << 40, std::int64_t{1} << 40};
    refused(s, CTH_INVALID_ARGUMENT, "2^60");
    s.tensor.ndim = -1;
    refused(s, CTH_INVALID_ARGUMENT, "-1 extents");
  }
}

}  // namespace
}  // namespace cuthresh::testing
