// Algorithm 3 on small problems against a float64 recursion, and what must not depend on threads.

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <map>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "cuthresh/error.hpp"
#include "support/engines.hpp"
#include "support/late_backend.hpp"
#include "support/reference_net.hpp"
#include "support/seeded.hpp"
#include "train/batches.hpp"
#include "train/prepare.hpp"
#include "train/trainer.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::int64_t kRows = 23;

Dataset random_data(Random& random, std::int64_t rows) {
  Dataset data;
  data.rows = rows;
  data.features = 3;
  data.outputs = 2;
  data.inputs = random.vector(static_cast<std::size_t>(rows * 3), -1.0f, 1.0f);
  data.targets = random.vector(static_cast<std::size_t>(rows * 2), -1.0f, 1.0f);
  return data;
}

TEST(EpochOrder, IsAPermutationThatTheSeedFixes) {
  for (const std::int64_t rows : {1L, 2L, 17L, 5000L}) {
    const auto order = train::epoch_order(rows, 42, 3);
    EXPECT_EQ(order, train::epoch_order(rows, 42, 3));
    std::vector<std::int64_t> sorted = order;
    std::sort(sorted.begin(), sorted.end());
    std::vector<std::int64_t> all(static_cast<std::size_t>(rows));
    std::iota(all.begin(), all.end(), std::int64_t{0});
    EXPECT_EQ(sorted, all);
  }
  EXPECT_NE(train::epoch_order(5000, 42, 3), train::epoch_order(5000, 42, 4));
  EXPECT_NE(train::epoch_order(5000, 42, 3), train::epoch_order(5000, 43, 3));
}

TEST(EpochOrder, PutsEveryRowEverywhereAboutEquallyOften) {
  // 3 rows, 6000 epochs: each of the 6 orders has expectation 1000 and standard deviation 29.
  std::map<std::vector<std::int64_t>, int> seen;
  for (std::uint32_t epoch = 0; epoch < 6000; ++epoch) ++seen[train::epoch_order(3, 7, epoch)];
  ASSERT_EQ(seen.size(), 6U);
  for (const auto& [order, times] : seen) EXPECT_NEAR(times, 1000, 5 * 29);
}

class Training : public ::testing::TestWithParam<std::int64_t> {};

