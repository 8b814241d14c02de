// Trainings whose steps are replayed from graphs, against the same trainings enqueued kernel by
// kernel: every bit of the weights, counts, λ, looks and steps; and what a replay asks of CUDA.

#include <gmock/gmock.h>

#include <map>
#include <stdexcept>

#include "cpu/cpu_backend.hpp"
#include "cuda/captured_rig.hpp"

namespace cuthresh::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using train::Execution;

constexpr std::uint64_t kSeed = 811;

train::TrainerSettings settings(std::int64_t batch) {
  train::TrainerSettings s;
  s.learning_rate = 0.2f;
  s.batch = batch;
  s.sample_every = 0;
  s.seed = kSeed;
  s.longest_chunk = 1e9;  // the interpreter is slow
  return s;
}

void expect_equal(const Outcome& graph, const Outcome& plain) {
  EXPECT_EQ(graph.status.steps, plain.status.steps);
  EXPECT_EQ(graph.status.nnz, plain.status.nnz);
  EXPECT_EQ(graph.status.total, plain.status.total);
  EXPECT_EQ(graph.status.nonfinite, plain.status.nonfinite);
  EXPECT_EQ(graph.status.stopped, plain.status.stopped);
  EXPECT_EQ(graph.weights, plain.weights);
  EXPECT_EQ(graph.lambda, plain.lambda);
  EXPECT_EQ(graph.seen, plain.seen);
}

/// Two trainings with each rig: the second round begins with graphs that are there. Gives the
/// plain first one.
Outcome expect_the_same(const TrainingCase& given) {
  SCOPED_TRACE(::testing::Message() << "seed " << kSeed);
  std::vector<Outcome> plain, graph;
  {
    TrainingRig rig(given, Execution::kPlain);
    plain = {rig.run(), rig.run()};
  }
  {
    TrainingRig rig(given, Execution::kGraph);
    graph = {rig.run(), rig.run()};
    EXPECT_EQ(simt::recording().default_stream_uses(), 0U);
    EXPECT_GT(simt::recording().count(simt::CallKind::kGraphLaunch), 0U);
  }
  EXPECT_EQ(plain[0].execution, "plain: as run.execution wants it");
  EXPECT_EQ(graph[0].execution, "captured graph, up to 256 at a time");
  expect_equal(graph[0], plain[0]);
  expect_equal(graph[1], plain[1]);
  EXPECT_EQ(plain[0].weights, plain[1].weights) << "a round begins again";
  return plain[0];
}

const nn::NetworkSpec kSmall = nn::MlpSpec{{3, 6, 2}, Activation::kTanh, 0.01f};

TrainingCase numbers(std::int64_t batch, bool classes = false) {
  Random random(kSeed);
  TrainingCase c{kSmall, number_data(random, 23, 9, classes), settings(batch)};
  if (classes) c.settings.loss = train::LossKind::kCrossEntropy;
  return c;
}

TEST(CapturedTraining, FullBatch) {
  const Outcome plain = expect_the_same(numbers(0));
  EXPECT_EQ(plain.status.steps, 40);
  EXPECT_LT(plain.status.total, 30U) << "the case must lose weights";
}

TEST(CapturedTraining, MiniBatchesWithAShortLastOne) {
  // Batches of 7, 7, 7 and 2 rows: the order of an epoch is uploaded between two chunks.
  expect_the_same(numbers(7));
}

TEST(CapturedTraining, SamplesTestsAndClasses) {
  TrainingCase c = numbers(5, true);
  c.settings.sample_every = 9;
  c.settings.test_every = 12;
  const Outcome plain = expect_the_same(c);
  EXPECT_EQ(plain.seen.size(), 5U + 3U);
}

TEST(CapturedTraining, MomentumAndACosineWithWarmUp) {
  TrainingCase c = numbers(7);
  c.settings.step = StepKind::kNesterov;
  c.settings.momentum = 0.9f;
  c.settings.learning_rate = 0.05f;
  c.settings.schedule = Schedule{.kind = ScheduleKind::kCosine,
                                 .learning_rate = 0.05,
                                 .warmup = 6,
                                 .final_learning_rate = 0.001};
  c.settings.sample_every = 11;
  expect_the_same(c);
}

