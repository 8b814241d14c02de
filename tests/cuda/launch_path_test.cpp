// What the room asks of CUDA: how many launches, on which stream, and no wait and no allocation in
// a training step.

#include <gmock/gmock.h>

#include <cmath>

#include "cpu/cpu_backend.hpp"
#include "cuda/room.hpp"

namespace cuthresh::testing {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

std::string violations() {
  std::string text;
  for (const std::string& violation : simt::recording().violations()) text += violation + "\n";
  return text;
}

TEST(LaunchPath, OneLaunchAStepForAnyList) {
  const CudaRoom room;
  Random random(5);
  std::vector<std::int64_t> many;
  for (int i = 0; i < 161; ++i) many.push_back(random.integer(0, 3000));
  const std::vector<std::vector<std::int64_t>> lists = {{1}, {0}, {0, 0, 0}, {100'003, 5}, many};
  for (const auto& sizes : lists) {
    for (const std::int32_t groups : {0, 1, 4}) {
      TensorLists tensors(*room.backend, sizes, groups, random);
      const auto plan = room.backend->make_plan(tensors.list, groups);
      room.backend->set_lambda(*plan, std::vector<float>(static_cast<std::size_t>(groups), 0.1f));
      room.backend->set_rate(*plan, {0.1f});
      room.backend->set_stop(*plan, {});
      simt::recording().clear();
      room.backend->prox_step(*plan);
      EXPECT_EQ(simt::recording().launches(), 1U);
      EXPECT_THAT(simt::recording().kernels(), Each(HasSubstr("prox_step_kernel")));
      EXPECT_EQ(simt::recording().bytes_to_device() + simt::recording().bytes_to_host(), 0U);
      EXPECT_EQ(simt::recording().synchronizations(), 0U);
      EXPECT_EQ(room.backend->read_status(*plan).steps, 1);
    }
  }
}

TEST(LaunchPath, EverythingIsOnTheRoomsStream) {
  CudaRoom room;
  StepLoop loop(*room.backend, 40, true);
  loop.step();
  room.backend->read_status(loop.plan());
  room.backend->read_nonzeros(loop.plan());
  room.backend->read_kkt(loop.plan());
  room.backend->read_kth_gradient(loop.plan(), 3);
  const std::vector<std::pair<float, float>> brackets(3, {0.0f, 1.0f});
  room.backend->read_bracket_medians(loop.plan(), brackets);
  room.backend->synchronize();

  EXPECT_EQ(simt::recording().default_stream_uses(), 0U);
  cudaStream_t stream = nullptr;
  int work = 0;
  for (const simt::Call& call : simt::recording().calls()) {
    switch (call.kind) {
      case simt::CallKind::kLaunch:
      case simt::CallKind::kBlas:
      case simt::CallKind::kCopyToDevice:
      case simt::CallKind::kCopyToHost:
      case simt::CallKind::kCopyOnDevice:
      case simt::CallKind::kSet:
      case simt::CallKind::kAllocate:
      case simt::CallKind::kSynchronize:
        ASSERT_NE(call.stream, nullptr) << call.name;
        if (stream == nullptr) stream = call.stream;
        EXPECT_EQ(call.stream, stream) << call.name;
        ++work;
        break;
      default:
        break;
    }
  }
  EXPECT_GT(work, 50);
}

class Steps : public ::testing::TestWithParam<bool> {};

TEST_P(Steps, NeitherWaitNorAllocateAfterTheFirst) {
  CudaRoom room;
  StepLoop loop(*room.backend, 300, GetParam());
  loop.step();  // takes what it needs for this shape
  simt::recording().clear();
  simt::recording().declare_capturing(true);
  for (int i = 0; i < 3; ++i) loop.step();
  loop.step(17);  // a smaller batch needs no more
  simt::recording().declare_capturing(false);
  EXPECT_EQ(simt::recording().synchronizations(), 0U);
  EXPECT_EQ(simt::recording().allocations(), 0U);
  EXPECT_EQ(simt::recording().frees(), 0U);
  EXPECT_EQ(simt::recording().count(simt::CallKind::kHostMemory), 0U);
  EXPECT_EQ(simt::recording().count(simt::CallKind::kHandle), 0U);
  EXPECT_EQ(simt::recording().bytes_to_host(), 0U);
  EXPECT_EQ(simt::recording().bytes_to_device(), 0U);
  EXPECT_EQ(violations(), "");
  // Three layers: a product and an epilogue each forward; an epilogue, the weights' product and but
  // for the first layer the inputs' product backward; the loss; the step.
  const std::uint64_t loss = GetParam() ? 1 : 2;
  EXPECT_EQ(simt::recording().launches(), 4 * (3 + 3 + loss + 1));
  EXPECT_EQ(simt::recording().count(simt::CallKind::kBlas), 4U * (3 + 3 + 2));
}

TEST_P(Steps, EnqueueAStepThatACapturedGraphRepeats) {
  // The room's stream, as the recording shows it: a caller that captures has it from the same
  // place.
  CudaRoom room;
  StepLoop loop(*room.backend, 30, GetParam());
  loop.step();
  cudaStream_t stream = nullptr;
  for (const simt::Call& call : simt::recording().calls()) {
    if (call.kind == simt::CallKind::kLaunch) stream = call.stream;
  }
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), cudaSuccess);
  loop.step();
  cudaGraph_t graph{};
  cudaGraphExec_t exec{};
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess) << violations();
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
  EXPECT_EQ(room.backend->read_status(loop.plan()).steps, 1) << "a captured step is not taken";
  for (int i = 0; i < 4; ++i) ASSERT_EQ(cudaGraphLaunch(exec, stream), cudaSuccess);
  EXPECT_EQ(room.backend->read_status(loop.plan()).steps, 5);
  const std::uint64_t before = room.backend->read_status(loop.plan()).total;
  EXPECT_GT(before, 100U);
  // A captured step follows λ.
  room.backend->set_lambda(loop.plan(), std::vector<float>(3, 1e6f));
  ASSERT_EQ(cudaGraphLaunch(exec, stream), cudaSuccess);
  EXPECT_EQ(room.backend->read_status(loop.plan()).total, 0U);
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(violations(), "");
}