TEST_P(Training, FollowsAFloat64Recursion) {
  const std::int64_t batch = GetParam();  // 0: full; 7: the last batch of an epoch has 2 rows
  Random random(5);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  DataSplit data;
  data.train = random_data(random, kRows);
  data.test = random_data(random, 0);

  const auto backend = cpu::make_cpu_backend("auto", 2);
  nn::Network network(*backend, nn::MlpSpec{{3, 6, 2}, Activation::kTanh, 0.01f},
                      train::Trainer::rows_needed(kRows, batch, 1000));
  nn::Parameters& parameters = network.parameters();
  parameters.initialise(nn::Initialisation::kGlorot, 9);
  constexpr std::uint64_t kSeed = 77;
  const std::vector<std::int32_t> groups = {0, -1, 1, -1};
  train::Trainer trainer(*backend, network, data, {train::LossKind::kMse, 0.2f, batch, 1, kSeed},
                         groups);

  ReferenceNet net;
  net.widths = {3, 6, 2};
  net.activation = "tanh";
  std::vector<std::vector<double>*> all;
  net.weights.resize(2);
  net.biases.resize(2);
  for (std::size_t l = 0; l < 2; ++l) {
    for (const std::size_t i : {2 * l, 2 * l + 1}) {
      std::vector<float> v(static_cast<std::size_t>(parameters.list()[i].numel));
      backend->download(v.data(), parameters.value(i), v.size() * sizeof(float));
      (i % 2 == 0 ? net.weights[l] : net.biases[l]).assign(v.begin(), v.end());
    }
  }

  const std::vector<double> lambda = {0.02, 0.05};
  const double alpha = 0.2;
  const std::int64_t steps = 60;
  std::vector<double> losses;
  const std::int64_t rows_a_batch = batch == 0 ? kRows : batch;
  const std::int64_t batches = (kRows + rows_a_batch - 1) / rows_a_batch;
  for (std::int64_t step = 0; step < steps; ++step) {
    std::vector<std::int64_t> order(kRows);
    std::iota(order.begin(), order.end(), std::int64_t{0});
    if (batch > 0)
      order = train::epoch_order(kRows, kSeed, static_cast<std::uint32_t>(step / batches));
    std::vector<std::vector<double>> x, y;
    const std::int64_t first = step % batches * rows_a_batch;
    for (std::int64_t r = first; r < std::min(first + rows_a_batch, kRows); ++r) {
      const auto row = static_cast<std::size_t>(order[static_cast<std::size_t>(r)]);
      x.emplace_back(data.train.inputs.begin() + static_cast<std::ptrdiff_t>(row * 3),
                     data.train.inputs.begin() + static_cast<std::ptrdiff_t>(row * 3 + 3));
      y.emplace_back(data.train.targets.begin() + static_cast<std::ptrdiff_t>(row * 2),
                     data.train.targets.begin() + static_cast<std::ptrdiff_t>(row * 2 + 2));
    }
    losses.push_back(net.mse(x, y));
    ReferenceNet next = net;
    for (std::size_t l = 0; l < 2; ++l) {
      for (const bool bias : {false, true}) {
        std::vector<double>& p = bias ? net.biases[l] : net.weights[l];
        for (std::size_t i = 0; i < p.size(); ++i) {
          const double before = p[i];
          p[i] = before + 1e-6;
          const double up = net.mse(x, y);
          p[i] = before - 1e-6;
          const double down = net.mse(x, y);
          p[i] = before;
          const double z = before - alpha * (up - down) / 2e-6;
          const double t = bias ? 0.0 : alpha * lambda[l];
          (bias ? next.biases[l] : next.weights[l])[i] =
              std::copysign(std::max(std::abs(z) - t, 0.0), z);
        }
      }
    }
    net = next;
  }

  std::vector<double> got;
  const std::vector<float> lambda32 = {0.02f, 0.05f};
  const StepStatus status = trainer.run(
      lambda32, {}, steps, [&](std::int64_t, const StepStatus&, const train::Sample& sample) {
        got.push_back(sample.loss.value());
      });
  ASSERT_EQ(got.size(), losses.size());
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], losses[i], 2e-5) << "step " << i;
  std::uint64_t nnz = 0;
  for (std::size_t l = 0; l < 2; ++l) {
    std::vector<float> w(net.weights[l].size());
    backend->download(w.data(), parameters.value(2 * l), w.size() * sizeof(float));
    for (std::size_t i = 0; i < w.size(); ++i) {
      EXPECT_NEAR(static_cast<double>(w[i]), net.weights[l][i], 2e-5);
      nnz += net.weights[l][i] != 0.0 ? 1 : 0;
    }
  }
  EXPECT_EQ(status.total, nnz);
  EXPECT_GT(nnz, 0U);
  EXPECT_LT(nnz, 30U) << "the case must show sparsity";
}

INSTANTIATE_TEST_SUITE_P(Batches, Training, ::testing::Values(0, 7));

TEST(Training, FullGradientInPartsEqualsTheWhole) {
  Random random(6);
  DataSplit data;
  data.train = random_data(random, 3000);
  data.test = random_data(random, 10);
  const auto backend = cpu::make_cpu_backend("reference", 2);
  std::vector<std::vector<float>> gradients;
  for (const std::int64_t batch : {0L, 8L}) {  // with batches the rows go through in parts of 1024
    nn::Network network(*backend, nn::MlpSpec{{3, 20, 2}, Activation::kSilu, 0.01f},
                        train::Trainer::rows_needed(3000, batch, 1000));
    network.parameters().initialise(nn::Initialisation::kPytorch, 1);
    const std::vector<std::int32_t> groups = {0, -1, 1, -1};
    train::Trainer trainer(*backend, network, data, {train::LossKind::kMse, 0.1f, batch, 1, 1},
                           groups);
    trainer.full_gradient();
    std::vector<float> g(60);
    backend->download(g.data(), network.parameters().gradient(0), g.size() * sizeof(float));
    gradients.push_back(g);
    EXPECT_TRUE(trainer.evaluate_test().has_value());
  }
  for (std::size_t i = 0; i < 60; ++i) EXPECT_NEAR(gradients[0][i], gradients[1][i], 1e-6f);
}

