// Trainer::save_state: the bits of an uninterrupted run, in every room, wherever it is cut.

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "support/engines.hpp"
#include "support/seeded.hpp"
#include "train/trainer.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::int64_t kTrainRows = 20;

DataSplit drawn_rows() {
  Random random(31);
  DataSplit data;
  for (Dataset* part : {&data.train, &data.test}) {
    part->rows = kTrainRows;
    part->features = 3;
    part->outputs = 2;
    part->inputs = random.vector(kTrainRows * 3, -1.0f, 1.0f);
    part->targets = random.vector(kTrainRows * 2, -1.0f, 1.0f);
  }
  return data;
}

/// 40 steps: λ = 0 until 4, ramp until 20, finish at 30, debias from 32.
train::ControlledRun drawn_run() {
  search::RunShares shares;
  shares.ramp_begin = 0.1;
  shares.ramp_end = 0.5;
  shares.finish = 0.05;
  shares.debias = 0.2;
  ControlTarget target;
  target.groups = {0, 1};
  target.target = 30;
  target.lambda = 0.01f;
  train::ControlledRun run;
  run.schedule = search::make_run_schedule(40, shares);
  run.targets.push_back(std::move(target));
  return run;
}

/// One process's share of a run.
struct Part {
  explicit Part(const Room& room, std::uint64_t seed)
      : backend(room.make()),
        network(*backend, nn::MlpSpec{{3, 12, 2}, Activation::kTanh, 0.01f}, kTrainRows) {
    network.parameters().initialise(nn::Initialisation::kPytorch, seed);
    train::TrainerSettings settings;
    settings.batch = 7;
    settings.step = StepKind::kNesterov;
    settings.momentum = 0.9f;
    const std::vector<std::int32_t> groups = {0, -1, 1, -1};
    trainer = std::make_unique<train::Trainer>(*backend, network, drawn_rows(), settings, groups);
  }

  /// Up to step `end`, from `from` if that is given.
  train::TrainerState run(std::int64_t end, const train::TrainerState* from) {
    std::int64_t taken = from == nullptr ? 0 : from->control.steps;
    const auto ask = [&] {
      return ++taken >= end ? train::Trainer::Wish::kEnd : train::Trainer::Wish::kGoOn;
    };
    train::TrainerState state;
    const auto watch = [&](std::int64_t step, const StepStatus&, const train::Sample&) {
      if (step == end) state = trainer->save_state();
    };
    status = trainer->run_controlled(
        drawn_run(), watch, ask, [&] { ++frozen; }, from);
    return state;
  }

  std::unique_ptr<Backend> backend;
  nn::Network network;
  std::unique_ptr<train::Trainer> trainer;
  StepStatus status;
  int frozen = 0;
};

class Resuming : public ::testing::TestWithParam<Room> {};

TEST_P(Resuming, GivesTheBitsOfTheWholeRun) {
  Part whole(GetParam(), 4);
  const train::TrainerState end = whole.run(40, nullptr);
  ASSERT_EQ(whole.status.steps, 40);
  ASSERT_EQ(whole.status.total, 30U);
  for (const std::int64_t cut : {1, 4, 5, 19, 25, 30, 31, 32, 33, 39}) {
    SCOPED_TRACE(cut);
    Part first(GetParam(), 4);
    const train::TrainerState state = first.run(cut, nullptr);
    ASSERT_EQ(state.control.steps, cut);
    EXPECT_EQ(state.chosen.empty(), cut <= 32);
    Part second(GetParam(), 5);  // of the first part's initial weights it knows nothing
    const train::TrainerState resumed = second.run(40, &state);
    EXPECT_EQ(second.status.steps, 40);
    EXPECT_EQ(second.status.nnz, whole.status.nnz);
    EXPECT_EQ(resumed.values, end.values);
    EXPECT_EQ(resumed.momentum, end.momentum);
    EXPECT_EQ(resumed.control.lambda, end.control.lambda);
    EXPECT_EQ(resumed.control.log_integral, end.control.log_integral);
    EXPECT_EQ(first.frozen + second.frozen, cut == 32 ? 2 : 1);
  }
}

TEST_P(Resuming, ASurvivorThatIsZeroStaysASurvivor) {
  Part first(GetParam(), 4);
  train::TrainerState state = first.run(36, nullptr);
  std::size_t survivor = 0;
  while (state.values[survivor] == 0.0f) ++survivor;
  std::size_t zero = 0;
  while (state.chosen[zero] != 0.0f) ++zero;
  ASSERT_LT(zero, 36U) << "a weight of the first layer";
  state.values[survivor] = 0.0f;
  Part second(GetParam(), 4);
  const train::TrainerState end = second.run(40, &state);
  EXPECT_NE(end.values[survivor], 0.0f);
  EXPECT_EQ(end.values[zero], 0.0f);
}

std::vector<Room> some_rooms() {
  std::vector<Room> rooms;
  for (const Room& room : all_rooms()) {
    const bool plain = room.engine == "reference" && room.isa == "baseline" && room.threads == 1;
    if (plain || room.engine == "cuda" || (room.engine == "tiled" && room.threads == 3))
      rooms.push_back(room);
  }
  return rooms;
}

INSTANTIATE_TEST_SUITE_P(Rooms, Resuming, ::testing::ValuesIn(some_rooms()),
                         [](const auto& param) { return param.param.name(); });

}  // namespace
}  // namespace cuthresh::testing