INSTANTIATE_TEST_SUITE_P(Losses, Steps, ::testing::Bool(), [](const auto& test) {
  return std::string(test.param ? "CrossEntropy" : "Mse");
});

// One reading of each kind, and how many bytes came back for it.
struct Readings {
  std::vector<std::uint64_t> counted;  // bytes_to_host()
  std::vector<std::uint64_t> copied;   // as the runtime saw them
};

Readings read_everything(Backend& backend, ProxPlan& plan, std::size_t groups) {
  const std::vector<std::pair<float, float>> brackets(groups, {0.0f, 0.5f});
  const std::vector<std::pair<float, float>> one(1, {0.25f, 0.5f});
  const std::pair<float, float> empty{0.5f, 0.25f};
  Readings readings;
  const auto note = [&](auto read) {
    const std::uint64_t before = backend.bytes_to_host();
    simt::recording().clear();
    read();
    readings.counted.push_back(backend.bytes_to_host() - before);
    readings.copied.push_back(simt::recording().bytes_to_host());
  };
  note([&] { backend.read_status(plan); });
  note([&] { backend.read_nonzeros(plan); });
  note([&] { backend.read_bracket_medians(plan, brackets); });
  note([&] { backend.read_kkt(plan); });
  note([&] { backend.read_bracket_medians(plan, one); });
  note([&] { backend.read_bracket_medians(plan, {&empty, 1}); });
  note([&] { backend.read_kth_gradient(plan, 7); });
  return readings;
}