TEST(Training, ReferenceAndTiledGiveTheSameWeightsOnEveryThreadCountAndInstructionSet) {
  Random random(8);
  DataSplit data;
  data.train = random_data(random, 700);
  data.test = random_data(random, 0);
  std::vector<std::vector<float>> results;
  for (const Room& room : all_rooms()) {
    if (room.engine != "reference" && room.engine != "tiled") continue;
    const auto backend = room.make();
    nn::Network network(*backend, nn::MlpSpec{{3, 64, 33, 2}, Activation::kGelu, 0.01f}, 700);
    network.parameters().initialise(nn::Initialisation::kPytorch, 4);
    const std::vector<std::int32_t> groups = {0, -1, 1, -1, 2, -1};
    train::Trainer trainer(*backend, network, data, {train::LossKind::kMse, 0.1f, 0, 1, 1}, groups);
    const std::vector<float> lambda = {1e-3f, 1e-3f, 1e-3f};
    trainer.run(lambda, {}, 20, {});
    std::vector<float> w(64 * 33);
    backend->download(w.data(), network.parameters().value(2), w.size() * sizeof(float));
    results.push_back(w);
  }
  ASSERT_GE(results.size(), 4U);
  // == takes 0 and −0 for equal, and nothing else that differs in a bit (no value here is NaN): an
  // engine may leave out a product with a row of zeros, whose −0 terms could have made the other
  // zero.
  for (const auto& w : results) EXPECT_EQ(w, results.front());
}

struct RoundSeen {
  StepStatus status;
  std::vector<std::int64_t> sampled;  // step numbers
  std::vector<double> losses;
  std::vector<std::vector<std::uint64_t>> counts;
  std::int64_t enqueued = 0;
  std::vector<float> weights;
};

RoundSeen round_told_every(std::int64_t late, std::int64_t batch, const StopRule& rule,
                           float learning_rate) {
  Random random(21);
  DataSplit data;
  data.train = random_data(random, 40);
  data.test = random_data(random, 0);
  LateBackend backend(cpu::make_cpu_backend("reference", 1), late);
  nn::Network network(backend, nn::MlpSpec{{3, 16, 2}, Activation::kIdentity, 0.01f},
                      train::Trainer::rows_needed(40, batch, 1000));
  network.parameters().initialise(nn::Initialisation::kPytorch, 4);
  const std::vector<std::int32_t> groups = {0, -1, 1, -1};
  train::Trainer trainer(backend, network, data,
                         {train::LossKind::kMse, learning_rate, batch, 7, 1}, groups);
  const std::vector<float> lambda = {0.02f, 0.02f};
  RoundSeen seen;
  seen.status =
      trainer.run(lambda, rule, 200,
                  [&](std::int64_t step, const StepStatus& status, const train::Sample& sample) {
                    EXPECT_EQ(step, status.steps) << "a step that was not taken is reported";
                    seen.sampled.push_back(step);
                    seen.losses.push_back(sample.loss.value());
                    seen.counts.push_back(status.nnz);
                  });
  seen.enqueued = backend.enqueued;
  for (std::size_t i = 0; i < network.parameters().list().size(); ++i) {
    std::vector<float> w(static_cast<std::size_t>(network.parameters().list()[i].numel));
    backend.download(w.data(), network.parameters().value(i), w.size() * sizeof(float));
    seen.weights.insert(seen.weights.end(), w.begin(), w.end());
  }
  return seen;
}

