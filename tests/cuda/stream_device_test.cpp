// The room on a stream, a device and gradients that belong to the caller: where work lands, in
// which order, during a capture too, and that the caller's current device stays what it is.

#include <gmock/gmock.h>

#include "core/registry.hpp"
#include "cuda/room.hpp"

namespace cuthresh::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

/// A stream of the caller's, on the device that is current.
class CallersStream {
 public:
  CallersStream() { EXPECT_EQ(cudaStreamCreate(&stream_), cudaSuccess); }
  ~CallersStream() { EXPECT_EQ(cudaStreamDestroy(stream_), cudaSuccess); }
  CallersStream(const CallersStream&) = delete;
  CallersStream& operator=(const CallersStream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

std::unique_ptr<Backend> room_on(void* stream, int device = 0) {
  return cuda::make_cuda_backend(cuda::Precision::kFp32, device, stream);
}

bool is_work(const simt::Call& call) {
  switch (call.kind) {
    case simt::CallKind::kLaunch:
    case simt::CallKind::kBlas:
    case simt::CallKind::kCopyToDevice:
    case simt::CallKind::kCopyToHost:
    case simt::CallKind::kCopyOnDevice:
    case simt::CallKind::kSet:
    case simt::CallKind::kAllocate:
    case simt::CallKind::kFree:
      return true;
    default:
      return false;
  }
}

/// All work since the recording was cleared is on this stream, and there is some.
void expect_work_on(cudaStream_t stream) {
  int work = 0;
  for (const simt::Call& call : simt::recording().calls()) {
    if (!is_work(call)) continue;
    EXPECT_EQ(call.stream, stream) << call.name;
    ++work;
  }
  EXPECT_GT(work, 0);
}

/// Names of the calls that order streams.
std::vector<std::string> handovers() {
  std::vector<std::string> names;
  for (const simt::Call& call : simt::recording().calls()) {
    const std::string name = call.name;
    if (name == "cudaEventRecord" || name == "cudaStreamWaitEvent") names.push_back(name);
  }
  return names;
}

void read_all(Backend& backend, ProxPlan& plan) {
  backend.read_status(plan);
  backend.read_nonzeros(plan);
  backend.read_kkt(plan);
  backend.read_kth_gradient(plan, 3);
  backend.synchronize();
}

TEST(CallersStream, IsTheOnlyOneThatWorkLandsOn) {
  const simt::DeviceScope machine{1};
  const CallersStream mine;
  const std::size_t streams = simt::live_streams();
  for (cudaStream_t const stream : {mine.get(), cudaStream_t{}}) {
    simt::recording().clear();
    {
      const auto backend = room_on(stream);
      EXPECT_EQ(simt::live_streams(), streams) << "the room made one of its own";
      StepLoop loop(*backend, 40, true);
      loop.step();
      read_all(*backend, loop.plan());
    }
    expect_work_on(stream);
    EXPECT_EQ(simt::recording().default_stream_uses() > 0, stream == nullptr);
  }
  EXPECT_EQ(simt::live_streams(), streams);
  EXPECT_EQ(simt::live_allocations(), 0U);
}

TEST(CallersStream, LaterWorkComesAfterEarlierWork) {
  const simt::DeviceScope machine{1};
  const CallersStream first, second;
  const auto backend = cuda::make_cuda_backend(cuda::Precision::kFp32);
  StepLoop loop(*backend, 40, true);
  loop.step();
  for (cudaStream_t const stream : {first.get(), second.get(), cudaStream_t{}, first.get()}) {
    simt::recording().clear();
    backend->set_stream(stream);
    EXPECT_THAT(handovers(), ElementsAre("cudaEventRecord", "cudaStreamWaitEvent"));
    EXPECT_EQ(simt::recording().synchronizations(), 0U);
    simt::recording().clear();
    backend->set_stream(stream);  // it is there already
    EXPECT_THAT(simt::recording().calls(), IsEmpty());
    loop.step();
    read_all(*backend, loop.plan());
    expect_work_on(stream);
  }
  simt::recording().clear();
  backend->set_stream(second.get());
  std::vector<cudaStream_t> order;
  for (const simt::Call& call : simt::recording().calls()) {
    if (call.kind == simt::CallKind::kHandle && call.stream != nullptr)
      order.push_back(call.stream);
  }
  // The old one is marked and the new one waits; then cuBLAS is told.
  ASSERT_GE(order.size(), 2U);
  EXPECT_EQ(order[0], first.get());
  EXPECT_EQ(order[1], second.get());
  EXPECT_EQ(backend->read_status(loop.plan()).steps, 5);
}

TEST(CallersStream, AStepWithNewRatesAndGradientsCanBeCaptured) {
  const simt::DeviceScope machine{1};
  const CallersStream usual, captured;
  const auto backend = room_on(usual.get());
  Random random(3);
  TensorLists tensors(*backend, {300, 40}, 2, random);
  const auto plan = backend->make_plan(tensors.list, 2);
  backend->set_stop(*plan, {});
  backend->prox_step(*plan);  // the first launch asks for the grid
  const std::vector<float> before = tensors.w[0].to_host();
  const Array<float> other(*backend, std::span<const float>(random.vector(300, -1.0f, 1.0f)));

  ASSERT_EQ(cudaStreamBeginCapture(captured.get(), cudaStreamCaptureModeGlobal), cudaSuccess);
  simt::recording().clear();
  backend->set_stream(captured.get());
  EXPECT_THAT(handovers(), IsEmpty()) << "work outside a graph cannot be waited for inside";
  backend->set_rate(*plan, {0.5f});
  backend->set_gradients(*plan, std::vector<const float*>{other.data(), nullptr});
  backend->prox_step(*plan);
  cudaGraph_t graph{};
  ASSERT_EQ(cudaStreamEndCapture(captured.get(), &graph), cudaSuccess);
  EXPECT_THAT(simt::recording().violations(), IsEmpty());
  EXPECT_EQ(simt::recording().launches(), 3U);
  backend->set_stream(usual.get());
  EXPECT_THAT(handovers(), ElementsAre("cudaEventRecord", "cudaStreamWaitEvent"));
  EXPECT_EQ(tensors.w[0].to_host(), before) << "a captured step is not taken";

  const std::vector<float> second = tensors.w[1].to_host();
  cudaGraphExec_t exec{};
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
  ASSERT_EQ(cudaGraphLaunch(exec, usual.get()), cudaSuccess);
  const std::vector<float> g = other.to_host();
  const std::vector<float> after = tensors.w[0].to_host();
  for (std::size_t i = 0; i < after.size(); ++i) {
    ASSERT_EQ(after[i], std::fma(-0.5f, g[i], before[i])) << i;
  }
  EXPECT_EQ(tensors.w[1].to_host(), second) << "it has no gradient";
  EXPECT_EQ(backend->read_status(*plan).steps, 2);

  // A replay sets gradients that the host has set otherwise meanwhile: it must set them again.
  const std::vector<const float*> usual_ones = {tensors.g[0].data(), tensors.g[1].data()};
  backend->set_gradients(*plan, usual_ones);
  ASSERT_EQ(cudaGraphLaunch(exec, usual.get()), cudaSuccess);
  backend->set_gradients(*plan, usual_ones);
  const std::vector<float> first = tensors.w[0].to_host();
  const std::vector<float> slope = tensors.g[0].to_host();
  backend->prox_step(*plan);
  const std::vector<float> last = tensors.w[0].to_host();
  for (std::size_t i = 0; i < last.size(); ++i) {
    ASSERT_EQ(last[i], std::fma(-0.5f, slope[i], first[i])) << i;
  }
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
}

TEST(CallersStream, LeftWhileItIsCapturedIsNotWaitedFor) {
  const simt::DeviceScope machine{1};
  const CallersStream captured, other;
  const auto backend = cuda::make_cuda_backend(cuda::Precision::kFp32);
  backend->set_stream(captured.get());
  ASSERT_EQ(cudaStreamBeginCapture(captured.get(), cudaStreamCaptureModeGlobal), cudaSuccess);
  simt::recording().clear();
  backend->set_stream(other.get());
  EXPECT_THAT(handovers(), IsEmpty()) << "it would draw the other one into the capture";
  cudaGraph_t graph{};
  ASSERT_EQ(cudaStreamEndCapture(captured.get(), &graph), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  backend->set_stream(captured.get());  // no more
  EXPECT_THAT(handovers(), ElementsAre("cudaEventRecord", "cudaStreamWaitEvent"));
}

TEST(CallersGradients, AreSetWithoutACopyAndOnlyWhereTheyMoved) {
  CudaRoom room;
  Random random(13);
  const std::vector<std::int64_t> sizes(1000, 3);
  TensorLists tensors(*room.backend, sizes, 1, random);
  const auto plan = room.backend->make_plan(tensors.list, 1);
  std::vector<const void*> gradients;
  for (const ProxTensor& tensor : tensors.list) gradients.push_back(tensor.g);
  simt::recording().clear();
  simt::recording().declare_capturing(true);
  room.backend->set_gradients(*plan, gradients);
  EXPECT_EQ(simt::recording().calls().size(), simt::recording().count(simt::CallKind::kQuery))
      << "all are as they were";
  std::swap(gradients[0], gradients[999]);
  room.backend->set_gradients(*plan, gradients);
  EXPECT_EQ(simt::recording().launches(), 3U) << "480 pointers fit into the arguments of one";
  room.backend->set_gradients(*plan, gradients);
  EXPECT_EQ(simt::recording().launches(), 3U);
  EXPECT_EQ(simt::recording().bytes_to_device(), 0U);
  EXPECT_EQ(simt::recording().synchronizations(), 0U);
  simt::recording().declare_capturing(false);
  EXPECT_THAT(simt::recording().violations(), IsEmpty());
}

int device_now() {
  int device = -1;
  EXPECT_EQ(cudaGetDevice(&device), cudaSuccess);
  return device;
}

TEST(CallersDevice, StaysCurrentWhateverTheRoomDoes) {
  const simt::DeviceScope machine{3};
  for (const bool default_stream : {false, true}) {
    ASSERT_EQ(cudaSetDevice(2), cudaSuccess);
    // The interpreted runtime refuses a launch on a stream of a device that is not current.
    const auto backend =
        default_stream ? room_on(nullptr, 1) : cuda::make_cuda_backend(cuda::Precision::kFp32, 1);
    EXPECT_EQ(device_now(), 2);
    {
      StepLoop loop(*backend, 40, true);
      for (int i = 0; i < 70; ++i) {
        loop.step();
        backend->throttle();
        ASSERT_EQ(device_now(), 2);
      }
      read_all(*backend, loop.plan());
      EXPECT_EQ(device_now(), 2);
      Array<float> made(*backend, 100);
      cudaPointerAttributes attributes{};
      ASSERT_EQ(cudaPointerGetAttributes(&attributes, made.data()), cudaSuccess);
      EXPECT_EQ(attributes.device, 1);
    }
    EXPECT_EQ(device_now(), 2);
  }
}

TEST(CallersDevice, IsNotSetWhereItIsCurrentAlready) {
  CudaRoom room;
  StepLoop loop(*room.backend, 40, true);
  simt::recording().clear();
  loop.step();
  for (const simt::Call& call : simt::recording().calls()) {
    EXPECT_STRNE(call.name, "cudaSetDevice");
  }
}

TEST(CallersDevice, IsRestoredAfterAnError) {
  const simt::DeviceScope machine{2};
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
  const auto backend = cuda::make_cuda_backend(cuda::Precision::kFp32, 1);
  simt::fail_next("cudaMallocFromPoolAsync", cudaErrorMemoryAllocation);
  EXPECT_THAT(error_of([&] { backend->allocate(1000); }), HasSubstr("1000 bytes"));
  EXPECT_EQ(device_now(), 0);
}

TEST(CallersDevice, TensorsOfAnotherAreRefused) {
  const simt::DeviceScope machine{2};
  const auto first = cuda::make_cuda_backend(cuda::Precision::kFp32, 0);
  const auto second = cuda::make_cuda_backend(cuda::Precision::kFp32, 1);
  Random random(4);
  TensorLists here(*first, {50}, 1, random), there(*second, {50}, 1, random);
  EXPECT_THAT(error_of([&] { second->make_plan(here.list, 1); }),
              AllOf(HasSubstr("tensor 0"), HasSubstr("another device"), HasSubstr("device 0")));
  const auto plan = second->make_plan(there.list, 1);
  const auto set = [&](const float* g) {
    return error_of([&] { second->set_gradients(*plan, std::vector<const float*>{g}); });
  };
  EXPECT_THAT(set(here.g[0].data()), AllOf(HasSubstr("set_gradients, tensor 0"),
                                           HasSubstr("another device"), HasSubstr("device 0")));
  const std::vector<float> of_the_host(50);
  EXPECT_THAT(set(of_the_host.data()), HasSubstr("not device memory"));
  EXPECT_EQ(set(nullptr), "no error");
  EXPECT_THAT(error_of([&] { second->set_skip(*plan, of_the_host.data()); }),
              AllOf(HasSubstr("set_skip"), HasSubstr("not device memory")));
}

TEST(CallersDevice, IsChosenByItsNumber) {
  const simt::DeviceScope machine{2};
  BackendOptions options{"cuda", "reference", 1, "fp32", 1};
  const auto backend = make_backend(options).backend;
  Array<float> made(*backend, 10);
  cudaPointerAttributes attributes{};
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, made.data()), cudaSuccess);
  EXPECT_EQ(attributes.device, 1);
  EXPECT_EQ(device_now(), 0);
  const auto refused = [](const BackendOptions& wanted) {
    try {
      make_backend(wanted);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  options.device_index = 2;
  EXPECT_THAT(refused(options), AllOf(HasSubstr("no CUDA device 2"), HasSubstr("there are 2")));
  options.device_index = -1;
  EXPECT_THAT(refused(options), HasSubstr("no CUDA device -1"));
  options.device = "auto";
  EXPECT_THAT(make_backend(options).why,
              AllOf(StartsWith("cpu (reference"), HasSubstr("no CUDA device -1: there are 2")));
  EXPECT_THAT(refused({"cpu", "reference", 1, "fp32", 1}), HasSubstr("the CPU has no device"));
}

TEST(CallersDevice, OfAProcessorHasNoStreams) {
  BackendOptions options{"cpu", "reference", 1, "fp32"};
  options.stream = nullptr;
  const auto backend = make_backend(options).backend;
  backend->set_stream(nullptr);
  int anything = 0;
  EXPECT_THAT(error_of([&] { backend->set_stream(&anything); }), HasSubstr("no streams"));
}

}  // namespace
}  // namespace cuthresh::testing