TEST(CapturedTraining, ARateThatFallsInSteps) {
  TrainingCase c = numbers(0);
  c.settings.schedule = Schedule{
      .kind = ScheduleKind::kStep, .learning_rate = 0.3, .decay_every = 9, .decay_factor = 0.75};
  // Stops while the host has enqueued steps of a later rate; the next round begins with the first.
  c.lambda = 0.1f;
  c.rule = {{CountBand{0, 17}}, 1, 6};
  const Outcome plain = expect_the_same(c);
  EXPECT_TRUE(plain.status.stopped);
}

TEST(CapturedTraining, ImagesMovedAtRandomBatchNormAndDropout) {
  Random random(kSeed);
  TrainingCase c{layers({4, 4, 1}, {"conv 2 3x3 pad 1", "batchnorm relu", "maxpool 2",
                                    "dropout 0.25", "dense 3"}),
                 picture_data(random, 11, 4), settings(4)};
  c.settings.loss = train::LossKind::kCrossEntropy;
  c.settings.random_crop = 1;
  c.settings.random_flip = true;
  c.settings.sample_every = 10;
  c.settings.test_every = 10;
  c.steps = 24;
  expect_the_same(c);
}

// A full batch of images is made once and stays, but for evaluations, which take its buffer.
TEST(CapturedTraining, ImagesThatStayWhileOthersAreEvaluated) {
  Random random(kSeed);
  TrainingCase c{layers({4, 4, 1}, {"dense 5 tanh", "dense 3"}), picture_data(random, 9, 4),
                 settings(0)};
  c.settings.loss = train::LossKind::kCrossEntropy;
  c.settings.test_every = 6;
  c.steps = 30;
  expect_the_same(c);
  c.max_rows = 4;  // in parts of 4, 4 and 1
  expect_the_same(c);
  c.settings.random_flip = true;
  expect_the_same(c);
}

TEST(CapturedTraining, OneRunWithAllItsPhases) {
  TrainingCase c = numbers(7);
  c.schedule = search::make_run_schedule(80, {.finish = 0.1}, 3);
  c.target = 9;
  c.settings.sample_every = 25;
  const Outcome plain = expect_the_same(c);
  EXPECT_EQ(plain.status.total, 9U);
  EXPECT_EQ(plain.status.steps, 80);
  c.settings.step = StepKind::kMomentum;
  c.settings.momentum = 0.8f;
  c.settings.schedule = Schedule{.kind = ScheduleKind::kCosine, .learning_rate = 0.1};
  c.schedule = search::make_run_schedule(60, {.finish = 0.2, .debias = 0.0}, 1);
  expect_the_same(c);
}

TEST(CapturedTraining, AStopInTheMiddleOfAChunkIsTheStepsOwn) {
  TrainingCase c = numbers(0);
  c.rule = {{CountBand{0, 12}}, 1, 0};
  c.steps = 120;
  const Outcome plain = expect_the_same(c);
  ASSERT_TRUE(plain.status.stopped);
  EXPECT_GT(plain.status.steps, 2);
  EXPECT_NE(plain.status.steps % 16, 1) << "the case must stop inside a graph";
}

TEST(CapturedTraining, ADivergenceInTheMiddleOfAChunkToo) {
  TrainingCase c = numbers(0);
  c.settings.learning_rate = 40.0f;
  c.network = nn::MlpSpec{{3, 6, 2}, Activation::kIdentity, 0.01f};
  c.steps = 300;
  const Outcome plain = expect_the_same(c);
  ASSERT_TRUE(plain.status.stopped);
  EXPECT_GT(plain.status.nonfinite, 0U);
  EXPECT_GT(plain.status.steps, 2);
}

TEST(CapturedTraining, AWishToEndEndsItAfterTheChunk) {
  TrainingCase c = numbers(7);
  c.steps = 200;
  std::int64_t asked = 0;
  TrainingRig rig(c, Execution::kGraph);
  const Outcome ended = rig.run(
      [&] { return ++asked == 12 ? train::Trainer::Wish::kEnd : train::Trainer::Wish::kGoOn; });
  EXPECT_EQ(asked, 12);
  EXPECT_GT(ended.status.steps, 12);
  EXPECT_LT(ended.status.steps, 200);
  TrainingCase whole = c;
  whole.steps = ended.status.steps;
  TrainingRig plain(whole, Execution::kPlain);
  expect_equal(ended, plain.run());
}