void expect_the_same_round(const RoundSeen& late, const RoundSeen& prompt) {
  EXPECT_EQ(late.status.steps, prompt.status.steps);
  EXPECT_EQ(late.status.nnz, prompt.status.nnz);
  EXPECT_EQ(late.status.nonfinite, prompt.status.nonfinite);
  EXPECT_EQ(late.status.stopped, prompt.status.stopped);
  EXPECT_EQ(late.sampled, prompt.sampled);
  EXPECT_EQ(late.losses, prompt.losses);
  EXPECT_EQ(late.counts, prompt.counts);
  ASSERT_EQ(late.weights.size(), prompt.weights.size());
  for (std::size_t i = 0; i < late.weights.size();
       ++i) {  // by bits: after a divergence some are NaN
    EXPECT_EQ(std::bit_cast<std::uint32_t>(late.weights[i]),
              std::bit_cast<std::uint32_t>(prompt.weights[i]));
  }
}

TEST(Training, KnowingLateChangesNothing) {
  for (const std::int64_t batch : {0L, 7L}) {
    SCOPED_TRACE(::testing::Message() << "batch " << batch);
    // The counts fall from 80: a stop by count on the way, none at all, and one that lies on a step
    // that is sampled and looked at anyway.
    for (const std::uint64_t most : {70U, 60U, 50U, 0U}) {
      SCOPED_TRACE(::testing::Message() << "stop at " << most);
      const StopRule rule = most == 0 ? StopRule{} : StopRule{{CountBand{0, most}}, 1, 0};
      const RoundSeen prompt = round_told_every(1, batch, rule, 0.1f);
      EXPECT_EQ(prompt.status.stopped, most != 0);
      EXPECT_EQ(prompt.enqueued, prompt.status.steps);
      expect_the_same_round(round_told_every(16, batch, rule, 0.1f), prompt);
    }
  }
  // Samples fall on steps 1, 8, 15, 22, …: a stop at one of them would show nothing.
  const RoundSeen late = round_told_every(16, 0, {{CountBand{0, 60}}, 1, 0}, 0.1f);
  EXPECT_GT(late.enqueued, late.status.steps) << "the case must enqueue steps beyond the stop";
}

TEST(Training, KnowingLateChangesNothingAboutADivergence) {
  const RoundSeen prompt = round_told_every(1, 0, {}, 30.0f);
  EXPECT_GT(prompt.status.nonfinite, 0U);
  const RoundSeen late = round_told_every(16, 0, {}, 30.0f);
  expect_the_same_round(late, prompt);
  EXPECT_GT(late.enqueued, late.status.steps) << "the case must enqueue steps beyond the stop";
}

TEST(Operations, WhatARoomLacksIsAnInputErrorWithItsReason) {
  LateBackend backend(cpu::make_cpu_backend("reference", 1), 1);
  FitConfig config;
  config.search.lambda = {1e-7, 1e-3};
  const auto message = [&](std::optional<Operation> lacking) {
    backend.lacking = lacking;
    try {
      train::check_operations(backend, config, nn::build_graph(nn::MlpSpec{{3, 2}}));
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("fine");
  };
  EXPECT_EQ(message({}), "fine");
  for (const Operation operation : {Operation::kDense, Operation::kMse, Operation::kProxStep,
                                    Operation::kSelect, Operation::kKkt}) {
    const std::string text = message(operation);
    EXPECT_NE(text.find("not in this room"), std::string::npos) << text;
    EXPECT_NE(text.find("run.device"), std::string::npos) << text;
  }
  EXPECT_EQ(message(Operation::kSoftmaxCrossEntropy), "fine") << "not needed with mse";
  config.search.method = "log-midpoint";
  EXPECT_EQ(message(Operation::kSelect), "fine") << "needed for the median only";
  config.search.lambda.clear();
  EXPECT_NE(message(Operation::kSelect), "fine") << "and for finding a bracket";
}

}  // namespace
}  // namespace cuthresh::testing
