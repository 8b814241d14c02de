// Whole trainings on the GPU: the float64 recursion of tests/parity, and stops that are exact
// although the host looks seldom.

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cpu/cpu_backend.hpp"
#include "gpu/support.hpp"
#include "support/parity_tables.hpp"
#include "train/together.hpp"
#include "train/trainer.hpp"

namespace cuthresh::testing {
namespace {

const nn::MlpSpec kPaperNet{{6, 128, 128, 64, 1}, Activation::kRelu, 0.01f};
const std::vector<std::int32_t> kGroups = {0, -1, 1, -1, 2, -1, 3, -1};

TEST(Recursion, FollowsTheFloat64ReferenceForAThousandSteps) {
  const std::int64_t steps = sized(1000, 100);
  const auto room = cuda::make_cuda_backend(cuda::Precision::kFp32);
  const DataSplit data = reference_data();
  ASSERT_EQ(data.train.rows, 1000);
  nn::Network network(*room, kPaperNet, 1000);
  network.parameters().initialise(nn::Initialisation::kPytorch, 123);
  train::Trainer trainer(*room, network, data, {train::LossKind::kMse, 0.1f, 0, 100, 123}, kGroups);
  std::map<std::int64_t, double> loss;
  std::map<std::int64_t, std::uint64_t> nnz;
  const std::vector<float> lambda(4, 1e-4f);
  trainer.run(lambda, {}, steps + 1,
              [&](std::int64_t step, const StepStatus& status, const train::Sample& sample) {
                loss[step - 1] = sample.loss.value();  // taken before the step
                nnz[step] = status.total;
              });
  int compared = 0;
  for (const Row& row : read_table("mackey_glass_1000.csv")) {
    const std::int64_t step = std::stoll(row.at("step"));
    if (step > steps) continue;
    const double want = std::stod(row.at("train_loss"));
    ASSERT_EQ(loss.count(step), 1U) << step;
    EXPECT_NEAR(loss.at(step), want, 1e-4 * want) << "after " << step << " steps";
    if (step > 0) {
      // Sampled one step later: the count has moved by no more than the tolerance.
      const double count = std::stod(row.at("nnz"));
      EXPECT_NEAR(static_cast<double>(nnz.at(step + 1)), count, 4e-3 * count)
          << "after " << step << " steps";
    }
    ++compared;
  }
  EXPECT_EQ(compared, steps / 100 + 1);
}

struct Round {
  StepStatus status;
  std::vector<std::uint32_t> weights;
};

std::vector<std::uint32_t> weights_of(Backend& room, nn::Network& network) {
  std::vector<std::uint32_t> bits;
  for (std::size_t i = 0; i < network.parameters().list().size(); ++i) {
    std::vector<float> w(static_cast<std::size_t>(network.parameters().list()[i].numel));
    room.download(w.data(), network.parameters().value(i), w.size() * sizeof(float));
    for (const float v : w) bits.push_back(std::bit_cast<std::uint32_t>(v));
  }
  return bits;
}

/// One round from the same start; with a sample every `sample_every` steps the host waits at least
/// that often.
Round run_round(std::int64_t sample_every, const StopRule& rule, std::int64_t steps) {
  const auto room = cuda::make_cuda_backend(cuda::Precision::kFp32);
  const DataSplit data = reference_data();
  nn::Network network(*room, kPaperNet, 1000);
  network.parameters().initialise(nn::Initialisation::kPytorch, 123);
  train::Trainer trainer(*room, network, data, {train::LossKind::kMse, 0.1f, 0, sample_every, 123},
                         kGroups);
  const std::vector<float> lambda(4, 1e-3f);
  Round round;
  round.status = trainer.run(lambda, rule, steps, {});
  round.weights = weights_of(*room, network);
  return round;
}

TEST(Stops, AreExactThoughTheHostLooksSeldom) {
  const std::int64_t steps = sized(600, 40);
  const Round whole = run_round(steps, {}, steps);
  EXPECT_EQ(whole.status.steps, steps);
  EXPECT_FALSE(whole.status.stopped);
  // A count between the start and the end is passed on the way.
  const std::uint64_t start = run_round(1, {}, 1).status.total;
  ASSERT_LT(whole.status.total, start) << "the case must lose weights";
  const StopRule rule{{CountBand{0, (start + whole.status.total) / 2}}, 1, 0};
  const Round seldom = run_round(steps, rule, steps);
  const Round often = run_round(1, rule, steps);
  EXPECT_TRUE(seldom.status.stopped);
  EXPECT_LT(seldom.status.steps, steps);
  EXPECT_EQ(seldom.status.steps, often.status.steps);
  EXPECT_EQ(seldom.status.nnz, often.status.nnz);
  EXPECT_EQ(seldom.weights, often.weights);
  // One step less: the rule did not hold yet.
  EXPECT_GT(run_round(1, {}, seldom.status.steps - 1).status.total, rule.bands.front().hi);
}

/// A training of `steps` steps, or a controlled one, with samples every 97 and a cosine.
Round run_as(train::Execution execution, std::int64_t batch, std::int64_t steps, bool controlled,
             std::string& how) {
  const auto room = cuda::make_cuda_backend(cuda::Precision::kFp32);
  const DataSplit data = reference_data();
  nn::Network network(*room, kPaperNet, 1000);
  network.parameters().initialise(nn::Initialisation::kPytorch, 123);
  train::TrainerSettings settings{train::LossKind::kMse, 0.1f, batch, 97, 123};
  settings.schedule =
      Schedule{.kind = ScheduleKind::kCosine, .learning_rate = 0.1, .warmup = steps / 10};
  settings.execution = execution;
  train::Trainer trainer(*room, network, data, settings, kGroups);
  Round round;
  if (controlled) {
    const train::ControlledRun run{search::make_run_schedule(steps, {}, 3),
                                   {{{0, 1, 2, 3}, 2000, 1e-4f}}};
    round.status = trainer.run_controlled(run, {}, {}, [] {});
  } else {
    round.status = trainer.run(std::vector<float>(4, 1e-3f), {}, steps, {});
  }
  round.weights = weights_of(*room, network);
  how = trainer.execution();
  return round;
}

TEST(CapturedTrainings, AreThePlainOnesToTheBit) {
  const std::int64_t steps = sized(900, 40);
  for (const std::int64_t batch : {0, 128}) {
    for (const bool controlled : {false, true}) {
      SCOPED_TRACE(::testing::Message() << "batch " << batch << ", controlled " << controlled);
      std::string how_plain, how_graph;
      const Round plain = run_as(train::Execution::kPlain, batch, steps, controlled, how_plain);
      const Round graph = run_as(train::Execution::kGraph, batch, steps, controlled, how_graph);
      EXPECT_EQ(how_graph.rfind("captured graph", 0), 0U) << how_graph;
      EXPECT_EQ(how_plain.rfind("plain", 0), 0U) << how_plain;
      EXPECT_EQ(graph.status.steps, steps);
      EXPECT_EQ(graph.status.steps, plain.status.steps);
      EXPECT_EQ(graph.status.nnz, plain.status.nnz);
      EXPECT_EQ(graph.weights, plain.weights);
    }
  }
}

TEST(Stops, AreToldToTheHostThroughMappedMemory) {
  const auto room = cuda::make_cuda_backend(cuda::Precision::kFp32);
  const std::vector<float> values(1000, 1.0f);
  Array<float> w(*room, std::span<const float>(values));
  Array<float> g(*room, std::span<const float>(values));
  const ProxTensor tensor{w.data(), g.data(), 1000, 0};
  const auto plan = room->make_plan({&tensor, 1}, 1);
  const float lambda = 0.0f;
  room->set_lambda(*plan, {&lambda, 1});
  for (int run = 0; run < 4; ++run) {
    // Every weight falls by 1/8 a step: the eighth empties all, in the first and third run.
    room->upload(w.data(), values.data(), w.bytes());
    room->set_rate(*plan, {0.125f});
    room->set_stop(*plan, run % 2 == 0 ? StopRule{{CountBand{0, 0}}, 1, 0} : StopRule{});
    for (int i = 0; i < 200; ++i) {
      room->prox_step(*plan);
      room->throttle();
    }
    room->synchronize();
    EXPECT_EQ(room->known_to_have_stopped(*plan), run % 2 == 0) << run;
    EXPECT_EQ(room->read_status(*plan).steps, run % 2 == 0 ? 8 : 200) << run;
  }
}

/// A training of its own, with its rows or those of another one.
struct Training {
  explicit Training(const DataSplit& data, Training* twin = nullptr)
      : network(*room, kPaperNet, 1000),
        trainer(*room, network, data, {train::LossKind::kMse, 0.1f, 100, 0, 123}, kGroups,
                twin == nullptr ? nullptr : &twin->trainer) {
    network.parameters().initialise(nn::Initialisation::kPytorch, 123);
  }
  void run(float lambda) {
    trainer.run(std::vector<float>(4, lambda), {}, sized(600, 40), {});
    weights = weights_of(*room, network);
  }
  std::unique_ptr<Backend> room = cuda::make_cuda_backend(cuda::Precision::kFp32);
  nn::Network network;
  train::Trainer trainer;
  std::vector<std::uint32_t> weights;
};

TEST(TrainingsTogether, ShareRowsAndHaveTheBitsOfOneAlone) {
  const DataSplit data = reference_data();
  constexpr std::size_t kTrainings = 4;
  const auto lambda_of = [](std::size_t i) { return 1e-4f * static_cast<float>(i + 1); };
  std::vector<std::unique_ptr<Training>> all;
  for (std::size_t i = 0; i < kTrainings; ++i) {
    all.push_back(std::make_unique<Training>(data, i == 0 ? nullptr : all.front().get()));
  }
  train::run_together(
      kTrainings, [&](std::size_t i) { all[i]->run(lambda_of(i)); }, [] {}, [] {});
  for (std::size_t i = 0; i < kTrainings; ++i) {
    Training alone(data);
    alone.run(lambda_of(i));
    EXPECT_EQ(all[i]->weights, alone.weights) << i;
  }
}

TEST(Stops, ADivergenceEndsTheRound) {
  const auto room = cuda::make_cuda_backend(cuda::Precision::kFp32);
  const DataSplit data = reference_data();
  nn::Network network(*room, kPaperNet, 1000);
  network.parameters().initialise(nn::Initialisation::kPytorch, 123);
  train::Trainer trainer(*room, network, data, {train::LossKind::kMse, 1e4f, 0, 1000, 123},
                         kGroups);
  const std::vector<float> lambda(4, 1e-4f);
  const StepStatus status = trainer.run(lambda, {}, 500, {});
  EXPECT_TRUE(status.stopped);
  EXPECT_GT(status.nonfinite, 0U);
  EXPECT_LT(status.steps, 500);
}

}  // namespace
}  // namespace cuthresh::testing