TEST(CapturedTraining, AWishToLookReportsTheLastStepOfTheChunk) {
  TrainingCase c = numbers(0);
  std::int64_t asked = 0;
  TrainingRig rig(c, Execution::kGraph);
  const Outcome looked = rig.run(
      [&] { return ++asked == 2 ? train::Trainer::Wish::kLook : train::Trainer::Wish::kGoOn; });
  ASSERT_EQ(looked.seen.size(), 1U);
  EXPECT_EQ(looked.seen[0].step, 40);
  EXPECT_FALSE(looked.seen[0].loss);
}

/// Calls since clear(), by name, without questions.
std::map<std::string, int> calls_made() {
  std::map<std::string, int> made;
  for (const simt::Call& call : simt::recording().calls()) {
    if (call.kind != simt::CallKind::kQuery) ++made[call.name];
  }
  return made;
}

TEST(CapturedTraining, AChunkIsAFewLaunchesAndOneWait) {
  TrainingCase c = numbers(0);
  c.network = nn::MlpSpec{{3, 2}, Activation::kIdentity, 0.01f};
  c.steps = 1 + 2 * 256 + 19;
  TrainingRig rig(c, Execution::kGraph);
  rig.run();  // captures
  simt::recording().clear();
  std::vector<std::map<std::string, int>> chunks;
  rig.run([&] {
    chunks.push_back(calls_made());
    simt::recording().clear();
    return train::Trainer::Wish::kGoOn;
  });
  // The shape is known from the first round, so no step is plain: two chunks and a short one.
  ASSERT_EQ(chunks.size(), 3U);
  // In front of the first the round is set up, its weights drawn anew; then the mark that
  // throttle() sets and waits for belongs to the chunk before.
  EXPECT_EQ(chunks[0].at("cudaGraphLaunch"), 16);
  EXPECT_EQ(chunks[0].at("cudaLaunchKernelEx"), 2) << "a weight and a bias";
  const std::map<std::string, int> chunk = {
      {"cudaEventRecord", 1}, {"cudaEventSynchronize", 1}, {"cudaGraphLaunch", 16}};
  EXPECT_EQ(chunks[1], chunk);
  // 20 steps: one graph of 16 and four of one.
  EXPECT_EQ(chunks[2].at("cudaGraphLaunch"), 1 + 4);
  EXPECT_EQ(chunks[2].size(), 3U);
  EXPECT_TRUE(simt::recording().violations().empty());
}

TEST(CapturedTraining, ChunksThatTakeLongBecomeSmall) {
  TrainingCase c = numbers(0);
  c.network = nn::MlpSpec{{3, 2}, Activation::kIdentity, 0.01f};
  c.steps = 1 + 256 + 128 + 64 + 32 + 16 + 16;
  c.settings.longest_chunk = 0.0;
  TrainingRig rig(c, Execution::kGraph);
  int asked = 0;
  rig.run([&] {
    ++asked;
    return train::Trainer::Wish::kGoOn;
  });
  EXPECT_EQ(asked, 7);
}

TEST(CapturedTraining, EachShapeIsTakenPlainlyOnceAndCapturedOnce) {
  TrainingCase c = numbers(7);
  c.steps = 12;  // three epochs of three batches and a short one
  TrainingRig rig(c, Execution::kGraph);
  simt::recording().clear();
  rig.run();
  std::map<std::string, int> made = calls_made();
  // Steps 0 and 3 plainly, each the first of its rows; a graph of one step for each.
  EXPECT_EQ(made["cudaStreamBeginCapture"], 2);
  EXPECT_EQ(made["cudaGraphInstantiate"], 2);
  EXPECT_EQ(made["cudaGraphLaunch"], 10);
  simt::recording().clear();
  rig.run();
  made = calls_made();
  EXPECT_EQ(made["cudaStreamBeginCapture"], 0);
  EXPECT_EQ(made["cudaGraphLaunch"], 12);
  EXPECT_TRUE(simt::recording().violations().empty());
}

