// What fit() tells beside the network: names in notes, the bracket it found, where the run lies,
// how much came back from the device.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "cuthresh/data.hpp"
#include "cuthresh/model_file.hpp"
#include "tests/unit/fit_fixture.hpp"

namespace cuthresh {
namespace {

TEST_F(FitTest, NotesOfTheSearchNameTheLayers) {
  FitConfig config = small();
  config.model.widths = {6, 16, 8, 1};
  config.sparsity.target_nnz.reset();
  config.sparsity.layers = {{"fc1", 40}, {"fc3", 4}};  // the search's second group is fc3
  config.search.lambda = {1e-9, 1e-8};                 // too low: the upper end must be widened
  config.search.stop = "converged";
  config.search.max_rounds = 2;
  config.train.steps = 20;
  Listener listener;
  fit(config, &listener);
  EXPECT_NE(listener.all_notes().find("fc1: λ = "), std::string::npos) << listener.all_notes();
  EXPECT_NE(listener.all_notes().find("fc3: λ = "), std::string::npos) << listener.all_notes();
  EXPECT_EQ(listener.all_notes().find("group"), std::string::npos) << listener.all_notes();
}

TEST_F(FitTest, ADivergenceIsNotedOnce) {
  FitConfig config = small();
  config.model.activation = "identity";  // nothing saturates, so the error grows until it overflows
  config.train.learning_rate = 900.0;
  config.search.max_rounds = 1;
  Listener listener;
  fit(config, &listener);
  const auto times = std::count_if(
      listener.notes.begin(), listener.notes.end(),
      [](const std::string& note) { return note.find("diverged at step") != std::string::npos; });
  EXPECT_EQ(times, 1) << listener.all_notes();
}

TEST_F(FitTest, TheAutomaticBracketLooksAtTargetedLayersOnly) {
  // The initial weights: one step too small to move any.
  FitConfig config = small();
  config.model.activation = "identity";
  config.sparsity.target_nnz.reset();
  config.search.method = "fixed";
  config.search.lambda = {0.0};
  config.train.steps = 1;
  config.train.learning_rate = 1e-30;
  fit(config);
  const ModelFile model = read_safetensors((folder_ / "run" / "model.safetensors").string());
  const auto tensor = [&](const std::string& name) -> const std::vector<float>& {
    return std::find_if(model.tensors.begin(), model.tensors.end(),
                        [&](const NamedTensor& t) { return t.name == name; })
        ->values;
  };

  // y = w₂·(W₁x + b₁) + b₂ with W₁ = 0: ∂L/∂W₁[k, j] = 2/n Σ (w₂·b₁ + b₂ − target) w₂[k] x[j].
  const Dataset data = make_mackey_glass();
  const std::vector<float>& w2 = tensor("fc2.weight");
  double prediction = static_cast<double>(tensor("fc2.bias")[0]);
  double widest = 0.0;
  for (std::size_t k = 0; k < 16; ++k) {
    prediction += static_cast<double>(w2[k]) * static_cast<double>(tensor("fc1.bias")[k]);
    widest = std::max(widest, std::abs(static_cast<double>(w2[k])));
  }
  double largest = 0.0;
  for (std::size_t j = 0; j < 6; ++j) {
    double sum = 0.0;
    for (std::size_t r = 0; r < 200; ++r) {
      sum += (prediction - static_cast<double>(data.targets[r])) *
             static_cast<double>(data.inputs[r * 6 + j]);
    }
    largest = std::max(largest, std::abs(2.0 / 200.0 * sum) * widest);
  }

  config.search.method = "gradient-median";
  config.search.lambda.clear();
  config.sparsity.layers = {{"fc1", 40}};
  config.search.max_rounds = 1;
  config.run.force = true;
  const FitResult result = fit(config);
  ASSERT_EQ(result.rounds.size(), 1U) << "the first round trains at the upper end";
  EXPECT_NEAR(result.rounds[0].lambda[0], largest, 1e-5 * largest);
}

TEST_F(FitTest, AFolderThatAppearsMeanwhileDoesNotCostTheNetwork) {
  struct Intruder : Listener {
    std::filesystem::path folder;
    void round_ended(const RoundResult&) override {
      std::filesystem::create_directories(folder);
      std::ofstream(folder / "thesis.tex") << "years of work";
    }
  } intruder;
  intruder.folder = folder_ / "run";
  FitConfig config = small();
  config.search.max_rounds = 1;
  const FitResult result = fit(config, &intruder);
  EXPECT_EQ(result.folder, (folder_ / "run-2").string());
  EXPECT_TRUE(fs::exists(folder_ / "run-2" / "model.safetensors"));
  EXPECT_EQ(bytes(folder_ / "run" / "thesis.tex"), "years of work");
  EXPECT_EQ(entries(), 2U);
  EXPECT_NE(intruder.all_notes().find(result.folder), std::string::npos) << intruder.all_notes();
}

TEST_F(FitTest, WeightsComeBackOnceAtTheEnd) {
  FitConfig config = small();
  config.sparsity.target_nnz.reset();
  config.search.method = "fixed";
  config.search.lambda = {1e-3};
  config.train.steps = 100;
  config.train.eval_every = 50;
  const FitResult result = fit(config);
  const std::uint64_t status =
      8 * (2 + 4);                // two counts and four numbers, after each sample and once
  const std::uint64_t loss = 16;  // a sum and a number of hits
  const std::uint64_t certificate = 2 * 4 * 8;
  const std::uint64_t network = 4 * (6 * 16 + 16 + 16 + 1);
  // Two samples; train and test loss at the end of the round, which is the best.
  const std::uint64_t search = status + 2 * loss;
  EXPECT_EQ(result.bytes_to_host_search, search);
  EXPECT_EQ(result.bytes_to_host, search + 2 * (status + loss) + certificate + network);
  const auto json = nlohmann::json::parse(bytes(folder_ / "run" / "result.json"));
  EXPECT_EQ(json.at("bytes_to_host").get<std::uint64_t>(), result.bytes_to_host);
  EXPECT_EQ(json.at("bytes_to_host_search").get<std::uint64_t>(), search);

  config.train.eval_every = kNever;
  config.run.force = true;
  const FitResult blind = fit(config);
  EXPECT_EQ(blind.bytes_to_host_search, search);
  EXPECT_EQ(blind.bytes_to_host, search + certificate + network);
}

}  // namespace
}  // namespace cuthresh
