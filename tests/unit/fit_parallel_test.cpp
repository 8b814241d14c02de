// search.parallel: trainings at the same time against the same trainings alone, to the bit.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <thread>

#include "cuthresh/model_file.hpp"
#include "tests/unit/fit_fixture.hpp"
#include "train/together.hpp"

namespace cuthresh {
namespace {

class Parallel : public FitTest {
 protected:
  /// Three rounds to the end, with an engine whose bits do not depend on the threads.
  FitConfig together(std::int64_t candidates) const {
    FitConfig config = small();
    config.data.train_rows = 80;
    config.train.steps = 90;
    config.train.eval_every = 30;
    config.sparsity.tolerance = 0.0;
    config.search.method = "interpolate";
    config.search.stop = "converged";
    config.search.max_rounds = 3;
    config.search.parallel = candidates;
    config.run.engine = "tiled";
    config.run.threads = candidates;
    config.run.force = true;
    return config;
  }

  /// One training at λ, from the weights of `model`; from the seed's without one.
  FitResult alone(FitConfig config, double lambda, const std::string& model = "") const {
    config.search.method = "fixed";
    config.search.lambda = {lambda};
    config.search.parallel = 1;
    config.search.warm_start = false;
    config.run.threads = 1;
    config.run.init = model;
    config.run.out = (folder_ / "alone").string();
    return fit(config);
  }

  void expect_alone(const FitConfig& config, const FitResult& result) const {
    for (const RoundResult& round : result.rounds) {
      SCOPED_TRACE("round " + std::to_string(round.round) + ", candidate " +
                   std::to_string(round.candidate));
      const FitResult one = alone(config, round.lambda.at(0));
      EXPECT_EQ(round.nnz, one.rounds[0].nnz);
      EXPECT_EQ(round.steps, one.rounds[0].steps);
      EXPECT_EQ(round.train_loss, one.train_loss);
      EXPECT_EQ(round.test_loss, one.test_loss);
      if (round.round != result.best_round || round.candidate != result.best_candidate) continue;
      EXPECT_EQ(bytes(result.folder + "/model.safetensors"),
                bytes(one.folder + "/model.safetensors"));
      EXPECT_EQ(result.layers[0].kkt_nonzero, one.layers[0].kkt_nonzero);
      EXPECT_EQ(result.train_loss, one.train_loss);
    }
  }

