// Contexts of the C ABI on CUDA, on the recording runtime of tests/simt: devices, the caller's
// stream, what CUDA reports, and what one step of a controlled training costs there.

#include <cuda_runtime.h>

#include "capi/small_network.hpp"
#include "simt/recording.hpp"

namespace cuthresh::testing {
namespace {

const Room kCudaRoom = {"cuda", "", 1};

cth_status create(std::int32_t index, void* stream, ContextHandle& context) {
  cth_context_options options = CTH_CONTEXT_OPTIONS_INIT;
  options.device_type = CTH_CUDA;
  options.device_index = index;
  options.stream = stream;
  cth_context* made = nullptr;
  const cth_status status = cth_context_create(&options, &made);
  context.reset(made);
  return status;
}

/// Device memory of a caller's own.
struct DeviceFloats {
  explicit DeviceFloats(const std::vector<float>& values) : size(values.size()) {
    cudaMalloc(&data, size * sizeof(float));
    cudaMemcpy(data, values.data(), size * sizeof(float), cudaMemcpyHostToDevice);
  }
  ~DeviceFloats() { cudaFree(data); }
  DeviceFloats(const DeviceFloats&) = delete;
  DeviceFloats& operator=(const DeviceFloats&) = delete;
  cth_tensor tensor() const { return cth_cuda_float32(data, static_cast<std::int64_t>(size), 0); }

  void* data = nullptr;
  std::size_t size;
};

TEST(CapiCuda, WithoutAGpuSaysWhy) {
  const simt::DeviceScope scope(-1);
  ContextHandle context;
  expect_refused(create(0, nullptr, context), CTH_UNSUPPORTED, "cth_context_create, options: ");
  EXPECT_NE(std::string(cth_last_error()).find("no NVIDIA driver"), std::string::npos)
      << cth_last_error();
}

TEST(CapiCuda, DevicesThatAreNotThereAreRefused) {
  const simt::DeviceScope scope(1);
  ContextHandle context;
  expect_refused(create(1, nullptr, context), CTH_UNSUPPORTED, "1");
  EXPECT_EQ(context, nullptr);
}

TEST(CapiCuda, WorksOnTheCallersStreamAndMemory) {
  const simt::DeviceScope scope(1);
  cudaStream_t stream = nullptr;
  cudaStream_t other = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking), cudaSuccess);
  {
    ContextHandle context;
    ASSERT_CTH(create(0, stream, context));
    const DeviceFloats w({1.0f, -2.0f, 0.25f});
    const DeviceFloats g({1.0f, 1.0f, 0.0f});
    cth_plan_tensor list{};
    list.weight = w.tensor();
    list.gradient = g.tensor();
    cth_plan* made = nullptr;
    ASSERT_CTH(cth_plan_create(context.get(), &list, 1, nullptr, &made));
    const PlanHandle plan(made);
    const cth_rate rate = {0.5f, 0.0f, 0.0f};
    const float lambda = 1.0f;
    ASSERT_CTH(cth_plan_set_rates(made, &rate, 1));
    ASSERT_CTH(cth_plan_set_lambda(made, &lambda, 1));
    for (cudaStream_t on : {stream, other}) {
      ASSERT_CTH(cth_context_set_stream(context.get(), on));
      simt::recording().clear();
      ASSERT_CTH(cth_prox_step(made));
      EXPECT_EQ(simt::recording().synchronizations(), 0U);
      EXPECT_EQ(simt::recording().allocations(), 0U);
      std::uint64_t launches = 0;
      for (const simt::Call& call : simt::recording().calls()) {
        if (call.kind != simt::CallKind::kLaunch) continue;
        ++launches;
        EXPECT_EQ(call.stream, on) << call.kernel_name();
      }
      EXPECT_EQ(launches, 1U);  // one kernel for step, threshold and counts
    }
    std::uint64_t nonzeros = 9;
    EXPECT_CTH(cth_plan_read_counts(made, &nonzeros, 1));
    EXPECT_EQ(nonzeros, 1U);  // 1 → 0 → −0.5 → 0; −2 → −2 → −2; 0.25 → 0
  }
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);  // it is still the caller's
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(other), cudaSuccess);
}

TEST(CapiCuda, WhatCudaReportsIsADeviceError) {
  const simt::DeviceScope scope(1);
  SmallNetwork network(kCudaRoom, 41, CTH_STEP_SGD);
  simt::fail_next("cudaMallocFromPoolAsync", cudaErrorMemoryAllocation);
  cth_plan* made = nullptr;
  List& list = network.list();
  expect_refused(cth_plan_create(list.context(), list.entries().data(), 4, nullptr, &made),
                 CTH_DEVICE_ERROR, "cth_plan_create: GPU memory: could not allocate");
  EXPECT_EQ(made, nullptr);
  std::vector<float> on_host(4);
  cth_plan_tensor wrong{};
  wrong.weight = cth_cuda_float32(on_host.data(), 4, 0);
  expect_refused(cth_plan_create(list.context(), &wrong, 1, nullptr, &made), CTH_INVALID_ARGUMENT,
                 "device memory");
  EXPECT_CTH(cth_prox_step(network.plan()));  // all else goes on
}

TEST(CapiCuda, ControlledStepsNeitherWaitNorReadNorAllocateBeforeTheFinish) {
  const simt::DeviceScope scope(1);
  SmallNetwork network(kCudaRoom, 42, CTH_STEP_MOMENTUM);
  const ControllerHandle controller =
      make_controller(network.plan(), {target_of(nullptr, 30)}, steps_of(40));
  simt::recording().clear();
  std::uint64_t before = 0;
  std::uint64_t after = 0;
  EXPECT_CTH(cth_context_bytes_to_host(network.list().context(), &before));
  while (phase_of(controller) < CTH_PHASE_DONE) {
    ASSERT_CTH(cth_prox_step(network.plan()));
    ASSERT_CTH(cth_controller_update(controller.get()));
    if (phase_of(controller) < CTH_PHASE_FINISH) {
      EXPECT_EQ(simt::recording().allocations(), 0U);
    }
  }
  EXPECT_CTH(cth_context_bytes_to_host(network.list().context(), &after));
  EXPECT_EQ(after, before);
  EXPECT_EQ(simt::recording().synchronizations(), 0U);
  EXPECT_EQ(simt::recording().bytes_to_host(), 0U);
  EXPECT_LE(read_reports(controller, 1)[0].nonzeros, 30U);  // no gradient held any up
}

TEST(CapiCuda, NothingIsLeftBehind) {
  const simt::DeviceScope scope(1);
  const std::size_t allocations = simt::live_allocations();
  const std::size_t streams = simt::live_streams();
  {
    SmallNetwork network(kCudaRoom, 43, CTH_STEP_SGD);
    const ControllerHandle controller =
        make_controller(network.plan(), {target_of(nullptr, 30)}, steps_of(40));
    network.train(controller.get(), 0, 40);
    float magnitude = 0.0f;
    EXPECT_CTH(cth_kth_magnitude(network.plan(), CTH_OF_WEIGHTS, 30, &magnitude));
    EXPECT_GT(magnitude, 0.0f);
  }
  EXPECT_EQ(simt::live_allocations(), allocations);
  EXPECT_EQ(simt::live_streams(), streams);
}

}  // namespace
}  // namespace cuthresh::testing
