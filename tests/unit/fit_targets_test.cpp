// Targets that layers share, bounds within them, and totals that are allocated to layers.

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "cuthresh/describe.hpp"
#include "cuthresh/model_file.hpp"
#include "tests/unit/fit_fixture.hpp"

namespace cuthresh {
namespace {

class Targets : public FitTest {
 protected:
  /// Layers of 96, 128 and 8 weights.
  FitConfig three_layers() const {
    FitConfig config = small_one_run();
    config.model.widths = {6, 16, 8, 1};
    config.sparsity.target_nnz.reset();
    config.run.force = true;
    return config;
  }

  std::string model_bytes() const { return bytes(folder_ / "run" / "model.safetensors"); }
};

TEST_F(Targets, OneOfTwoLayersTogetherIsExactWithOneLambda) {
  FitConfig config = three_layers();
  config.sparsity.layers = {{"fc3, fc1", 60}, {"fc2", 40}};
  const FitResult result = fit(config);
  ASSERT_TRUE(result.achieved) << result.why_stopped;
  EXPECT_EQ(result.layers[0].nnz + result.layers[2].nnz, 60);
  EXPECT_EQ(result.layers[1].nnz, 40);
  EXPECT_EQ(result.layers[0].lambda, result.layers[2].lambda);
  EXPECT_NE(result.layers[0].lambda, result.layers[1].lambda);
  EXPECT_EQ(result.layers[0].shared_target_nnz, 60);
  EXPECT_EQ(result.layers[2].shared_target_nnz, 60);
  EXPECT_FALSE(result.layers[0].target_nnz.has_value());
  EXPECT_EQ(result.layers[1].target_nnz, 40);
  EXPECT_TRUE(result.layers[0].reached && result.layers[1].reached && result.layers[2].reached);
  EXPECT_EQ(result.rounds[0].nnz, (std::vector<std::int64_t>{60, 40})) << "by their first layers";
  EXPECT_NE(bytes(folder_ / "run" / "config.toml").find("\"fc3, fc1\" = 60"), std::string::npos);
}

TEST_F(Targets, OneOfAllLayersTogetherIsTheTotal) {
  for (const char* method : {"gradient-median", "log-midpoint", "one-run"}) {
    for (const char* stop : {"first-hit", "converged"}) {
      SCOPED_TRACE(::testing::Message() << method << ", " << stop);
      FitConfig config = small();
      config.run.force = true;
      config.search.method = method;
      config.search.stop = stop;
      config.search.max_rounds = 6;
      if (config.search.method == "one-run") config.search.lambda.clear();
      const FitResult total = fit(config);
      const std::string model = model_bytes();
      config.sparsity.target_nnz.reset();
      config.sparsity.layers = {{"fc1, fc2", 40}};
      const FitResult shared = fit(config);
      EXPECT_EQ(model_bytes(), model);
      EXPECT_EQ(shared.achieved, total.achieved);
      EXPECT_EQ(shared.nnz, total.nnz);
      ASSERT_EQ(shared.rounds.size(), total.rounds.size());
      for (std::size_t i = 0; i < total.rounds.size(); ++i) {
        EXPECT_EQ(shared.rounds[i].lambda, total.rounds[i].lambda);
        EXPECT_EQ(shared.rounds[i].nnz, total.rounds[i].nnz);
      }
      for (std::size_t i = 0; i < 2; ++i) {
        EXPECT_EQ(shared.layers[i].nnz, total.layers[i].nnz);
        EXPECT_EQ(shared.layers[i].kkt_nonzero, total.layers[i].kkt_nonzero);
      }
    }
  }
}

TEST_F(Targets, SearchesByRetrainingTakeSharedOnesBesideOthers) {
  FitConfig config = three_layers();
  config.search.method = "gradient-median";
  config.search.lambda = {1e-5, 1e-1};
  config.sparsity.layers = {{"fc1, fc3", 60}, {"fc2", 60}};
  config.sparsity.tolerance = 0.25;
  const FitResult result = fit(config);
  ASSERT_TRUE(result.achieved) << result.why_stopped;
  EXPECT_NEAR(static_cast<double>(result.layers[0].nnz + result.layers[2].nnz), 60.0, 15.0);
  EXPECT_NEAR(static_cast<double>(result.layers[1].nnz), 60.0, 15.0);
  EXPECT_EQ(result.layers[0].lambda, result.layers[2].lambda);
  EXPECT_EQ(result.rounds.back().lambda.size(), 2U);
}

TEST_F(Targets, BoundsHoldForEachLayer) {
  FitConfig config = three_layers();
  config.sparsity.target_nnz = 100;
  const FitResult free = fit(config);
  ASSERT_EQ(free.nnz, 100);
  // Below what the first layer has by itself, and above what the last one has.
  const std::int64_t most = free.layers[0].nnz - 10;
  config.sparsity.bounds = {{"fc1", {0, most}}, {"fc3", {8, 8}}};
  const FitResult bounded = fit(config);
  ASSERT_TRUE(bounded.achieved) << bounded.why_stopped;
  EXPECT_EQ(bounded.nnz, 100);
  EXPECT_LE(bounded.layers[0].nnz, most);
  EXPECT_EQ(bounded.layers[2].nnz, 8);
}

TEST_F(Targets, AllocationsGiveEachLayerItsOwn) {
  // 96 and 16 weights, extents 22 and 17: of 40 in proportion to the sizes 34.3 and 5.7, to the
  // extents 22.6 and 17.4, of which the second takes 16.
  for (const auto& [allocation, first, second] :
       {std::tuple{"uniform", 34, 6}, std::tuple{"erdos-renyi", 24, 16}}) {
    FitConfig config = small();
    config.run.force = true;
    config.search.method = "one-run";
    config.search.lambda.clear();
    config.sparsity.allocation = allocation;
    const FitResult result = fit(config);
    ASSERT_TRUE(result.achieved) << result.why_stopped;
    EXPECT_EQ(result.layers[0].target_nnz, first) << allocation;
    EXPECT_EQ(result.layers[1].target_nnz, second) << allocation;
    EXPECT_EQ(result.layers[0].nnz, first);
    EXPECT_EQ(result.layers[1].nnz, second);
    EXPECT_EQ(result.target_nnz, 40);
  }
}

TEST_F(Targets, AreDescribedBeforeTheTraining) {
  FitConfig config = three_layers();
  config.sparsity.layers = {{"fc3, fc1", 60}, {"fc2", 40}};
  config.sparsity.bounds = {{"fc3", {2, 8}}};
  const std::vector<TargetRow> targets = describe_model(config).targets;
  ASSERT_EQ(targets.size(), 2U);
  EXPECT_EQ(targets[0].layers, "fc1, fc3");
  EXPECT_EQ(targets[0].weights, 104);
  EXPECT_EQ(targets[0].nonzeros, 60);
  EXPECT_EQ(targets[0].bounds, (std::vector<std::string>{"fc3: 2 to 8"}));
  EXPECT_EQ(targets[1].layers, "fc2");
  EXPECT_TRUE(targets[1].bounds.empty());
  config.sparsity.layers.clear();
  config.sparsity.bounds.clear();
  config.sparsity.target_sparsity = 0.5;
  const std::vector<TargetRow> all = describe_model(config).targets;
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].layers, "");
  EXPECT_EQ(all[0].nonzeros, 116);
}

