// The fake CUDA runtime: that it behaves as the real one is documented to, where src/cuda relies on
// it, and that the recording says what happened.

#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "simt/recording.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

using simt::CallKind;
using simt::DeviceScope;
using simt::recording;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

CTH_KERNEL(32) add_kernel(float* to, const float* amount, std::int64_t n) {
  const std::int64_t i = std::int64_t{device::block_index()} * 32 + device::thread_index();
  if (i < n) to[i] += *amount;
}

cudaError_t launch_add(cudaStream_t stream, unsigned int blocks, float* to, const float* amount,
                       std::int64_t n) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(blocks);
  config.blockDim = dim3(32);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, add_kernel, to, amount, n);
}

class FakeRuntime : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    recording().clear();
  }
  void TearDown() override {
    simt::heal_device();
    EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
    EXPECT_EQ(simt::live_allocations(), 0U);
    EXPECT_EQ(simt::live_streams(), 0U);
  }
  template <class T>
  T* allocate(std::size_t n) {
    void* p = nullptr;
    EXPECT_EQ(cudaMallocAsync(&p, n * sizeof(T), stream), cudaSuccess);
    return static_cast<T*>(p);
  }
  float* upload(const std::vector<float>& v) {
    float* p = allocate<float>(v.size());
    EXPECT_EQ(cudaMemcpyAsync(p, v.data(), v.size() * 4, cudaMemcpyHostToDevice, stream),
              cudaSuccess);
    return p;
  }
  std::vector<float> download(const float* p, std::size_t n) {
    std::vector<float> v(n);
    EXPECT_EQ(cudaMemcpyAsync(v.data(), p, n * 4, cudaMemcpyDeviceToHost, stream), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    return v;
  }
  void free(const void* p) { EXPECT_EQ(cudaFreeAsync(const_cast<void*>(p), stream), cudaSuccess); }

  DeviceScope devices{2};
  cudaStream_t stream = nullptr;
};

TEST(FakeRuntimeDevices, NoDriverAndNoDevice) {
  int count = 77;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
  EXPECT_EQ(count, 77) << "left as it was";
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, 4), cudaErrorInsufficientDriver);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInsufficientDriver);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInsufficientDriver) << "never clears";
  EXPECT_STREQ(cudaGetErrorName(cudaErrorInsufficientDriver), "cudaErrorInsufficientDriver");

  const DeviceScope none(0);
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorNoDevice);
  EXPECT_EQ(count, 0);
  EXPECT_EQ(cudaGetLastError(), cudaErrorNoDevice);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(FakeRuntime, DevicesHaveAttributes) {
  int count = 0, processors = 0, blocks = 0;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaSuccess);
  EXPECT_EQ(count, 2);
  simt::set_processors(5, 4);
  EXPECT_EQ(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, 1), cudaSuccess);
  EXPECT_EQ(processors, 5);
  EXPECT_EQ(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, add_kernel, 32, 0), cudaSuccess);
  EXPECT_EQ(blocks, 4);
  EXPECT_EQ(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, 2),
            cudaErrorInvalidDevice);
  EXPECT_EQ(cudaSetDevice(2), cudaErrorInvalidDevice);
  cudaDeviceProp properties{};
  EXPECT_EQ(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
  EXPECT_STREQ(properties.name, "interpreted device");
}

