// Trainings of small networks by fused steps, against the same trainings layer by layer: within
// what other sums give; and what a fused step asks of CUDA.

#include <gmock/gmock.h>

#include <bit>

#include "cuda/captured_rig.hpp"

namespace cuthresh::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using train::Execution;

constexpr std::uint32_t kFusedSeed = 911;

TrainingCase fused_case(std::int64_t batch, bool classes) {
  Random random(kFusedSeed);
  TrainingCase c{nn::MlpSpec{{3, 18, 7, 2}, Activation::kTanh, 0.01f},
                 number_data(random, 23, 9, classes),
                 {}};
  c.settings.loss = classes ? train::LossKind::kCrossEntropy : train::LossKind::kMse;
  c.settings.learning_rate = 0.1f;
  c.settings.batch = batch;
  c.settings.sample_every = 0;
  c.settings.seed = kFusedSeed;
  c.settings.longest_chunk = 1e9;  // the interpreter is slow
  c.lambda = 0.01f;
  return c;
}

/// Both trainings end at the same step with the same counts, and weights and losses that differ as
/// small differences grow: by `tolerance` of the largest weight. Gives the plain one.
Outcome expect_close(const TrainingCase& given, double tolerance) {
  SCOPED_TRACE(::testing::Message() << "seed " << kFusedSeed);
  TrainingRig plain_rig(given, Execution::kPlain);
  const Outcome plain = plain_rig.run();
  TrainingRig fused_rig(given, Execution::kFused);
  const Outcome fused = fused_rig.run();
  EXPECT_THAT(fused.execution, StartsWith("fused in two kernels; "));
  EXPECT_EQ(fused.status.steps, plain.status.steps);
  EXPECT_EQ(fused.status.stopped, plain.status.stopped);
  EXPECT_EQ(fused.status.nnz, plain.status.nnz);
  EXPECT_EQ(fused.seen.size(), plain.seen.size());
  for (std::size_t i = 0; i < std::min(fused.seen.size(), plain.seen.size()); ++i) {
    EXPECT_EQ(fused.seen[i].step, plain.seen[i].step);
    EXPECT_NEAR(fused.seen[i].loss.value(), plain.seen[i].loss.value(), 1e-5);
  }
  double largest = 0.0, difference = 0.0;
  for (std::size_t i = 0; i < plain.weights.size(); ++i) {
    const auto want = static_cast<double>(std::bit_cast<float>(plain.weights[i]));
    const auto got = static_cast<double>(std::bit_cast<float>(fused.weights[i]));
    largest = std::max(largest, std::fabs(want));
    difference = std::max(difference, std::fabs(got - want));
  }
  EXPECT_LE(difference, tolerance * largest);
  return plain;
}

TEST(FusedTraining, FullBatchWithLooks) {
  TrainingCase c = fused_case(0, false);
  c.settings.sample_every = 7;
  const Outcome plain = expect_close(c, 2e-6);
  EXPECT_GT(plain.status.total, 10U);
  EXPECT_LT(plain.status.total, 190U) << "the case must lose weights";
}

TEST(FusedTraining, MiniBatchesClassesMomentumAndASchedule) {
  TrainingCase c = fused_case(7, true);  // the last of an epoch has 2 rows
  c.settings.step = StepKind::kNesterov;
  c.settings.momentum = 0.9f;
  c.settings.schedule = Schedule{.kind = ScheduleKind::kCosine, .learning_rate = 0.05};
  c.settings.sample_every = 9;
  expect_close(c, 1e-5);
}

TEST(FusedTraining, OneRunWithAllItsPhases) {
  TrainingCase c = fused_case(0, false);
  c.schedule = search::make_run_schedule(80, {.finish = 0.1}, 3);
  c.target = 25;
  const Outcome plain = expect_close(c, 1e-5);
  EXPECT_EQ(plain.status.total, 25U);
  EXPECT_EQ(plain.status.steps, 80);
}

TEST(FusedTraining, AStopIsItsSteps) {
  TrainingCase c = fused_case(0, false);
  c.lambda = 0.1f;
  c.rule = {{CountBand{0, 90}}, 1, 3};
  const Outcome plain = expect_close(c, 2e-6);
  EXPECT_TRUE(plain.status.stopped);
  EXPECT_LT(plain.status.steps, 40);
}

// Captured or enqueued one by one, fused steps are the same steps.
TEST(FusedTraining, CapturedToTheBit) {
  TrainingCase c = fused_case(7, true);
  TrainingRig captured_rig(c, Execution::kFused);
  const Outcome captured = captured_rig.run();
  EXPECT_THAT(captured.execution, HasSubstr("captured graph"));
  c.settings.sample_every = 1;
  TrainingRig rig(c, Execution::kFused);
  const Outcome looked_at = rig.run();
  EXPECT_THAT(looked_at.execution, HasSubstr("plain"));
  EXPECT_EQ(captured.weights, looked_at.weights);
  EXPECT_EQ(captured.status.nnz, looked_at.status.nnz);
}

TEST(FusedTraining, AutoTakesItAndOthersDoNot) {
  TrainingCase c = fused_case(0, false);
  c.steps = 2;
  const auto execution = [&](Execution by) { return TrainingRig(c, by).run().execution; };
  EXPECT_THAT(execution(Execution::kAuto), StartsWith("fused in two kernels; "));
  EXPECT_THAT(execution(Execution::kGraph), Not(HasSubstr("fused")));
  c.network = nn::MlpSpec{{3, 257, 2}, Activation::kTanh, 0.01f};
  EXPECT_THAT(execution(Execution::kFused), StartsWith("not fused: a layer of 3 to 257"));
  EXPECT_THAT(execution(Execution::kAuto), Not(HasSubstr("fused")));
  c.network = layers({1, 1, 3}, {"dense 4 relu", "dropout 0.5", "dense 2"});
  EXPECT_THAT(execution(Execution::kFused), StartsWith("not fused: the network has a layer that"));
  c = fused_case(0, false);
  c.steps = 2;
  c.max_rows = 20;
  EXPECT_THAT(execution(Execution::kFused), StartsWith("not fused: 23 rows a step do not go"));
}

TEST(FusedTraining, AStepIsTwoLaunchesAndNothingElse) {
  TrainingCase c = fused_case(0, false);
  c.settings.sample_every = 1;
  TrainingRig rig(c, Execution::kFused);
  rig.run();
  std::vector<std::string> kernels;
  bool noted = false;
  rig.run([&] {
    if (noted) {
      kernels = simt::recording().kernels();
      EXPECT_EQ(simt::recording().allocations(), 0U);
      return train::Trainer::Wish::kEnd;
    }
    simt::recording().clear();
    noted = true;
    return train::Trainer::Wish::kGoOn;
  });
  EXPECT_THAT(kernels, ElementsAre(HasSubstr("small_network_pass_kernel"),
                                   HasSubstr("small_network_step_kernel")));
}

}  // namespace
}  // namespace cuthresh::testing
