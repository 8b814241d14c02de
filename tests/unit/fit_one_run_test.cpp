// search.method = "one-run": one training that ends with exactly the target.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>

#include "cuthresh/model_file.hpp"
#include "tests/unit/fit_fixture.hpp"

namespace cuthresh {
namespace {

class OneRun : public FitTest {
 protected:
  FitConfig one_run() const {
    FitConfig config = small_one_run();
    config.run.force = true;
    return config;
  }

  static std::int64_t nonzeros(const FitResult& result, const std::string& tensor) {
    const ModelFile model = read_safetensors(result.folder + "/model.safetensors");
    for (const NamedTensor& t : model.tensors) {
      if (t.name != tensor) continue;
      std::int64_t count = 0;
      for (const float v : t.values) count += v != 0.0f ? 1 : 0;
      return count;
    }
    ADD_FAILURE() << "no tensor " << tensor;
    return -1;
  }
};

TEST_F(OneRun, EndsWithExactlyTheTarget) {
  FitConfig config = one_run();
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    for (const std::int64_t target : {1, 7, 40, 100, 111, 112}) {
      SCOPED_TRACE(::testing::Message() << "seed " << seed << ", target " << target);
      config.run.seed = seed;
      config.sparsity.target_nnz = target;
      const FitResult result = fit(config);
      ASSERT_TRUE(result.achieved) << result.why_stopped;
      EXPECT_EQ(result.outcome, Outcome::kKept);
      EXPECT_EQ(result.nnz, target);
      EXPECT_EQ(nonzeros(result, "fc1.weight") + nonzeros(result, "fc2.weight"), target);
      EXPECT_EQ(result.rounds.size(), 1U);
      EXPECT_EQ(result.steps_total, config.train.steps);
    }
  }
}

TEST_F(OneRun, LayerByLayerToo) {
  FitConfig config = one_run();
  config.model.widths = {6, 16, 8, 1};
  config.sparsity.target_nnz.reset();
  config.sparsity.layers = {{"fc1", 31}, {"fc2", 50}};
  for (const double momentum : {0.0, 0.9}) {
    config.train.momentum = momentum;
    const FitResult result = fit(config);
    ASSERT_TRUE(result.achieved) << result.why_stopped;
    EXPECT_EQ(nonzeros(result, "fc1.weight"), 31);
    EXPECT_EQ(nonzeros(result, "fc2.weight"), 50);
    EXPECT_EQ(nonzeros(result, "fc3.weight"), 8) << "no target";
    EXPECT_NE(result.layers[0].lambda, result.layers[1].lambda);
    EXPECT_EQ(result.layers[2].lambda, 0.0);
    EXPECT_TRUE(result.layers[0].reached && result.layers[1].reached);
  }
}

TEST_F(OneRun, MiniBatchesWithAScheduleToo) {
  FitConfig config = one_run();
  config.train.batch = 32;
  config.train.momentum = 0.9;
  config.train.schedule = "cosine";
  const FitResult result = fit(config);
  ASSERT_TRUE(result.achieved) << result.why_stopped;
  EXPECT_EQ(result.nnz, 40);
}

TEST_F(OneRun, TheSurvivorsAreTrainedOnAndTheLossBeforeIsSaid) {
  FitConfig config = one_run();
  const FitResult result = fit(config);
  ASSERT_TRUE(result.before_debias.has_value());
  EXPECT_EQ(result.before_debias->steps, 320) << "four fifths of the steps";
  EXPECT_LT(result.train_loss, result.before_debias->train_loss);
  ASSERT_TRUE(result.layers[0].gradient_nonzero.has_value());

  // Without a debias phase the result is the network before it.
  config.search.debias = 0.0;
  config.search.ramp = {0.05, 0.6};
  const FitResult kept = fit(config);
  ASSERT_TRUE(kept.before_debias.has_value());
  EXPECT_EQ(kept.before_debias->steps, 400);
  EXPECT_EQ(kept.before_debias->train_loss, kept.train_loss);
  EXPECT_EQ(kept.nnz, 40);
}

TEST_F(OneRun, HistoryShowsLambdaAndTheCount) {
  FitConfig config = one_run();
  config.train.eval_every = 20;
  fit(config);
  std::ifstream file(folder_ / "run" / "history.csv");
  std::string line;
  std::getline(file, line);
  std::vector<double> lambda, nnz;
  while (std::getline(file, line)) {
    if (line.rfind("step,", 0) != 0) continue;
    std::istringstream row(line);
    std::vector<std::string> cells;
    for (std::string cell; std::getline(row, cell, ',');) cells.push_back(cell);
    lambda.push_back(std::stod(cells[3]));
    nnz.push_back(std::stod(cells[4]));
  }
  ASSERT_EQ(lambda.size(), 20U);
  EXPECT_EQ(lambda.front(), 0.0) << "before the ramp";
  EXPECT_GT(lambda[10], 0.0);
  EXPECT_EQ(nnz.front(), 112.0);
  EXPECT_EQ(nnz.back(), 40.0);
}

TEST_F(OneRun, SaysWhenFewerCouldBeKept) {
  FitConfig config = one_run();
  // With all biases of the hidden layer far below zero nothing passes: no weight of it has a
  // gradient, and those that begin at zero cannot become anything else.
  config.model.widths = {6, 4, 1};
  config.sparsity.target_nnz.reset();
  config.sparsity.layers = {{"fc1", 20}};
  ModelFile model;
  const auto tensor = [&](const char* name, std::vector<std::int64_t> shape,
                          std::vector<float> values) {
    model.tensors.push_back({name, std::move(shape), std::move(values)});
  };
  std::vector<float> few(24, 0.0f);
  few[2] = few[9] = 0.5f;
  tensor("fc1.weight", {4, 6}, few);
  tensor("fc1.bias", {4}, std::vector<float>(4, -100.0f));
  tensor("fc2.weight", {1, 4}, std::vector<float>(4, 0.5f));
  tensor("fc2.bias", {1}, {0.5f});
  const std::string init = (folder_ / "init.safetensors").string();
  write_safetensors(init, model);
  config.run.init = init;
  const FitResult result = fit(config);
  EXPECT_FALSE(result.achieved);
  EXPECT_EQ(result.outcome, Outcome::kMissed);
  EXPECT_LE(nonzeros(result, "fc1.weight"), 2);
  EXPECT_NE(result.why_stopped.find("fewer weights than wanted"), std::string::npos)
      << result.why_stopped;
}

TEST_F(OneRun, ADivergenceIsSaid) {
  FitConfig config = one_run();
  config.train.learning_rate = 1e3;
  const FitResult result = fit(config);
  EXPECT_FALSE(result.achieved);
  EXPECT_NE(result.why_stopped.find("diverged"), std::string::npos) << result.why_stopped;
}

TEST_F(OneRun, RefusesWhatCannotBe) {
  const auto refuses = [&](const FitConfig& config, const std::string& says) {
    try {
      fit(config);
      FAIL() << "accepted; expected: " << says;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
    }
  };
  FitConfig config = one_run();
  config.sparsity.target_nnz = 0;
  refuses(config, "sparsity.target_nnz");
  config = one_run();
  config.train.steps = 3;
  refuses(config, "too few for the phases");
  refuses(config, "take more steps, or other search.ramp, search.finish and search.debias");
  config = one_run();
  config.search.ramp = {0.5, 0.4};
  refuses(config, "search.ramp");
  config = one_run();
  config.search.ramp = {0.1, 0.9};
  refuses(config, "search.finish and search.debias");
  config = one_run();
  config.search.lambda = {1e-5, 1e-3};
  refuses(config, "search.lambda");
}

}  // namespace
}  // namespace cuthresh