TEST_F(FakeRuntime, MemoryHasSidesAndEnds) {
  float host[4] = {1, 2, 3, 4};
  float* a = allocate<float>(4);
  float* b = allocate<float>(4);
  EXPECT_TRUE(std::isnan(download(a, 4)[3])) << "what was never written";
  const auto copy = [&](void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
    return cudaMemcpyAsync(to, from, bytes, kind, stream);
  };
  EXPECT_EQ(copy(a, host, 16, cudaMemcpyHostToDevice), cudaSuccess);
  EXPECT_EQ(copy(b + 1, a, 12, cudaMemcpyDeviceToDevice), cudaSuccess);
  EXPECT_EQ(download(b + 1, 3), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(copy(a + 1, host, 16, cudaMemcpyHostToDevice), cudaErrorInvalidValue) << "too long";
  EXPECT_EQ(copy(host, host, 16, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(copy(a, b, 16, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(copy(a, b, 16, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(copy(a, host, 16, cudaMemcpyDeviceToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemsetAsync(a, 0, 17, stream), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemsetAsync(a, 0, 16, stream), cudaSuccess);
  EXPECT_EQ(download(a, 4), std::vector<float>(4, 0.0f));
  EXPECT_EQ(cudaFreeAsync(a + 1, stream), cudaErrorInvalidValue);
  free(a);
  EXPECT_EQ(cudaFreeAsync(a, stream), cudaErrorInvalidValue) << "twice";
  free(b);
  EXPECT_EQ(cudaFreeAsync(nullptr, stream), cudaSuccess);
}

TEST_F(FakeRuntime, PointersSayWhereTheyAre) {
  EXPECT_EQ(cudaSetDevice(1), cudaSuccess);
  float* a = allocate<float>(4);
  EXPECT_EQ(cudaSetDevice(0), cudaSuccess);
  void* pinned = nullptr;
  EXPECT_EQ(cudaMallocHost(&pinned, 8), cudaSuccess);
  cudaPointerAttributes found{};
  EXPECT_EQ(cudaPointerGetAttributes(&found, a + 3), cudaSuccess);
  EXPECT_EQ(found.type, cudaMemoryTypeDevice);
  EXPECT_EQ(found.device, 1);
  EXPECT_EQ(cudaPointerGetAttributes(&found, pinned), cudaSuccess);
  EXPECT_EQ(found.type, cudaMemoryTypeHost);
  EXPECT_EQ(cudaPointerGetAttributes(&found, &found), cudaSuccess);
  EXPECT_EQ(found.type, cudaMemoryTypeUnregistered);
  free(a);
  EXPECT_EQ(cudaFree(pinned), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
}

TEST_F(FakeRuntime, MemoryRunsOut) {
  simt::set_device_memory(1000);
  float* a = allocate<float>(200);
  void* p = nullptr;
  EXPECT_EQ(cudaMallocAsync(&p, 201, stream), cudaErrorMemoryAllocation);
  std::size_t free_bytes = 0, total = 0;
  EXPECT_EQ(cudaMemGetInfo(&free_bytes, &total), cudaSuccess);
  EXPECT_EQ(free_bytes, 200U);
  EXPECT_EQ(total, 1000U);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  free(a);
  EXPECT_EQ(simt::live_bytes(), 0U);
}

TEST_F(FakeRuntime, LaunchesRunAndAreRecorded) {
  float* x = upload(std::vector<float>(40, 1.0f));
  float* amount = upload({2.5f});
  recording().clear();
  EXPECT_EQ(launch_add(stream, 2, x, amount, 40), cudaSuccess);
  EXPECT_EQ(download(x, 40), std::vector<float>(40, 3.5f));
  ASSERT_EQ(recording().calls().size(), 3U);
  const simt::Call& call = recording().calls()[0];
  EXPECT_EQ(call.kernel_name(), "testing::add_kernel");
  EXPECT_EQ(call.stream, stream);
  EXPECT_EQ(call.grid, 2U);
  EXPECT_EQ(call.block, 32U);
  EXPECT_EQ(recording().launches(), 1U);
  EXPECT_EQ(recording().synchronizations(), 1U);
  EXPECT_EQ(recording().allocations(), 0U);
  EXPECT_EQ(recording().bytes_to_host(), 160U);
  EXPECT_EQ(recording().default_stream_uses(), 0U);
  EXPECT_THAT(recording().kernels(), ElementsAre("testing::add_kernel"));
  EXPECT_EQ(launch_add(nullptr, 2, x, amount, 40), cudaSuccess);
  EXPECT_EQ(recording().default_stream_uses(), 1U);
  EXPECT_EQ(launch_add(stream, 0, x, amount, 40), cudaErrorInvalidConfiguration);
  EXPECT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_EQ(launch_add(stream, 1, x, amount, 40), cudaErrorInvalidResourceHandle)
      << "a stream of another device";
  EXPECT_EQ(cudaSetDevice(0), cudaSuccess);
  EXPECT_EQ(download(x, 1), std::vector<float>{6.0f}) << "refused launches change nothing";
  free(x);
  free(amount);
}

TEST_F(FakeRuntime, PinnedMemoryHasAnAddressOnTheDevice) {
  void* pinned = nullptr;
  ASSERT_EQ(cudaHostAlloc(&pinned, 4, cudaHostAllocMapped), cudaSuccess);
  void* mapped = nullptr;
  EXPECT_EQ(cudaHostGetDevicePointer(&mapped, pinned, 0), cudaSuccess);
  EXPECT_EQ(mapped, pinned);
  EXPECT_EQ(cudaHostGetDevicePointer(&mapped, pinned, 1), cudaErrorInvalidValue);
  float pageable = 0.0f;
  EXPECT_EQ(cudaHostGetDevicePointer(&mapped, &pageable, 0), cudaErrorInvalidValue);
  float* device = allocate<float>(1);
  EXPECT_EQ(cudaHostGetDevicePointer(&mapped, device, 0), cudaErrorInvalidValue);
  free(device);
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
}

TEST_F(FakeRuntime, FailuresAreInjected) {
  simt::fail_next("cudaMallocAsync", cudaErrorMemoryAllocation, 1);
  float* a = allocate<float>(1);
  void* p = nullptr;
  EXPECT_EQ(cudaMallocAsync(&p, 4, stream), cudaErrorMemoryAllocation);
  EXPECT_EQ(p, nullptr);
  float* b = allocate<float>(1);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  simt::fail_next("cudaLaunchKernelEx", cudaErrorLaunchOutOfResources);
  EXPECT_EQ(launch_add(stream, 1, a, b, 1), cudaErrorLaunchOutOfResources);
  EXPECT_EQ(launch_add(stream, 1, a, b, 1), cudaSuccess) << "not sticky";
  simt::fail_next("cudaLaunchKernelEx", cudaErrorIllegalAddress);
  EXPECT_EQ(launch_add(stream, 1, a, b, 1), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorIllegalAddress) << "sticky";
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaGetLastError(), cudaErrorIllegalAddress);
  EXPECT_EQ(cudaFreeAsync(a, stream), cudaErrorIllegalAddress);
  simt::heal_device();
  free(a);
  free(b);
}

TEST_F(FakeRuntime, DeadStreamsAreRefused) {
  cudaStream_t other = nullptr;
  ASSERT_EQ(cudaStreamCreate(&other), cudaSuccess);
  ASSERT_EQ(cudaStreamDestroy(other), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(other), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamDestroy(other), cudaErrorInvalidResourceHandle);
}

TEST_F(FakeRuntime, GraphsRunAgainWithWhatIsInMemoryThen) {
  float* x = upload({0.0f, 0.0f});
  float* amount = upload({1.0f});
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), cudaSuccess);
  EXPECT_EQ(launch_add(stream, 1, x, amount, 2), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(x + 1, x, 4, cudaMemcpyDeviceToDevice, stream), cudaSuccess);
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  EXPECT_EQ(download(x, 2), (std::vector<float>{0, 0})) << "captured, not run";
  cudaGraphExec_t exec = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaGraphLaunch(exec, stream), cudaSuccess);
  EXPECT_EQ(download(x, 2), (std::vector<float>{1, 1}));
  const float three = 3.0f;
  EXPECT_EQ(cudaMemcpyAsync(amount, &three, 4, cudaMemcpyHostToDevice, stream), cudaSuccess);
  EXPECT_EQ(cudaGraphLaunch(exec, stream), cudaSuccess);
  EXPECT_EQ(download(x, 2), (std::vector<float>{4, 4}));
  EXPECT_EQ(recording().count(CallKind::kGraphLaunch), 2U);
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
  EXPECT_TRUE(recording().violations().empty());
  free(x);
  free(amount);
}

TEST_F(FakeRuntime, CapturesRefuseWhatWaitsOrAllocates) {
  const auto try_in_capture = [&](auto call) {
    EXPECT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), cudaSuccess);
    const cudaError_t status = call();
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
    return status;
  };
  void* p = nullptr;
  EXPECT_EQ(try_in_capture([&] { return cudaStreamSynchronize(stream); }),
            cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(try_in_capture([&] { return cudaMalloc(&p, 4); }), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(try_in_capture([&] { return cudaMemsetAsync(nullptr, 0, 0); }),
            cudaErrorStreamCaptureImplicit);
  EXPECT_EQ(recording().violations().size(), 3U);
  EXPECT_THAT(recording().violations()[0], HasSubstr("cudaStreamSynchronize during capture"));
  EXPECT_THAT(recording().violations()[2], HasSubstr("on the default stream"));
  cudaGetLastError();
}

TEST_F(FakeRuntime, AThreadLocalCaptureForbidsItsOwnThreadOnly) {
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  cudaError_t there = cudaErrorUnknown;
  std::thread([&] {
    void* p = nullptr;
    there = cudaMalloc(&p, 4);
    cudaFree(p);
  }).join();
  EXPECT_EQ(there, cudaSuccess);
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, 4), cudaErrorStreamCaptureUnsupported);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
  EXPECT_THAT(recording().violations(), ElementsAre("cudaMalloc during capture"));
  cudaGetLastError();
}

TEST_F(FakeRuntime, GraphsNameTheirNodes) {
  float* x = upload({0.0f, 0.0f});
  float* amount = upload({1.0f});
  int calls = 0;
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  EXPECT_EQ(launch_add(stream, 1, x, amount, 2), cudaSuccess);
  EXPECT_EQ(cudaMemsetAsync(x, 0, 4, stream), cudaSuccess);
  void* given = nullptr;
  EXPECT_EQ(cudaMallocAsync(&given, 40, stream), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(x + 1, x, 4, cudaMemcpyDeviceToDevice, stream), cudaSuccess);
  EXPECT_EQ(cudaFreeAsync(given, stream), cudaSuccess);
  EXPECT_EQ(cudaLaunchHostFunc(
                stream, [](void* data) { ++*static_cast<int*>(data); }, &calls),
            cudaSuccess);
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  EXPECT_THAT(recording().violations(),
              ElementsAre("cudaMallocAsync during capture", "cudaFreeAsync during capture"));

  std::size_t count = 0;
  ASSERT_EQ(cudaGraphGetNodes(graph, nullptr, &count), cudaSuccess);
  ASSERT_EQ(count, 6U);
  std::vector<cudaGraphNode_t> nodes(8);
  count = nodes.size();
  ASSERT_EQ(cudaGraphGetNodes(graph, nodes.data(), &count), cudaSuccess);
  EXPECT_EQ(count, 6U) << "those that are there";
  EXPECT_EQ(nodes[6], nullptr);
  std::vector<cudaGraphNodeType> types(count);
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT_EQ(cudaGraphNodeGetType(nodes[i], &types[i]), cudaSuccess);
  }
  EXPECT_THAT(types, ElementsAre(cudaGraphNodeTypeKernel, cudaGraphNodeTypeMemset,
                                 cudaGraphNodeTypeMemAlloc, cudaGraphNodeTypeMemcpy,
                                 cudaGraphNodeTypeMemFree, cudaGraphNodeTypeHost));
  cudaMemAllocNodeParams params{};
  EXPECT_EQ(cudaGraphMemAllocNodeGetParams(nodes[2], &params), cudaSuccess);
  EXPECT_EQ(params.bytesize, 40U);
  EXPECT_EQ(params.dptr, given);
  EXPECT_EQ(cudaGraphMemAllocNodeGetParams(nodes[0], &params), cudaErrorInvalidValue);
  cudaGetLastError();

  cudaGraphExec_t exec = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(calls, 0);
  EXPECT_EQ(cudaGraphLaunch(exec, stream), cudaSuccess);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
  free(x);
  free(amount);
  EXPECT_EQ(simt::live_allocations(), 0U) << "a graph's memory goes with it";
}

TEST_F(FakeRuntime, DeclaredCapturesListButDo) {
  recording().declare_capturing(true);
  float* x = upload({1.0f});
  EXPECT_THAT(recording().violations(),
              ElementsAre("cudaMallocAsync during capture",
                          "cudaMemcpyAsync from pageable memory during capture"));
  recording().declare_capturing(false);
  EXPECT_EQ(download(x, 1), std::vector<float>{1.0f});
  free(x);
}

TEST_F(FakeRuntime, EventsAreOrdered) {
  cudaEvent_t start = nullptr, end = nullptr;
  ASSERT_EQ(cudaEventCreate(&start), cudaSuccess);
  ASSERT_EQ(cudaEventCreateWithFlags(&end, cudaEventDefault), cudaSuccess);
  float milliseconds = -1.0f;
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, end), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventRecord(start, stream), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(end, stream), cudaSuccess);
  EXPECT_EQ(cudaEventSynchronize(end), cudaSuccess);
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, end), cudaSuccess);
  EXPECT_GE(milliseconds, 0.0f);
  EXPECT_EQ(cudaEventDestroy(start), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(end), cudaSuccess);
  cudaGetLastError();
}

