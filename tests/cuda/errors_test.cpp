// What the room says when CUDA refuses or fails.

#include <gmock/gmock.h>

#include "cuda/room.hpp"

namespace cuthresh::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(CudaErrors, OutOfMemoryNamesTheBytesAskedAndFree) {
  simt::DeviceScope machine(1);
  simt::set_device_memory(std::size_t{1} << 20);
  const auto backend = cuda::make_cuda_backend(cuda::Precision::kFp32);
  void* half = backend->allocate(std::size_t{1} << 19);
  const std::string text = error_of([&] { backend->allocate(777'216); });
  EXPECT_THAT(text, AllOf(HasSubstr("could not allocate"), HasSubstr("777216 bytes"),
                          HasSubstr("524288 free of 1048576"), HasSubstr("smaller")));
  // It concerns that one call.
  void* small = backend->allocate(1000);
  EXPECT_NE(small, nullptr);
  backend->zero(small, 1000);
  backend->synchronize();
  backend->deallocate(small);
  backend->deallocate(half);
}

TEST(CudaErrors, AFailedLaunchNamesKernelAndGeometry) {
  CudaRoom room;
  StepLoop loop(*room.backend, 20, false);
  loop.step();
  simt::fail_next("cudaLaunchKernelEx", cudaErrorLaunchOutOfResources);
  const std::string text = error_of([&] { room.backend->prox_step(loop.plan()); });
  EXPECT_THAT(text, AllOf(HasSubstr("prox_step_kernel"), HasSubstr("blocks of 256 threads"),
                          HasSubstr("src/cuda/prox.cu:"), HasSubstr("LaunchOutOfResources")));
  EXPECT_THAT(text, Not(HasSubstr("unusable")));
  // Nothing ran, and the next step does.
  EXPECT_EQ(room.backend->read_status(loop.plan()).steps, 1);
  room.backend->prox_step(loop.plan());
  EXPECT_EQ(room.backend->read_status(loop.plan()).steps, 2);
}

/// Ends a sticky error before the room in its scope goes: the memory could not be given back else.
struct Heal {
  ~Heal() { simt::heal_device(); }
};

TEST(CudaErrors, AStickyErrorIsReportedWithTheCallThatFirstSawIt) {
  {
    CudaRoom room;
    StepLoop loop(*room.backend, 20, false);
    const Heal heal;
    loop.step();
    void* memory = room.backend->allocate(64);
    simt::fail_next("cudaStreamSynchronize", cudaErrorIllegalAddress);
    const std::string first = error_of([&] { room.backend->read_status(loop.plan()); });
    EXPECT_THAT(first, AllOf(HasSubstr("cudaStreamSynchronize"), HasSubstr("src/cuda/context.cpp:"),
                             HasSubstr("cudaErrorIllegalAddress (700)"), HasSubstr("unusable")));
    std::vector<float> one(1);
    const std::vector<std::pair<float, float>> brackets(3, {0.0f, 1.0f});
    const std::vector<std::string> later = {
        error_of([&] { room.backend->prox_step(loop.plan()); }),
        error_of([&] { room.backend->read_status(loop.plan()); }),
        error_of([&] { room.backend->read_kkt(loop.plan()); }),
        error_of([&] { room.backend->read_nonzeros(loop.plan()); }),
        error_of([&] { room.backend->read_bracket_medians(loop.plan(), brackets); }),
        error_of([&] { room.backend->read_kth_gradient(loop.plan(), 1); }),
        error_of([&] { room.backend->set_rate(loop.plan(), {0.1f}); }),
        error_of([&] { room.backend->set_stop(loop.plan(), {}); }),
        error_of([&] { room.backend->synchronize(); }),
        error_of([&] { room.backend->allocate(5); }),
        error_of([&] { loop.step(); }),
    };
    for (const std::string& text : later) {
      EXPECT_THAT(text, AllOf(HasSubstr("unusable"), HasSubstr("first seen by"),
                              HasSubstr("cudaStreamSynchronize at src/cuda/context.cpp:"),
                              HasSubstr("cudaErrorIllegalAddress (700)")));
    }
    // Once it is known, CUDA is not asked any more.
    simt::recording().clear();
    EXPECT_NE(error_of([&] { room.backend->prox_step(loop.plan()); }), "no error");
    EXPECT_EQ(simt::recording().launches(), 0U);
    // What destructors call neither throws nor ends the process.
    const std::size_t before = simt::live_allocations();
    room.backend->deallocate(memory);
    EXPECT_EQ(simt::live_allocations(), before) << "a lost context frees nothing";
    simt::heal_device();
    room.backend->deallocate(memory);
  }
}

TEST(CudaErrors, AStickyErrorOfALaunchToo) {
  {
    CudaRoom room;
    StepLoop loop(*room.backend, 20, false);
    const Heal heal;
    simt::fail_next("cudaLaunchKernelEx", cudaErrorMisalignedAddress);
    EXPECT_THAT(error_of([&] { loop.step(); }),
                AllOf(HasSubstr("launch of bias_activation_kernel"), HasSubstr("unusable")));
    EXPECT_THAT(error_of([&] { room.backend->synchronize(); }),
                AllOf(HasSubstr("first seen by launch of bias_activation_kernel"),
                      HasSubstr("cudaErrorMisalignedAddress (716)")));
  }
}

TEST(CudaErrors, FailuresWhileARoomIsMadeLeaveNothingBehind) {
  const simt::DeviceScope machine(2);
  const std::size_t streams = simt::live_streams();
  for (const char* call : {"cudaSetDevice", "cudaStreamCreateWithFlags", "cudaGetDeviceProperties",
                           "cudaMemPoolCreate", "cudaMemPoolSetAttribute"}) {
    simt::fail_next(call, cudaErrorDevicesUnavailable);
    const std::string text = error_of([] { cuda::make_cuda_backend(cuda::Precision::kFp32, 1); });
    EXPECT_THAT(text, AllOf(HasSubstr(call), HasSubstr("cudaErrorDevicesUnavailable (46)")));
    EXPECT_EQ(simt::live_streams(), streams) << call;
    EXPECT_EQ(simt::live_pools(), 0U) << call;
  }
}

TEST(CudaErrors, AFailedPlanGivesItsMemoryBack) {
  CudaRoom room;
  Random random(1);
  TensorLists tensors(*room.backend, {100}, 1, random);
  const std::size_t before = simt::live_allocations();
  simt::fail_next("cudaMemcpyAsync", cudaErrorInvalidValue);
  EXPECT_THAT(error_of([&] { room.backend->make_plan(tensors.list, 1); }),
              HasSubstr("cudaMemcpyAsync"));
  EXPECT_EQ(simt::live_allocations(), before);
}

TEST(CudaErrors, AMatrixProductAboveTheLimitsOfCublasIsRefused) {
  CudaRoom room;
  const Array<float> small(*room.backend, 4);
  Array<float> out(*room.backend, 4);
  simt::recording().clear();
  const std::int64_t many = (std::int64_t{1} << 31);
  const std::string text = error_of([&] {
    room.backend->dense_forward({{many, 1, 1, Activation::kIdentity, 0.0f},
                                 small.data(),
                                 small.data(),
                                 small.data(),
                                 nullptr,
                                 out.data()});
  });
  EXPECT_THAT(text, AllOf(HasSubstr("2147483647"), HasSubstr("2147483648"), HasSubstr("cublas")));
  EXPECT_EQ(simt::recording().count(simt::CallKind::kBlas) + simt::recording().launches(), 0U);
}

}  // namespace
}  // namespace cuthresh::testing