TEST_F(Targets, AreDescribedWithTheDeviceAndItsSteps) {
  FitConfig config = three_layers();
  config.sparsity.target_nnz = 60;
  config.run.device = "cpu";
  ModelDescription description = describe_model(config);
  EXPECT_NE(description.device.find("cpu ("), std::string::npos) << description.device;
  EXPECT_EQ(description.execution, "plain: the CPU has no launches to save");
  config.run.execution = "plain";
  EXPECT_EQ(describe_model(config).execution, "plain: as run.execution wants it");
  config.run.execution = "graph";  // fit() refuses that; the layers are shown all the same
  description = describe_model(config);
  EXPECT_EQ(description.device.find("none here: run.execution"), 0U) << description.device;
  EXPECT_EQ(description.execution, "");
  EXPECT_EQ(description.rows.size(), 4U);
}

TEST_F(Targets, RefusesWhatCannotBe) {
  const auto refuses = [&](const FitConfig& config, const std::string& says) {
    const std::string said = message(config);
    EXPECT_NE(said.find(says), std::string::npos) << said;
  };
  const FitConfig base = three_layers();
  FitConfig config = base;
  config.sparsity.layers = {{"fc1, fc9", 60}};
  refuses(config, "use one of fc1, fc2, fc3");
  config.sparsity.layers = {{"fc1, fc1.weight", 60}};
  refuses(config, "the layer has a target already");
  config.sparsity.layers = {{"fc1, fc3", 105}};
  refuses(config, "above the 104 penalised weights of layers fc1, fc3");
  config = base;
  config.sparsity.target_nnz = 100;
  config.sparsity.bounds = {{"fc9", {1, 2}}};
  refuses(config, "sparsity.bounds.fc9");
  config.sparsity.bounds = {{"fc3", {1, 9}}};
  refuses(config, "the layer has only 8 weights");
  config.sparsity.bounds = {{"fc1", {96, 96}}, {"fc3", {8, 8}}};
  refuses(config, "allow from 104 to 232 nonzero weights in the network");
  config.sparsity.bounds = {{"fc1", {0, 10}}, {"fc2", {0, 10}}};
  refuses(config, "allow from 0 to 28");
  config.sparsity.bounds = {{"fc1", {5, 2}}};
  refuses(config, "the smaller one first");
  config.sparsity.bounds = {{"fc1", {1, 2, 3}}};
  refuses(config, "the fewest and the most");
  config.sparsity.bounds = {{"fc1", {1, 20}}};
  config.sparsity.allocation = "uniform";
  refuses(config, "leaves nothing to [sparsity.bounds]");
  config = base;
  config.sparsity.layers = {{"fc1", 50}, {"fc2, fc3", 60}};
  config.sparsity.bounds = {{"fc1", {1, 60}}};
  refuses(config, "share a target with others");
  config = base;
  config.sparsity.target_nnz = 2;
  config.sparsity.allocation = "erdos-renyi";
  refuses(config, "at least one nonzero weight");
}

}  // namespace
}  // namespace cuthresh