TEST(CapturedTraining, ScratchThatAnEvaluationOutgrowsStaysWhereGraphsHaveIt) {
  // Batches of 2 rows, evaluations of 23 at once: their sums need more room.
  TrainingCase c = numbers(2, true);
  c.max_rows = 23;
  c.settings.test_every = 20;
  c.data.test = c.data.train;
  c.network = nn::MlpSpec{{3, 300, 2}, Activation::kTanh, 0.01f};
  expect_the_same(c);
}

TEST(CapturedTraining, WhatCannotBeCapturedGoesOnPlainlyAndSaysWhy) {
  const TrainingCase c = numbers(7);
  TrainingRig plain_rig(c, Execution::kPlain);
  const Outcome plain = plain_rig.run();
  struct Failure {
    const char* call;
    cudaError_t error;
  };
  for (const Failure& failure : {Failure{"cudaStreamBeginCapture", cudaErrorNotSupported},
                                 Failure{"cudaGraphInstantiate", cudaErrorMemoryAllocation},
                                 Failure{"cudaGraphGetNodes", cudaErrorInvalidValue}}) {
    SCOPED_TRACE(failure.call);
    TrainingRig rig(c, Execution::kGraph);
    simt::fail_next(failure.call, failure.error);
    const Outcome outcome = rig.run();
    EXPECT_THAT(outcome.execution, StartsWith("plain: "));
    EXPECT_THAT(outcome.execution, HasSubstr(failure.call));
    EXPECT_EQ(simt::recording().count(simt::CallKind::kGraphLaunch), 0U);
    expect_equal(outcome, plain);
    expect_equal(rig.run(), plain);
  }
}

TEST(CapturedTraining, ALaunchThatFailsInACaptureDoesNotPoisonTheStream) {
  const TrainingCase c = numbers(0);
  TrainingRig rig(c, Execution::kGraph);
  const Outcome before = rig.run();
  TrainingRig failing(c, Execution::kGraph);
  // Step 0 has made its launches by then; a capture makes many more.
  simt::fail_next("cudaLaunchKernelEx", cudaErrorLaunchOutOfResources, 30);
  const Outcome outcome = failing.run();
  EXPECT_THAT(outcome.execution, HasSubstr("cudaErrorLaunchOutOfResources"));
  expect_equal(outcome, before);
}

TEST(CapturedTraining, WithLooksAfterEveryStepThereIsNothingToCapture) {
  TrainingCase c = numbers(0);
  c.settings.sample_every = 1;
  TrainingRig rig(c, Execution::kGraph);
  EXPECT_THAT(rig.run().execution, HasSubstr("without a look"));
  EXPECT_EQ(simt::recording().count(simt::CallKind::kGraphLaunch), 0U);
}

// --- the room's capture() itself.

TEST(Capture, ReplaysWhatWasEnqueued) {
  CudaRoom room;
  StepLoop loop(*room.backend, 12, false);
  loop.step();
  const Captured captured = room.backend->capture([&] {
    loop.step();
    loop.step();
  });
  ASSERT_EQ(captured.refusal, "");
  EXPECT_EQ(room.backend->read_status(loop.plan()).steps, 1);
  room.backend->replay(*captured.graph);
  room.backend->replay(*captured.graph);
  EXPECT_EQ(room.backend->read_status(loop.plan()).steps, 5);
}

TEST(Capture, RefusesWhatTheRoomAllocatesByItsBytes) {
  CudaRoom room;
  Captured captured = room.backend->capture([&] { room.backend->allocate(4711); });
  EXPECT_EQ(captured.graph, nullptr);
  EXPECT_THAT(captured.refusal, HasSubstr("allocates 4711 bytes"));
  // The first step of a shape makes what it needs.
  StepLoop loop(*room.backend, 12, false);
  captured = room.backend->capture([&] { loop.step(); });
  EXPECT_THAT(captured.refusal, HasSubstr("bytes"));
  EXPECT_THAT(captured.refusal, HasSubstr("take a plain step of the same shape"));
  loop.step();
  EXPECT_EQ(room.backend->read_status(loop.plan()).steps, 1) << "the stream is as before";
  EXPECT_EQ(room.backend->capture([&] { loop.step(); }).refusal, "");
}