// Control, exact finish and frozen steps: what a step launches, and nothing else. The finish takes
// its room for histograms, and freezing that for the support, the first time.
TEST(LaunchPath, AControlledRunNeitherWaitsNorReadsBack) {
  const CudaRoom room;
  Random random(6);
  TensorLists tensors(*room.backend, {300, 5000, 70}, 2, random);
  const auto plan = room.backend->make_plan(tensors.list, 2);
  room.backend->set_rate(*plan, {0.1f});
  room.backend->set_stop(*plan, {});
  const std::vector<ControlTarget> targets = {{{0, 1}, 100, 0.1f}};
  room.backend->set_control(*plan, {0, 2, 0.1f, 1.0f, 5.0f}, targets);
  room.backend->keep_targets(*plan);
  room.backend->freeze(*plan);
  simt::recording().clear();
  simt::recording().declare_capturing(true);
  room.backend->control(*plan);
  room.backend->keep_targets(*plan);
  room.backend->freeze(*plan);
  room.backend->prox_step(*plan);
  simt::recording().declare_capturing(false);
  EXPECT_EQ(violations(), "");
  EXPECT_EQ(simt::recording().synchronizations(), 0U);
  EXPECT_EQ(simt::recording().allocations(), 0U);
  EXPECT_EQ(simt::recording().bytes_to_host(), 0U);
  EXPECT_EQ(simt::recording().bytes_to_device(), 0U);
  // Control; two halves, a beginning, three passes of two and the ties; the support; the step.
  EXPECT_EQ(simt::recording().launches(), 1U + (2 + 1 + 3 * 2 + 1) + 1 + 1);
  EXPECT_EQ(room.backend->read_status(*plan).steps, 3);

  // With bounds: a beginning and three passes of two more, and no look either.
  const std::vector<ControlTarget> bounded = {{{0, 1}, 100, 0.1f, {1, 1}, {300, 70}}};
  room.backend->set_stop(*plan, {});
  room.backend->set_control(*plan, {0, 2, 0.1f, 1.0f, 5.0f}, bounded);
  simt::recording().clear();
  simt::recording().declare_capturing(true);
  room.backend->keep_targets(*plan);
  simt::recording().declare_capturing(false);
  EXPECT_EQ(violations(), "");
  EXPECT_EQ(simt::recording().synchronizations(), 0U);
  EXPECT_EQ(simt::recording().allocations(), 0U);
  EXPECT_EQ(simt::recording().bytes_to_host() + simt::recording().bytes_to_device(), 0U);
  EXPECT_EQ(simt::recording().launches(), (2U + 1 + 3 * 2 + 1) + (1 + 3 * 2));
}

TEST(LaunchPath, AsFewBytesComeBackAsPromised) {
  for (const std::int32_t groups : {2, 5, 40}) {
    const auto count = static_cast<std::uint64_t>(groups);
    Random random(9);
    CudaRoom room;
    const std::vector<std::int64_t> sizes(static_cast<std::size_t>(groups) + 1, 700);
    TensorLists tensors(*room.backend, sizes, groups, random);
    const auto plan = room.backend->make_plan(tensors.list, groups);
    const Readings cuda = read_everything(*room.backend, *plan, count);
    // Status: four numbers and a count a group. The maxima of a certificate share 8 bytes.
    EXPECT_EQ(cuda.copied, (std::vector<std::uint64_t>{8 * (count + 4), 8 * count, 16 * count,
                                                       24 * count, 16, 16, 8}));
    // A round of a search reads the first four.
    EXPECT_LE(cuda.copied[0] + cuda.copied[1] + cuda.copied[2] + cuda.copied[3], 64 * count + 64);

    const auto cpu = cpu::make_cpu_backend("reference", 1);
    Random again(9);
    TensorLists same(*cpu, sizes, groups, again);
    const auto cpu_plan = cpu->make_plan(same.list, groups);
    EXPECT_EQ(cuda.counted, read_everything(*cpu, *cpu_plan, count).counted);
  }
}