struct Gemm {
  bool ta, tb;
  int m, n, k;
  float alpha, beta;
};

class FakeBlas : public FakeRuntime {
 protected:
  void SetUp() override {
    FakeRuntime::SetUp();
    ASSERT_EQ(cublasCreate(&blas), CUBLAS_STATUS_SUCCESS);
    ASSERT_EQ(cublasSetStream(blas, stream), CUBLAS_STATUS_SUCCESS);
  }
  void TearDown() override {
    EXPECT_EQ(cublasDestroy(blas), CUBLAS_STATUS_SUCCESS);
    FakeRuntime::TearDown();
  }
  cublasStatus_t multiply(const Gemm& g, const float* a, int lda, const float* b, int ldb, float* c,
                          int ldc) {
    return cublasSgemm(blas, g.ta ? CUBLAS_OP_T : CUBLAS_OP_N, g.tb ? CUBLAS_OP_T : CUBLAS_OP_N,
                       g.m, g.n, g.k, &g.alpha, a, lda, b, ldb, &g.beta, c, ldc);
  }
  cublasHandle_t blas = nullptr;
};

TEST_F(FakeBlas, ProductsAreRightForAllTranspositionsAndLeadingDimensions) {
  Random random(11);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (const Gemm& g :
       {Gemm{false, false, 5, 7, 9, 1.0f, 0.0f}, Gemm{true, false, 8, 3, 17, 1.0f, 1.0f},
        Gemm{false, true, 33, 2, 4, -0.5f, 2.0f}, Gemm{true, true, 1, 6, 5, 1.0f, 0.0f},
        Gemm{false, false, 4, 4, 0, 1.0f, 1.0f}}) {
    const int lda = (g.ta ? g.k : g.m) + 2;
    const int ldb = (g.tb ? g.n : g.k) + 1;
    const int ldc = g.m + 3;
    const auto size = [](int ld, int columns) {
      return static_cast<std::size_t>(ld) * static_cast<std::size_t>(columns) + 1;
    };
    const auto a = random.vector(size(lda, g.ta ? g.m : g.k), -1, 1);
    const auto b = random.vector(size(ldb, g.tb ? g.k : g.n), -1, 1);
    auto c = random.vector(size(ldc, g.n), -1, 1);
    if (g.beta == 0.0f) std::fill(c.begin(), c.end(), NAN);  // must not be read
    float* da = upload(a);
    float* db = upload(b);
    float* dc = upload(c);
    ASSERT_EQ(multiply(g, da, lda, db, ldb, dc, ldc), CUBLAS_STATUS_SUCCESS);
    const auto result = download(dc, c.size());
    const auto at = [](int i, int j, int ld) {
      return static_cast<std::size_t>(j) * static_cast<std::size_t>(ld) +
             static_cast<std::size_t>(i);
    };
    for (int j = 0; j < g.n; ++j) {
      for (int i = 0; i < g.m; ++i) {
        double sum = 0.0;
        for (int l = 0; l < g.k; ++l) {
          sum += static_cast<double>(a[g.ta ? at(l, i, lda) : at(i, l, lda)]) *
                 static_cast<double>(b[g.tb ? at(j, l, ldb) : at(l, j, ldb)]);
        }
        double expected = static_cast<double>(g.alpha) * sum;
        if (g.beta != 0.0f) {
          expected += static_cast<double>(g.beta) * static_cast<double>(c[at(i, j, ldc)]);
        }
        EXPECT_NEAR(static_cast<double>(result[at(i, j, ldc)]), expected, 1e-5);
      }
    }
    for (float* p : {da, db, dc}) free(p);
  }
  EXPECT_EQ(recording().count(CallKind::kBlas), 5U);
}

