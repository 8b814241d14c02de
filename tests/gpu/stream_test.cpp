// What only a device shows: captured graphs that follow λ and α, rooms beside each other, the same
// bits on every run, memory that is given back while work is under way.

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <span>
#include <thread>

#include "core/registry.hpp"
#include "cuthresh/error.hpp"
#include "gpu/support.hpp"

namespace cuthresh::testing {
namespace {

std::unique_ptr<Backend> make_room() {
  return cuda::make_cuda_backend(cuda::Precision::kFp32);
}

TEST(Graphs, ACapturedTrainingStepFollowsLambdaAndAlpha) {
  const auto enqueued_room = make_room();
  const auto captured_room = make_room();
  StepLoop enqueued(*enqueued_room, 5);
  StepLoop captured(*captured_room, 5);
  enqueued.step();  // shapes are met for the first time: scratch memory and cuBLAS are made
  captured.step();
  Graph graph(stream_of(*captured_room), [&] { captured.step(); });
  EXPECT_EQ(captured.status().steps, 1) << "a captured step is not taken";
  std::int64_t steps = 1;
  std::vector<std::uint64_t> totals;
  for (const auto& [lambda, alpha] : {std::pair{0.0f, 0.1f},
                                      {1e-3f, 0.1f},
                                      {1e-2f, 0.05f},
                                      {0.1f, 0.2f},
                                      {1e-4f, 0.01f},
                                      {10.0f, 0.1f}}) {
    enqueued.set(lambda, alpha);
    captured.set(lambda, alpha);
    for (int i = 0; i < 3; ++i) {
      enqueued.step();
      graph.launch();
    }
    steps += 3;
    EXPECT_EQ(captured.status().steps, steps);
    EXPECT_EQ(captured.status().nnz, enqueued.status().nnz);
    ASSERT_EQ(captured.parameters(), enqueued.parameters()) << "lambda " << lambda;
    EXPECT_EQ(captured.loss(), enqueued.loss());
    totals.push_back(captured.status().total);
  }
  EXPECT_GT(totals.front(), totals[3]) << "the case must show sparsity";
  EXPECT_EQ(totals.back(), 0U);
}

TEST(Graphs, ACapturedStepEndsAtTheStopRule) {
  const auto room = make_room();
  const std::int64_t n = sized(100'000, 3000);
  // Entry i is i + 1 and g is 0: a step of threshold 100 empties 100 more.
  std::vector<float> ramp(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < ramp.size(); ++i) ramp[i] = static_cast<float>(i + 1);
  Array<float> w(*room, std::span<const float>(ramp));
  Array<float> g(*room, n);
  g.zero();
  const ProxTensor tensor{w.data(), g.data(), n, 0};
  const auto plan = room->make_plan({&tensor, 1}, 1);
  const float lambda = 100.0f;
  room->set_lambda(*plan, {&lambda, 1});
  room->set_rate(*plan, {1.0f});
  const auto left = static_cast<std::uint64_t>(n - 1050);
  room->set_stop(*plan, {{CountBand{0, left}}, 1, 0});
  Graph graph(stream_of(*room), [&] {
    for (int i = 0; i < 4; ++i) room->prox_step(*plan);
  });
  for (int i = 0; i < 10; ++i) graph.launch();
  const StepStatus& status = room->read_status(*plan);
  EXPECT_TRUE(status.stopped);
  EXPECT_EQ(status.steps, 11);
  EXPECT_EQ(status.total, static_cast<std::uint64_t>(n - 1100));
  EXPECT_EQ(room->read_nonzeros(*plan).front(), status.total) << "steps were taken after the stop";
  // Cleared, the same graph goes on.
  room->set_stop(*plan, {});
  graph.launch();
  EXPECT_EQ(room->read_status(*plan).steps, 4);
  EXPECT_EQ(room->read_status(*plan).total, static_cast<std::uint64_t>(n - 1500));
}

/// All that a short training leaves, as bits.
struct Remains {
  std::vector<std::uint32_t> parameters;
  std::vector<std::uint64_t> numbers;
  bool operator==(const Remains&) const = default;
};

Remains train(std::uint32_t seed, int steps) {
  const auto room = make_room();
  StepLoop loop(*room, seed);
  for (int i = 0; i < steps; ++i) loop.step();
  Remains remains;
  const double loss = loop.loss();
  remains.numbers.push_back(std::bit_cast<std::uint64_t>(loss));
  for (const std::uint64_t n : loop.status().nnz) remains.numbers.push_back(n);
  const std::vector<std::pair<float, float>> brackets(static_cast<std::size_t>(loop.groups()),
                                                      {0.0f, 1.0f});
  for (const MedianResult& median : room->read_bracket_medians(loop.plan(), brackets)) {
    remains.numbers.push_back(median.inside);
    remains.numbers.push_back(std::bit_cast<std::uint32_t>(median.median.value_or(-1.0f)));
  }
  for (const KktResult& kkt : room->read_kkt(loop.plan())) {
    remains.numbers.push_back(kkt.nonzeros);
    remains.numbers.push_back(std::bit_cast<std::uint32_t>(kkt.on_nonzero));
    remains.numbers.push_back(std::bit_cast<std::uint32_t>(kkt.on_zero));
  }
  remains.parameters = loop.parameters();
  return remains;
}

TEST(Repetitions, FiftyTrainingsGiveTheSameBits) {
  const int steps = static_cast<int>(sized(40, 4));
  const Remains first = train(7, steps);
  EXPECT_NE(first, train(8, steps)) << "the comparison must see a difference";
  for (std::int64_t i = 1; i < sized(50, 3); ++i) ASSERT_EQ(train(7, steps), first) << "run " << i;
}

TEST(Rooms, SeveralAtOnceDoNotDisturbEachOther) {
  const int steps = static_cast<int>(sized(200, 4));
  constexpr std::size_t kRooms = 4;
  std::vector<Remains> alone, together(kRooms);
  for (std::uint32_t i = 0; i < kRooms; ++i) alone.push_back(train(i, steps));
  {
    std::vector<std::jthread> threads;
    for (std::uint32_t i = 0; i < kRooms; ++i) {
      threads.emplace_back([&, i] { together[i] = train(i, steps); });
    }
  }
  for (std::size_t i = 0; i < kRooms; ++i) EXPECT_EQ(together[i], alone[i]) << "room " << i;
}

TEST(Rooms, TwoOfOneThreadTakeTurns) {
  const auto a_room = make_room();
  const auto b_room = make_room();
  StepLoop a(*a_room, 3);
  StepLoop b(*b_room, 3);
  ASSERT_NE(stream_of(*a_room), stream_of(*b_room));
  for (std::int64_t i = 0; i < sized(100, 4); ++i) {
    a.step();
    b.step();
  }
  EXPECT_EQ(a.parameters(), b.parameters());
}

TEST(Uploads, MemoryMayBeFreedRightAfter) {
  const auto room = make_room();
  Array<float> busy(*room, sized(200'000'000, 10'000));
  for (const std::int64_t n : {std::int64_t{1}, std::int64_t{1000}, std::int64_t{16384},
                               std::int64_t{16385}, sized(10'000'000, 30'000)}) {
    std::vector<Array<float>> targets;
    constexpr int kCopies = 8;
    for (int i = 0; i < kCopies; ++i) {
      room->initialise_uniform(busy.data(), busy.size(), 1.0f, 1, 1);  // the stream has work first
      std::vector<float> host(static_cast<std::size_t>(n), static_cast<float>(i + 1));
      targets.emplace_back(*room, std::span<const float>(host));
      std::fill(host.begin(), host.end(), -1.0f);
    }  // freed, and likely the next one's memory
    for (int i = 0; i < kCopies; ++i) {
      const std::vector<float> got = targets[static_cast<std::size_t>(i)].to_host();
      ASSERT_TRUE(std::all_of(got.begin(), got.end(),
                              [&](float v) { return v == static_cast<float>(i + 1); }))
          << n << " elements, copy " << i;
    }
  }
}

TEST(Uploads, PinnedMemoryMayBeOverwrittenRightAfter) {
  const auto room = make_room();
  const std::int64_t n = sized(10'000'000, 30'000);
  void* memory = nullptr;
  expect_success(cudaMallocHost(&memory, static_cast<std::size_t>(n) * sizeof(float)),
                 "cudaMallocHost");
  auto* pinned = static_cast<float*>(memory);
  Array<float> busy(*room, sized(200'000'000, 10'000));
  Array<float> target(*room, n);
  std::fill_n(pinned, n, 3.0f);
  room->initialise_uniform(busy.data(), busy.size(), 1.0f, 1, 1);
  room->upload(target.data(), pinned, target.bytes());
  std::fill_n(pinned, n, -1.0f);
  const std::vector<float> got = target.to_host();
  EXPECT_TRUE(std::all_of(got.begin(), got.end(), [](float v) { return v == 3.0f; }));
  expect_success(cudaFreeHost(memory), "cudaFreeHost");
}

TEST(Memory, TooMuchIsAnErrorThatNamesItAndTheRoomGoesOn) {
  const auto room = make_room();
  std::size_t free = 0;
  std::size_t total = 0;
  expect_success(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  const std::size_t wanted = 4 * total;
  try {
    room->deallocate(room->allocate(wanted));
    FAIL() << wanted << " bytes on a device of " << total;
  } catch (const InternalError& error) {
    EXPECT_NE(std::string(error.what()).find(std::to_string(wanted)), std::string::npos)
        << error.what();
    EXPECT_NE(std::string(error.what()).find("free of " + std::to_string(total)), std::string::npos)
        << error.what();
  }
  StepLoop loop(*room, 1);
  loop.step();
  EXPECT_EQ(loop.status().steps, 1);
}

TEST(Registry, AutoTakesTheGpu) {
  const ChosenBackend chosen = make_backend({"auto", "reference", 1, "fp32"});
  EXPECT_EQ(chosen.why.rfind("cuda (", 0), 0U) << chosen.why;
  RecordProperty("device", chosen.why);
}

}  // namespace
}  // namespace cuthresh::testing