TEST(LaunchPath, AStopIsKnownWithoutAskingTheDevice) {
  CudaRoom room;
  Random random(10);
  TensorLists tensors(*room.backend, {200, 30}, 1, random);
  const auto plan = room.backend->make_plan(tensors.list, 1);
  room.backend->prox_step(*plan);  // with λ = α = 0; the first launch also asks for the grid
  EXPECT_FALSE(room.backend->known_to_have_stopped(*plan)) << "before the first run";
  const std::vector<float> lambda = {1.0f};
  room.backend->set_lambda(*plan, lambda);
  room.backend->set_rate(*plan, {0.1f});
  const std::uint64_t nothing_yet = room.backend->bytes_to_host();
  for (int run = 0; run < 3; ++run) {
    // Some weights are below the threshold at once; the second run never stops.
    const StopRule rule = run == 1 ? StopRule{} : StopRule{{CountBand{0, 229}}, 1, 1};
    room.backend->set_stop(*plan, rule);
    EXPECT_FALSE(room.backend->known_to_have_stopped(*plan)) << "run " << run << " has no step yet";
    const std::uint64_t before = room.backend->bytes_to_host();
    simt::recording().clear();
    room.backend->prox_step(*plan);
    EXPECT_FALSE(room.backend->known_to_have_stopped(*plan)) << run;
    room.backend->prox_step(*plan);
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(room.backend->known_to_have_stopped(*plan), run != 1) << run;
    }
    EXPECT_EQ(simt::recording().launches(), 2U);
    EXPECT_EQ(simt::recording().calls().size() - simt::recording().count(simt::CallKind::kQuery),
              2U)
        << "nothing but the launches";
    // The word that told it counts, once, also when the status says the same.
    const std::uint64_t word = run == 1 ? 0 : 4;
    EXPECT_EQ(room.backend->bytes_to_host() - before, word);
    EXPECT_EQ(room.backend->read_status(*plan).stopped, run != 1);
    EXPECT_EQ(room.backend->bytes_to_host() - before, word + 8 * (1 + 4));
  }
  EXPECT_EQ(room.backend->bytes_to_host() - nothing_yet, 2 * 4U + 3 * 40U);
  // Read by its status only, as by one who never polls.
  room.backend->set_stop(*plan, {{CountBand{0, 230}}, 1, 0});
  room.backend->prox_step(*plan);
  const std::uint64_t before = room.backend->bytes_to_host();
  EXPECT_TRUE(room.backend->read_status(*plan).stopped);
  EXPECT_EQ(room.backend->bytes_to_host() - before, 44U);
}

TEST(LaunchPath, WhatAnEarlierRunAnnouncesLateIsNotTakenForThisOne) {
  // A step that was captured with the earlier rule's number cannot be had: the number is read on
  // the device. What can come late is the word itself: the first run's, when the second has begun.
  CudaRoom room;
  Random random(11);
  TensorLists tensors(*room.backend, {64}, 1, random);
  const auto plan = room.backend->make_plan(tensors.list, 1);
  room.backend->set_lambda(*plan, std::vector<float>(1, 0.5f));
  room.backend->set_rate(*plan, {0.1f});
  room.backend->set_stop(*plan, {{CountBand{0, 64}}, 1, 0});
  room.backend->prox_step(*plan);
  ASSERT_TRUE(room.backend->known_to_have_stopped(*plan));
  room.backend->set_stop(*plan, {});  // the word still has the first run's number
  EXPECT_FALSE(room.backend->known_to_have_stopped(*plan));
  room.backend->prox_step(*plan);
  EXPECT_FALSE(room.backend->known_to_have_stopped(*plan));
  EXPECT_EQ(room.backend->read_status(*plan).steps, 1);
}

TEST(LaunchPath, ALearningRateIsSetWithoutACopyAndFollowedByTheNextStep) {
  CudaRoom room;
  Random random(12);
  TensorLists tensors(*room.backend, {70}, 0, random);
  const auto plan = room.backend->make_plan(tensors.list, 0);
  room.backend->set_stop(*plan, {});
  std::vector<float> want = tensors.w[0].to_host();
  const std::vector<float> g = tensors.g[0].to_host();
  simt::recording().clear();
  for (const float alpha : {0.5f, 0.125f, 0.0f, 0.25f}) {
    room.backend->set_rate(*plan, {alpha});
    room.backend->prox_step(*plan);
    for (std::size_t i = 0; i < want.size(); ++i) want[i] = std::fma(-alpha, g[i], want[i]);
  }
  EXPECT_EQ(simt::recording().launches(), 8U);
  EXPECT_EQ(simt::recording().bytes_to_device(), 0U);
  EXPECT_EQ(simt::recording().synchronizations(), 0U);
  EXPECT_EQ(tensors.w[0].to_host(), want);
}

