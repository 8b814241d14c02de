// Which device a run takes, and why.

#include <gmock/gmock.h>

#include "core/registry.hpp"
#include "cuda/room.hpp"

namespace cuthresh::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string refusal(const BackendOptions& options) {
  try {
    make_backend(options);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Registry, AutoTakesAGpuThatIsThere) {
  const simt::DeviceScope machine(1);
  const ChosenBackend chosen = make_backend({"auto", "reference", 1, "fp32"});
  EXPECT_THAT(chosen.why, AllOf(StartsWith("cuda ("), HasSubstr("cuBLAS 13."), HasSubstr("fp32")));
  EXPECT_EQ(chosen.why, chosen.backend->description());
  for (const Operation operation :
       {Operation::kDense, Operation::kMse, Operation::kSoftmaxCrossEntropy, Operation::kProxStep,
        Operation::kSelect, Operation::kKkt, Operation::kMomentum}) {
    EXPECT_EQ(chosen.backend->unsupported(operation), "");
  }
  EXPECT_THAT(make_backend({"cuda", "auto", 0, "tf32"}).why,
              AllOf(StartsWith("cuda ("), HasSubstr("tf32")));
  EXPECT_THAT(make_backend({"cpu", "reference", 1, "fp32"}).why, StartsWith("cpu ("));
}

TEST(Registry, WithoutADriverAutoSaysWhyAndCudaRefuses) {
  const simt::DeviceScope machine(-1);
  EXPECT_THAT(make_backend({"auto", "reference", 1, "fp32"}).why,
              AllOf(StartsWith("cpu (reference"), HasSubstr("): no CUDA device: "),
                    HasSubstr("cudaErrorInsufficientDriver (35)"), HasSubstr("no NVIDIA driver")));
  EXPECT_THAT(refusal({"cuda", "reference", 1, "fp32"}),
              AllOf(HasSubstr("run.device"), HasSubstr("no CUDA device"), HasSubstr("(35)"),
                    HasSubstr("device = \"cpu\"")));
}

TEST(Registry, WithoutADeviceToo) {
  const simt::DeviceScope machine(0);
  EXPECT_THAT(make_backend({"auto", "reference", 1, "fp32"}).why,
              AllOf(StartsWith("cpu (reference"), HasSubstr("): no CUDA device: ")));
  EXPECT_THAT(refusal({"cuda", "reference", 1, "fp32"}), HasSubstr("no CUDA device: "));
}

TEST(Registry, TheCpuPathTouchesNothingOfCuda) {
  const simt::DeviceScope machine(-1);
  make_backend({"cpu", "reference", 1, "fp32"});
  EXPECT_TRUE(simt::recording().calls().empty());
  make_backend({"auto", "reference", 1, "fp32"});
  ASSERT_EQ(simt::recording().calls().size(), 1U) << "one question, and no other after its answer";
  EXPECT_STREQ(simt::recording().calls().front().name, "cudaGetDeviceCount");
}

TEST(Registry, ADeviceThatCannotRunTheKernelsIsNotTaken) {
  const simt::DeviceScope machine(1);
  simt::fail_next("cudaOccupancyMaxActiveBlocksPerMultiprocessor", cudaErrorNoKernelImageForDevice);
  EXPECT_THAT(make_backend({"auto", "reference", 1, "fp32"}).why,
              AllOf(StartsWith("cpu ("), HasSubstr("cannot run this build's kernels"),
                    HasSubstr("cudaErrorNoKernelImageForDevice (209)")));
}

TEST(Registry, ADeviceThatFailsAtTheStartIsNotTaken) {
  const simt::DeviceScope machine(1);
  simt::fail_next("cudaStreamCreateWithFlags", cudaErrorDevicesUnavailable);
  EXPECT_THAT(make_backend({"auto", "reference", 1, "fp32"}).why,
              AllOf(StartsWith("cpu ("), HasSubstr("cudaErrorDevicesUnavailable (46)")));
}

TEST(Registry, NamesThatDoNotExistAreRefused) {
  EXPECT_THAT(refusal({"gpu", "auto", 1, "fp32"}),
              AllOf(HasSubstr("run.device"), HasSubstr("gpu")));
  EXPECT_THAT(refusal({"cpu", "auto", 1, "fp16"}),
              AllOf(HasSubstr("run.precision"), HasSubstr("fp16"), HasSubstr("tf32")));
}

}  // namespace
}  // namespace cuthresh::testing