TEST_F(FakeBlas, TheMathModeRoundsFactors) {
  // 1 + 2^-11 is a tie of the 10-bit mantissa, 1 + 2^-12 below it.
  float* a = upload({1.0f + 0x1p-11f, 1.0f + 0x1p-12f});
  float* b = upload({1.0f});
  float* c = upload({0.0f, 0.0f});
  const Gemm g{false, false, 2, 1, 1, 1.0f, 0.0f};
  EXPECT_EQ(multiply(g, a, 2, b, 1, c, 2), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(download(c, 2), (std::vector<float>{1.0f + 0x1p-11f, 1.0f + 0x1p-12f}));
  EXPECT_EQ(cublasSetMathMode(blas, CUBLAS_TF32_TENSOR_OP_MATH), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(multiply(g, a, 2, b, 1, c, 2), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(download(c, 2), (std::vector<float>{1.0f + 0x1p-10f, 1.0f}));
  for (float* p : {a, b, c}) free(p);
}

TEST_F(FakeBlas, BadArgumentsAreRefused) {
  float* a = upload(std::vector<float>(16, 1.0f));
  std::vector<float> host(16, 1.0f);
  const Gemm g{false, false, 4, 4, 4, 1.0f, 0.0f};
  EXPECT_EQ(multiply(g, a, 3, a, 4, a, 4), CUBLAS_STATUS_INVALID_VALUE) << "lda < rows";
  EXPECT_THROW(multiply(g, host.data(), 4, a, 4, a, 4), simt::Fault) << "host memory";
  EXPECT_THROW(multiply(g, a, 4, a + 1, 4, a, 4), simt::Fault) << "too short";
  EXPECT_EQ(
      cublasSgemm(nullptr, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &g.alpha, a, 1, a, 1, &g.beta, a, 1),
      CUBLAS_STATUS_NOT_INITIALIZED);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "cuBLAS's errors are not the runtime's";
  // Without a workspace of the caller's cuBLAS would allocate one.
  recording().declare_capturing(true);
  EXPECT_EQ(multiply({false, false, 2, 2, 2, 1.0f, 0.0f}, a, 4, a, 4, a + 8, 4),
            CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(recording().violations().size(), 1U);
  EXPECT_EQ(cublasSetWorkspace(blas, a, 64), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(multiply({false, false, 2, 2, 2, 1.0f, 0.0f}, a, 4, a, 4, a + 8, 4),
            CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(recording().violations().size(), 1U);
  recording().declare_capturing(false);
  simt::fail_next("cublasSgemm", cudaErrorLaunchFailure);
  EXPECT_EQ(multiply(g, a, 4, a, 4, a, 4), CUBLAS_STATUS_EXECUTION_FAILED);
  EXPECT_EQ(cudaPeekAtLastError(), cudaErrorLaunchFailure);
  simt::heal_device();
  free(a);
}

}  // namespace
}  // namespace cuthresh::testing