  static void expect_same_rounds(const FitResult& a, const FitResult& b) {
    ASSERT_EQ(a.rounds.size(), b.rounds.size());
    for (std::size_t i = 0; i < a.rounds.size(); ++i) {
      EXPECT_EQ(a.rounds[i].lambda, b.rounds[i].lambda) << i;
      EXPECT_EQ(a.rounds[i].nnz, b.rounds[i].nnz) << i;
      EXPECT_EQ(a.rounds[i].train_loss, b.rounds[i].train_loss) << i;
    }
    EXPECT_EQ(bytes(a.folder + "/model.safetensors"), bytes(b.folder + "/model.safetensors"));
  }
};

TEST_F(Parallel, EveryTrainingHasTheBitsOfItsLambdaAlone) {
  for (const std::int64_t candidates : {2, 3}) {
    const FitConfig config = together(candidates);
    const FitResult result = fit(config);
    ASSERT_EQ(result.rounds.size(), static_cast<std::size_t>(3 * candidates));
    EXPECT_EQ(result.rounds_done(), 3);
    expect_alone(config, result);
  }
}

TEST_F(Parallel, WhateverTheEngineWithAsManyThreads) {
  FitConfig config = together(2);
  config.run.engine = "auto";
  config.model.widths = {6, 40, 40, 1};
  config.sparsity.target_nnz = 500;
  config.search.max_rounds = 2;
  const FitResult result = fit(config);
  ASSERT_EQ(result.rounds.size(), 4u);
  expect_alone(config, result);
}

TEST_F(Parallel, MiniBatchesMomentumAndDropoutToo) {
  FitConfig config = together(3);
  config.search.max_rounds = 2;
  config.model.kind = "layers";
  config.model.widths.clear();
  config.model.layers = {"dense 16 tanh", "dropout 0.2", "batchnorm", "dense 1"};
  config.train.batch = 32;
  config.train.momentum = 0.5;
  config.train.schedule = "cosine";
  config.sparsity.target_nnz = 70;
  const FitResult result = fit(config);
  ASSERT_EQ(result.rounds.size(), 6u);
  expect_alone(config, result);
}

TEST_F(Parallel, TheResultDependsNeitherOnThreadsNorOnWhoEndsFirst) {
  struct Slow : FitObserver {
    bool cancelled() override {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      return false;
    }
  } slow;
  FitConfig config = together(3);
  config.search.stop = "first-hit";
  const FitResult first = fit(config);
  config.run.out += "-2";
  config.run.threads = 7;
  expect_same_rounds(first, fit(config, &slow));
}

TEST_F(Parallel, TheMedianIsTakenAtTheNearestOfTheRound) {
  // Alone, the second training is at the lower end, and the third λ the median at its weights.
  FitConfig config = together(1);
  config.search.method = "gradient-median";
  config.sparsity.target_nnz = 100;
  const FitResult one = fit(config);
  config.search.parallel = config.run.threads = 2;
  const FitResult two = fit(config);
  ASSERT_GE(one.rounds.size(), 3u);
  ASSERT_GE(two.rounds.size(), 3u);
  ASSERT_LT(std::abs(two.rounds[1].nnz[0] - 100), std::abs(two.rounds[0].nnz[0] - 100));
  EXPECT_EQ(two.rounds[1].lambda, one.rounds[1].lambda);
  EXPECT_EQ(two.rounds[2].lambda, one.rounds[2].lambda);
  EXPECT_EQ(two.rounds[2].round, 2);
  expect_alone(config, two);
}

TEST_F(Parallel, AWarmRoundBeginsWhereTheFewestAboveTheTargetEnded) {
  FitConfig config = together(3);
  config.search.warm_start = true;
  config.search.max_rounds = 2;
  const FitResult warm = fit(config);
  ASSERT_EQ(warm.rounds.size(), 6u);
  const RoundResult* from = nullptr;
  for (std::size_t i = 0; i < 3; ++i) {
    const RoundResult& round = warm.rounds[i];
    EXPECT_EQ(round.train_loss, alone(config, round.lambda[0]).train_loss) << i;
    if (round.nnz[0] > 40 && (from == nullptr || round.nnz < from->nnz)) from = &round;
  }
  ASSERT_NE(from, nullptr);
  const FitResult begun = alone(config, from->lambda[0]);
  const std::string model = (folder_ / "begun.safetensors").string();
  fs::copy_file(begun.folder + "/model.safetensors", model);
  for (std::size_t i = 3; i < 6; ++i) {
    const FitResult one = alone(config, warm.rounds[i].lambda[0], model);
    EXPECT_EQ(warm.rounds[i].nnz, one.rounds[0].nnz) << i;
    EXPECT_EQ(warm.rounds[i].train_loss, one.train_loss) << i;
  }
}

TEST_F(Parallel, ATrainingThatDivergesHurtsNoOther) {
  // At the upper end nothing is left after a step; everywhere else steps of 50 diverge.
  FitConfig config = together(3);
  config.train.learning_rate = 50.0;
  config.sparsity.penalise = {"*"};
  config.search.lambda = {1e-6, 1e6};
  Listener listener;
  const FitResult result = fit(config, &listener);
  ASSERT_GE(result.rounds.size(), 3u);
  EXPECT_FALSE(result.rounds[0].diverged);
  EXPECT_EQ(result.rounds[0].nnz[0], 0);
  EXPECT_EQ(result.rounds[0].train_loss, alone(config, 1e6).train_loss);
  EXPECT_TRUE(result.rounds[1].diverged);
  EXPECT_TRUE(std::isnan(result.rounds[1].train_loss));
  EXPECT_GE(result.best_round, 1);
  EXPECT_TRUE(std::isfinite(result.train_loss));
  EXPECT_NE(listener.all_notes().find("none (diverged)"), std::string::npos);
}

TEST_F(Parallel, CancellingEndsAllOfThem) {
  struct Canceller : FitObserver {
    bool cancelled() override { return true; }
  } canceller;
  FitConfig config = together(3);
  config.train.steps = 1'000'000'000;
  config.train.eval_every = kNever;
  const FitResult result = fit(config, &canceller);
  ASSERT_EQ(result.rounds.size(), 3u);
  for (const RoundResult& round : result.rounds) EXPECT_LT(round.steps, config.train.steps);
  EXPECT_EQ(result.best_round, 1) << "there is nothing else to keep";
  EXPECT_FALSE(result.achieved);
  EXPECT_NE(result.why_stopped.find("cancelled"), std::string::npos);
}

TEST_F(Parallel, CancellingIsHeardAfterTheFirstTrainingEndedToo) {
  struct Late : FitObserver {
    std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
    bool cancelled() override {
      return std::chrono::steady_clock::now() - begin > std::chrono::milliseconds(700);
    }
  } late;
  // The first ends by its hit, with no weight left; the other two never.
  FitConfig config = together(3);
  config.search.stop = "first-hit";
  config.search.lambda = {1e-9, 1e3};
  config.sparsity.target_nnz = 0;
  config.train.steps = 1'000'000'000;
  config.train.eval_every = kNever;
  const FitResult result = fit(config, &late);
  ASSERT_EQ(result.rounds.size(), 3u);
  EXPECT_LT(result.rounds[0].steps, 100);
  EXPECT_GT(result.rounds[1].steps, result.rounds[0].steps);
  EXPECT_EQ(result.nnz, 0) << "kept, as there is nothing else";
  EXPECT_FALSE(result.achieved);
}

TEST_F(Parallel, WhatIsWrittenNamesTheCandidates) {
  FitConfig config = together(2);
  config.search.max_rounds = 2;
  Listener listener;
  const FitResult result = fit(config, &listener);
  const std::string json = bytes(result.folder + "/result.json");
  EXPECT_NE(json.find("\"rounds\": 2,"), std::string::npos) << json;
  EXPECT_NE(json.find("\"trainings\": 4,"), std::string::npos);
  EXPECT_NE(json.find("\"candidate\": 2,"), std::string::npos);
  ASSERT_TRUE(result.candidate_steps_per_second);
  EXPECT_GT(*result.candidate_steps_per_second, 0.0);
  EXPECT_EQ(result.steps_total, 4 * config.train.steps);
  const std::string csv = bytes(result.folder + "/history.csv");
  std::size_t samples = 0;
  for (std::size_t at = csv.find("step,2,"); at != std::string::npos;
       at = csv.find("step,2,", at + 1)) {
    ++samples;
  }
  EXPECT_EQ(samples, 2u * 3u) << csv;
  EXPECT_NE(listener.all_notes().find("round 2: 2 λ at the same time left "), std::string::npos);
  EXPECT_NE(result.device.find("for each of 2 trainings"), std::string::npos);
}

TEST_F(Parallel, WhatCannotBeIsRefused) {
  FitConfig config = together(3);
  config.run.threads = 2;
  EXPECT_NE(message(config).find("run.threads"), std::string::npos);
  EXPECT_NE(message(config).find("(got 2)"), std::string::npos);
  config = together(2);
  config.sparsity.target_nnz.reset();
  config.sparsity.layers = {{"fc1", 20}, {"fc2", 6}};
  EXPECT_NE(message(config).find("search.parallel"), std::string::npos);
  config = together(2);
  config.search.method = "one-run";
  config.search.lambda.clear();
  EXPECT_NE(message(config).find("search.parallel"), std::string::npos);
  EXPECT_EQ(entries(), 0u) << "nothing is left behind";
}

TEST(Together, EachOnceAndTheFirstHere) {
  std::vector<int> calls(5, 0);
  const auto me = std::this_thread::get_id();
  train::run_together(
      5,
      [&](std::size_t i) {
        ++calls[i];
        EXPECT_EQ(std::this_thread::get_id() == me, i == 0);
      },
      [] {}, [] { FAIL(); });
  EXPECT_EQ(calls, std::vector<int>(5, 1));
}

TEST(Together, WhatIsThrownComesOutAtTheEnd) {
  for (const std::size_t thrower : {0u, 2u}) {
    std::atomic<bool> end = false;
    std::atomic<int> ended = 0;
    const auto work = [&](std::size_t i) {
      if (i == thrower) throw std::runtime_error("no " + std::to_string(i));
      while (!end) std::this_thread::yield();
      ++ended;
    };
    try {
      train::run_together(
          3, work, [] {}, [&] { end = true; });
      ADD_FAILURE() << "nothing was thrown";
    } catch (const std::runtime_error& error) {
      EXPECT_EQ(std::string(error.what()), "no " + std::to_string(thrower));
    }
    EXPECT_EQ(ended.load(), 2);
  }
}

TEST(Together, WhoWaitsIsCalledAndMayThrow) {
  std::atomic<bool> end = false;
  const auto work = [&](std::size_t i) {
    while (i == 1 && !end) std::this_thread::yield();
  };
  const auto waiting = [] { throw std::runtime_error("enough"); };
  EXPECT_THROW(train::run_together(2, work, waiting, [&] { end = true; }), std::runtime_error);
}

}  // namespace
}  // namespace cuthresh
