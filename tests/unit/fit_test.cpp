// fit() from configuration to run folder, on problems small enough to run in a second.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "cuthresh/model_file.hpp"
#include "tests/unit/fit_fixture.hpp"

namespace cuthresh {
namespace {

std::int64_t count(const ModelFile& model, const std::string& name) {
  std::int64_t nnz = 0;
  for (const NamedTensor& tensor : model.tensors) {
    if (tensor.name != name) continue;
    for (const float v : tensor.values) nnz += v != 0.0f ? 1 : 0;
  }
  return nnz;
}

TEST_F(FitTest, MeetsATargetAndWritesWhatItSays) {
  const FitResult result = fit(small());
  ASSERT_TRUE(result.achieved) << result.why_stopped;
  EXPECT_GE(result.nnz, 38);
  EXPECT_LE(result.nnz, 42);
  EXPECT_EQ(result.numel, 6 * 16 + 16);
  const ModelFile model = read_safetensors((folder_ / "run" / "model.safetensors").string());
  ASSERT_EQ(model.tensors.size(), 4U);
  EXPECT_EQ(count(model, "fc1.weight") + count(model, "fc2.weight"), result.nnz);
  EXPECT_EQ(count(model, "fc1.weight"), result.layers[0].nnz);
  EXPECT_TRUE(fs::exists(folder_ / "run" / "result.json"));
  EXPECT_TRUE(fs::exists(folder_ / "run" / "history.csv"));
  // The resolved configuration is complete: running it again gives the same bits.
  FitConfig again = load_config((folder_ / "run" / "config.toml").string());
  again.run.out = (folder_ / "again").string();
  fit(again);
  EXPECT_EQ(bytes(folder_ / "again" / "model.safetensors"),
            bytes(folder_ / "run" / "model.safetensors"));
}

TEST_F(FitTest, SaysHowTheTargetWasMet) {
  FitConfig config = small();
  FitResult result = fit(config);
  EXPECT_EQ(result.outcome, Outcome::kCrossed);
  EXPECT_LT(result.rounds.back().steps, config.train.steps);

  config.search.stop = "converged";
  config.search.max_rounds = 60;
  config.sparsity.tolerance = 0.1;
  config.run.force = true;
  result = fit(config);
  ASSERT_TRUE(result.achieved) << result.why_stopped;
  EXPECT_EQ(result.outcome, Outcome::kConverged);
  for (const RoundResult& round : result.rounds) EXPECT_EQ(round.steps, config.train.steps);
}

TEST_F(FitTest, ACrossingEarlyInARoundCanBeLeftOut) {
  FitConfig config = small();
  config.search.first_hit_after = 150;
  const FitResult result = fit(config);
  for (const RoundResult& round : result.rounds) EXPECT_GT(round.steps, 150);
}

TEST_F(FitTest, LayerwiseTargetsWithABracketOfItsOwn) {
  FitConfig config = small();
  config.model.widths = {6, 16, 8, 1};
  config.sparsity.target_nnz.reset();
  config.sparsity.layers = {{"fc1", 40}, {"fc2", 50}};
  config.sparsity.tolerance = 0.1;
  config.sparsity.layers_required = 1;
  config.search.lambda.clear();  // automatic
  config.search.max_rounds = 40;
  Listener listener;
  const FitResult result = fit(config, &listener);
  ASSERT_TRUE(result.achieved) << result.why_stopped;
  ASSERT_EQ(result.layers.size(), 3U);
  EXPECT_TRUE(result.layers[0].reached || result.layers[1].reached);
  EXPECT_EQ(result.layers[2].lambda, 0.0) << "fc3 has no target";
  EXPECT_EQ(result.layers[2].nnz, 8);
  EXPECT_FALSE(result.layers[2].reached);
  // Target, count and size are those of the layers with a target.
  EXPECT_EQ(result.target_nnz, 90);
  EXPECT_EQ(result.numel, 6 * 16 + 16 * 8);
  EXPECT_EQ(result.nnz, result.layers[0].nnz + result.layers[1].nnz);
  const RoundResult& best = result.rounds[static_cast<std::size_t>(result.best_round - 1)];
  EXPECT_EQ(result.nnz, best.nnz[0] + best.nnz[1]);
  ASSERT_FALSE(listener.seen.empty());
  EXPECT_EQ(listener.seen.back().target_nnz, 90);
  for (const FitObserver::Progress& p : listener.seen) EXPECT_LE(p.nnz, result.numel);
}

TEST_F(FitTest, FixedTrainsOnceWithTheGivenLambda) {
  FitConfig config = small();
  config.sparsity.target_nnz.reset();
  config.search.method = "fixed";
  config.search.lambda = {0.0};
  const FitResult dense = fit(config);
  EXPECT_TRUE(dense.achieved);
  EXPECT_EQ(dense.outcome, Outcome::kFixed);
  EXPECT_EQ(dense.rounds.size(), 1U);
  EXPECT_FALSE(dense.layers[0].reached) << "without a target nothing is reached";
  EXPECT_EQ(dense.nnz, dense.numel);
  EXPECT_FALSE(dense.layers[0].kkt_nonzero.has_value()) << "no certificate without a penalty";

  config.search.lambda = {0.02};
  config.run.force = true;
  const FitResult sparse = fit(config);
  EXPECT_LT(sparse.nnz, dense.nnz);
  EXPECT_GT(sparse.train_loss, dense.train_loss);
  EXPECT_TRUE(sparse.layers[0].kkt_zero.has_value());
}

TEST_F(FitTest, AConvergedTrainingIsStationary) {
  // One linear layer: convex, so many small steps end at the minimiser and the certificate must say
  // so.
  FitConfig config = small();
  config.model.widths = {6, 1};
  config.sparsity.target_nnz.reset();
  config.search.method = "fixed";
  config.search.lambda = {0.05};
  config.train.steps = 5000;
  const FitResult result = fit(config);
  ASSERT_TRUE(result.layers[0].kkt_nonzero.has_value());
  ASSERT_GT(result.nnz, 0);
  ASSERT_LT(result.nnz, 6);
  EXPECT_LT(*result.layers[0].kkt_nonzero, 1e-4);
  EXPECT_EQ(*result.layers[0].kkt_zero, 0.0);
}

TEST_F(FitTest, ABudgetThatEndsKeepsTheBest) {
  FitConfig config = small();
  config.sparsity.tolerance = 0.0;
  config.search.stop = "converged";
  config.search.max_rounds = 3;
  const FitResult result = fit(config);
  ASSERT_EQ(result.rounds.size(), 3U);
  EXPECT_EQ(result.outcome, Outcome::kMissed);
  ASSERT_GE(result.best_round, 1);
  EXPECT_EQ(result.nnz, result.rounds[static_cast<std::size_t>(result.best_round - 1)].nnz[0]);
  for (const RoundResult& round : result.rounds) {
    EXPECT_LE(std::abs(result.nnz - 40), std::abs(round.nnz[0] - 40));
  }
  EXPECT_NEAR(result.train_loss,
              result.rounds[static_cast<std::size_t>(result.best_round - 1)].train_loss, 1e-12);
}

TEST_F(FitTest, MiniBatchesAndCrossEntropyFromCsv) {
  const FitResult result = fit(classes());
  ASSERT_TRUE(result.train_accuracy.has_value());
  EXPECT_GT(*result.train_accuracy, 0.95);
  ASSERT_TRUE(result.test_accuracy.has_value());
  EXPECT_GT(*result.test_accuracy, 0.95);
}

/// The rows of history.csv, each by the header's names.
std::vector<std::map<std::string, std::string>> history_rows(const std::string& text) {
  std::istringstream lines(text);
  const auto fields_of = [](const std::string& line) {
    std::vector<std::string> fields;
    std::string field;
    std::istringstream in(line + ",");
    while (std::getline(in, field, ',')) fields.push_back(field);
    return fields;
  };
  std::string line;
  std::getline(lines, line);
  const std::vector<std::string> names = fields_of(line);
  std::vector<std::map<std::string, std::string>> rows;
  while (std::getline(lines, line)) {
    const std::vector<std::string> fields = fields_of(line);
    EXPECT_EQ(fields.size(), names.size()) << line;
    rows.emplace_back();
    for (std::size_t i = 0; i < names.size() && i < fields.size(); ++i)
      rows.back()[names[i]] = fields[i];
  }
  return rows;
}

TEST_F(FitTest, TestLossesAtARhythmChangeNothing) {
  FitConfig config = classes();
  config.train.steps = 60;
  config.train.momentum = 0.9;
  config.train.eval_every = kNever;
  const FitResult blind = fit(config);
  const auto blind_rows = history_rows(bytes(folder_ / "run" / "history.csv"));
  ASSERT_EQ(blind_rows.size(), 1U);
  EXPECT_EQ(blind_rows[0].at("kind"), "round");

  config.run.out = (folder_ / "seen").string();
  config.train.eval_every = 20;
  config.train.test_every = 30;
  const FitResult seen = fit(config);
  EXPECT_EQ(bytes(folder_ / "seen" / "model.safetensors"),
            bytes(folder_ / "run" / "model.safetensors"));
  EXPECT_EQ(seen.bytes_to_host_search, blind.bytes_to_host_search);
  const auto rows = history_rows(bytes(folder_ / "seen" / "history.csv"));
  std::string steps, tested;
  for (const auto& row : rows) {
    if (row.at("kind") != "step") continue;
    steps += row.at("step") + " ";
    EXPECT_FALSE(row.at("train_loss").empty());
    EXPECT_FALSE(row.at("train_accuracy").empty());
    EXPECT_EQ(row.at("test_loss").empty(), row.at("test_accuracy").empty());
    if (!row.at("test_loss").empty()) tested += row.at("step") + " ";
  }
  EXPECT_EQ(steps, "1 21 30 41 60 ");
  EXPECT_EQ(tested, "30 60 ");
  // The last step's weights are those of the round and of the result.
  const auto& last_step = rows[rows.size() - 2];
  const auto& round = rows.back();
  EXPECT_EQ(last_step.at("test_loss"), round.at("test_loss"));
  EXPECT_EQ(last_step.at("test_accuracy"), round.at("test_accuracy"));
  ASSERT_TRUE(seen.rounds[0].test_accuracy.has_value());
  EXPECT_EQ(std::stod(round.at("test_accuracy")), *seen.rounds[0].test_accuracy);
  EXPECT_EQ(std::stod(round.at("train_accuracy")), *seen.rounds[0].train_accuracy);
  EXPECT_EQ(seen.train_accuracy, seen.rounds[0].train_accuracy);
  EXPECT_EQ(seen.test_accuracy, seen.rounds[0].test_accuracy);
}

TEST_F(FitTest, EpochsAreStepsOverTheTrainingRows) {
  FitConfig config = small();
  config.sparsity.target_nnz.reset();
  config.search.method = "fixed";
  config.search.lambda = {1e-3};
  config.train.batch = 64;  // 200 rows: 4 batches, the last of 8 rows
  config.train.steps = 0;
  config.train.epochs = 5;
  config.train.warmup = 19;
  const FitResult by_epochs = fit(config);
  EXPECT_EQ(by_epochs.steps_total, 20);
  EXPECT_EQ(load_config((folder_ / "run" / "config.toml").string()).train.steps, 20);
  config.train.epochs = 0;
  config.train.steps = 20;
  config.run.out = (folder_ / "steps").string();
  fit(config);
  EXPECT_EQ(bytes(folder_ / "steps" / "model.safetensors"),
            bytes(folder_ / "run" / "model.safetensors"));

  config.train.steps = 0;
  config.train.epochs = 5;
  config.train.warmup = 20;
  config.run.out = (folder_ / "never").string();
  EXPECT_NE(message(config).find("train.warmup"), std::string::npos) << message(config);
  config.train.warmup = 0;
  config.search.first_hit_after = 20;
  EXPECT_NE(message(config).find("train.steps = 20"), std::string::npos) << message(config);
  EXPECT_FALSE(fs::exists(folder_ / "never"));
}

TEST_F(FitTest, NobodyWhoWantsNoProgressIsShownAny) {
  struct Blind : Listener {
    int asked = 0;
    bool wants_progress() override { return false; }
    bool cancelled() override {
      ++asked;
      return false;
    }
  } blind;
  FitConfig config = small();
  config.search.max_rounds = 2;
  config.train.eval_every = kNever;
  config.sparsity.tolerance = 0.0;
  const FitResult result = fit(config, &blind);
  EXPECT_TRUE(blind.seen.empty());
  EXPECT_GE(blind.asked, 1) << "Ctrl-C is asked for all the same";
  Listener listener;
  config.run.force = true;
  const FitResult shown = fit(config, &listener);
  EXPECT_FALSE(listener.seen.empty());
  EXPECT_EQ(shown.bytes_to_host_search, result.bytes_to_host_search);
  EXPECT_GT(shown.bytes_to_host, result.bytes_to_host);
}

TEST_F(FitTest, ADivergenceIsAFailedProbeNotSparsity) {
  FitConfig config = small();
  config.model.activation = "identity";  // nothing saturates, so the error grows until it overflows
  config.train.learning_rate = 900.0;
  config.search.lambda = {1e-9, 1e-8};
  config.search.max_rounds = 4;
  const FitResult result = fit(config);
  EXPECT_FALSE(result.achieved);
  for (const RoundResult& round : result.rounds) {
    EXPECT_TRUE(round.diverged);
    EXPECT_LT(round.steps, config.train.steps);
    EXPECT_TRUE(std::isnan(round.train_loss));
  }
  EXPECT_EQ(result.best_round, 0);
}

TEST_F(FitTest, StartsFromGivenWeights) {
  FitConfig config = small();
  config.sparsity.target_nnz.reset();
  config.search.method = "fixed";
  config.search.lambda = {0.0};
  config.train.steps = 1;
  config.train.learning_rate = 1e-30;
  fit(config);
  config.run.init = (folder_ / "run" / "model.safetensors").string();
  config.run.out = (folder_ / "second").string();
  config.run.seed = 999;
  fit(config);
  EXPECT_EQ(bytes(folder_ / "run" / "model.safetensors"),
            bytes(folder_ / "second" / "model.safetensors"));

  ModelFile model = read_safetensors(config.run.init);
  const std::string file = (folder_ / "w.safetensors").string();
  config.run.init = file;
  config.run.out = (folder_ / "third").string();
  const std::size_t before = entries();
  ModelFile changed = model;
  changed.tensors.pop_back();
  write_safetensors(file, changed);
  EXPECT_NE(message(config).find("lacks the tensor fc2.bias"), std::string::npos)
      << message(config);
  changed = model;
  changed.tensors.push_back({"fc9.weight", {1}, {0.0f}});
  write_safetensors(file, changed);
  EXPECT_NE(message(config).find("fc9.weight"), std::string::npos) << message(config);
  changed = model;
  changed.tensors[0].shape = {6, 16};
  write_safetensors(file, changed);
  EXPECT_NE(message(config).find("[16, 6]"), std::string::npos) << message(config);
  changed = model;
  changed.tensors[0].values[3] = NAN;
  write_safetensors(file, changed);
  EXPECT_NE(message(config).find("non-finite"), std::string::npos) << message(config);
  EXPECT_EQ(entries(), before + 1) << "only the weights file itself";
}

TEST_F(FitTest, RefusesWhatCannotBe) {
  const auto refused = [&](auto change) {
    FitConfig config = small();
    change(config);
    const std::string text = message(config);
    EXPECT_EQ(entries(), 0U) << text;
    return text;
  };
  EXPECT_NE(refused([](FitConfig& c) {
              c.model.widths = {5, 16, 1};
            }).find("model.widths"),
            std::string::npos);
  EXPECT_NE(refused([](FitConfig& c) {
              c.model.widths = {6, 16, 2};
            }).find("model.widths"),
            std::string::npos);
  EXPECT_NE(refused([](FitConfig& c) { c.sparsity.target_nnz = 113; }).find("112"),
            std::string::npos);
  EXPECT_NE(refused([](FitConfig& c) { c.train.loss = "cross-entropy"; }).find("cross-entropy"),
            std::string::npos);
  EXPECT_NE(refused([](FitConfig& c) { c.train.batch = 201; }).find("train.batch"),
            std::string::npos);
  EXPECT_NE(refused([](FitConfig& c) { c.sparsity.penalise = {"conv*"}; }).find("conv*"),
            std::string::npos);
  EXPECT_NE(refused([](FitConfig& c) { c.run.device = "cuda"; }).find("cuda"), std::string::npos);
  EXPECT_NE(refused([](FitConfig& c) { c.data.train_rows = 2000; }).find("2000"),
            std::string::npos);
  const auto layer = [](FitConfig& c, const std::string& name, std::int64_t target) {
    c.sparsity.target_nnz.reset();
    c.sparsity.layers = {{name, target}};
  };
  EXPECT_NE(refused([&](FitConfig& c) { layer(c, "fc7", 3); }).find("fc7"), std::string::npos);
  EXPECT_NE(refused([&](FitConfig& c) { layer(c, "fc2", 17); }).find("fc2"), std::string::npos);
}

TEST_F(FitTest, ACancelledRunKeepsWhatItHas) {
  struct Stop : FitObserver {
    int asked = 0;
    bool cancelled() override { return ++asked > 1; }
  } observer;
  FitConfig config = small();
  config.train.steps = 200000;
  config.search.stop = "converged";
  const FitResult result = fit(config, &observer);
  EXPECT_FALSE(result.achieved);
  EXPECT_EQ(result.outcome, Outcome::kMissed);
  EXPECT_NE(result.why_stopped.find("cancelled"), std::string::npos);
  EXPECT_TRUE(fs::exists(folder_ / "run" / "model.safetensors"));
  EXPECT_LT(result.steps_total, 200000);
}

}  // namespace
}  // namespace cuthresh