TEST(Capture, RefusesWhatWaitsReadsOrUploads) {
  CudaRoom room;
  StepLoop loop(*room.backend, 12, false);
  loop.step();
  Array<float> there(*room.backend, 3);
  float host[3] = {};
  Backend& backend = *room.backend;
  const auto refusal = [&](const std::function<void()>& enqueue) {
    return backend.capture(enqueue).refusal;
  };
  EXPECT_THAT(refusal([&] { backend.synchronize(); }), HasSubstr("waits for the device"));
  EXPECT_THAT(refusal([&] { backend.read_status(loop.plan()); }), HasSubstr("bytes back"));
  EXPECT_THAT(refusal([&] { there.to_host(); }), HasSubstr("12 bytes back"));
  EXPECT_THAT(refusal([&] { backend.upload(there.data(), host, 12); }),
              HasSubstr("uploads 12 bytes"));
  EXPECT_THAT(refusal([] {}), HasSubstr("nothing was enqueued"));
  EXPECT_EQ(backend.read_status(loop.plan()).steps, 1);
}

TEST(Capture, FindsNodesThatALibraryPutThere) {
  CudaRoom room;
  StepLoop loop(*room.backend, 12, false);
  loop.step();
  cudaStream_t stream = nullptr;
  for (const simt::Call& call : simt::recording().calls()) {
    if (call.kind == simt::CallKind::kLaunch) stream = call.stream;
  }
  const auto refusal = [&](const std::function<void()>& also) {
    return room.backend
        ->capture([&] {
          loop.step();
          also();
        })
        .refusal;
  };
  void* given = nullptr;
  EXPECT_THAT(refusal([&] { ASSERT_EQ(cudaMallocAsync(&given, 321, stream), cudaSuccess); }),
              HasSubstr("an allocation of 321 bytes (type 10)"));
  EXPECT_THAT(refusal([&] {
                ASSERT_EQ(cudaLaunchHostFunc(
                              stream, [](void*) {}, nullptr),
                          cudaSuccess);
              }),
              HasSubstr("a call of the host (type 3)"));
  EXPECT_EQ(refusal([] {}), "");
  EXPECT_EQ(room.backend->read_status(loop.plan()).steps, 1);
}

TEST(Capture, OfTheCallersIsNotTouchedAndTheDefaultStreamHasNone) {
  CudaRoom room;
  StepLoop loop(*room.backend, 12, false);
  loop.step();
  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  room.backend->set_stream(stream);
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  EXPECT_THAT(room.backend->capture([&] { loop.step(); }).refusal, HasSubstr("by its owner"));
  loop.step();
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  room.backend->set_stream(nullptr);
  EXPECT_THAT(room.backend->unsupported(Operation::kGraph), HasSubstr("default stream"));
  EXPECT_THAT(room.backend->capture([&] { loop.step(); }).refusal, HasSubstr("default stream"));
  room.backend->set_stream(stream);
  EXPECT_EQ(room.backend->unsupported(Operation::kGraph), "");
  room.backend->synchronize();
  room.backend->set_stream(nullptr);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

TEST(Capture, OtherExceptionsPassAndLeaveTheStreamUsable) {
  CudaRoom room;
  StepLoop loop(*room.backend, 12, false);
  loop.step();
  EXPECT_THROW(room.backend->capture([&] {
    loop.step();
    throw std::runtime_error("not of the room");
  }),
               std::runtime_error);
  loop.step();
  EXPECT_EQ(room.backend->read_status(loop.plan()).steps, 2);
}

TEST(Capture, GivesEverythingBack) {
  const simt::DeviceScope machine{1};
  {
    const auto backend = cuda::make_cuda_backend(cuda::Precision::kFp32);
    StepLoop loop(*backend, 12, false);
    loop.step();
    const Captured captured = backend->capture([&] { loop.step(); });
    loop.step(12);
    ASSERT_NE(captured.graph, nullptr);
  }
  EXPECT_EQ(simt::live_allocations(), 0U);
  EXPECT_EQ(simt::live_graphs(), 0U);
}

TEST(Capture, HasNoPlaceOnTheCpu) {
  const auto cpu = cpu::make_cpu_backend("reference", 1);
  EXPECT_THAT(cpu->unsupported(Operation::kGraph), HasSubstr("no launches to save"));
  EXPECT_THAT(cpu->capture([] { FAIL() << "not called"; }).refusal, HasSubstr("no launches"));
}

}  // namespace
}  // namespace cuthresh::testing