TEST(LaunchPath, ThrottleWaitsForAnEarlierStepAndMovesNothing) {
  CudaRoom room;
  StepLoop loop(*room.backend, 10, false);
  loop.step();
  simt::recording().clear();
  std::vector<int> waits;  // after how many calls
  for (int call = 1; call <= 200; ++call) {
    const std::uint64_t before = simt::recording().synchronizations();
    room.backend->throttle();
    if (simt::recording().synchronizations() != before) waits.push_back(call);
  }
  // Every 32 steps a mark is set, and from the second on the one before is waited for: never more
  // than 64 steps are under way.
  EXPECT_EQ(waits, (std::vector<int>{64, 96, 128, 160, 192}));
  EXPECT_EQ(simt::recording().bytes_to_host() + simt::recording().bytes_to_device(), 0U);
  EXPECT_EQ(simt::recording().default_stream_uses(), 0U);
  EXPECT_EQ(simt::recording().launches(), 0U);
}

TEST(LaunchPath, AReadWaitsOnce) {
  CudaRoom room;
  StepLoop loop(*room.backend, 10, false);
  loop.step();
  room.backend->read_status(loop.plan());  // takes pinned memory
  simt::recording().clear();
  room.backend->read_status(loop.plan());
  EXPECT_EQ(simt::recording().synchronizations(), 1U);
  EXPECT_EQ(simt::recording().count(simt::CallKind::kCopyToHost), 1U);
  EXPECT_EQ(simt::recording().launches(), 0U);
}

TEST(LaunchPath, PinnedMemoryMayBeOverwrittenAfterAnUpload) {
  CudaRoom room;
  Array<float> target(*room.backend, 4);
  const std::vector<float> pageable = {1.0f, 2.0f, 3.0f, 4.0f};
  simt::recording().clear();
  room.backend->upload(target.data(), pageable.data(), target.bytes());
  EXPECT_EQ(simt::recording().synchronizations(), 0U) << "the runtime has staged these bytes";
  void* pinned = nullptr;
  ASSERT_EQ(cudaMallocHost(&pinned, target.bytes()), cudaSuccess);
  std::copy(pageable.begin(), pageable.end(), static_cast<float*>(pinned));
  simt::recording().clear();
  room.backend->upload(target.data(), pinned, target.bytes());
  EXPECT_EQ(simt::recording().synchronizations(), 1U);
  EXPECT_EQ(target.to_host(), pageable);
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
}

TEST(LaunchPath, EverythingIsGivenBack) {
  const simt::DeviceScope machine(1);
  const std::size_t memory = simt::live_allocations();
  const std::size_t streams = simt::live_streams();
  {
    const auto backend = cuda::make_cuda_backend(cuda::Precision::kTf32);
    StepLoop loop(*backend, 50, true);
    loop.step();
    backend->read_kth_gradient(loop.plan(), 1);
    EXPECT_GT(simt::live_allocations(), memory);
  }
  EXPECT_EQ(simt::live_allocations(), memory);
  EXPECT_EQ(simt::live_streams(), streams);
  EXPECT_EQ(simt::live_pools(), 0U);
}

TEST(LaunchPath, GridsFitTheDevice) {
  // A device that holds six blocks: work for more goes through in strides.
  CudaRoom room;
  Random random(4);
  TensorLists tensors(*room.backend, {300'000}, 1, random);
  const auto plan = room.backend->make_plan(tensors.list, 1);
  simt::recording().clear();
  room.backend->prox_step(*plan);
  room.backend->initialise_uniform(tensors.w[0].data(), 300'000, 1.0f, 1, 1);
  room.backend->initialise_uniform(tensors.w[0].data(), 5, 1.0f, 1, 1);
  std::vector<std::uint32_t> grids;
  for (const simt::Call& call : simt::recording().calls()) {
    if (call.kind == simt::CallKind::kLaunch) grids.push_back(call.grid);
  }
  EXPECT_EQ(grids, (std::vector<std::uint32_t>{6, 6, 1}));
}

}  // namespace
}  // namespace cuthresh::testing
