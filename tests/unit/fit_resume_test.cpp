// A training that was interrupted goes on as if it had not been, or says why it cannot.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <stdexcept>
#include <string>

#include "cuthresh/model_file.hpp"
#include "tests/unit/interrupting.hpp"

namespace cuthresh {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Resume : public FitTest {
 protected:
  FitConfig one_run() const {
    FitConfig config = small();
    config.search.method = "one-run";
    config.search.lambda.clear();
    config.sparsity.tolerance = 0.0;
    config.train.steps = 40;  // ramp from step 2 to 24, finish at 31, debias from 32
    config.train.eval_every = 3;
    config.train.batch = 48;  // the last of an epoch has 8 rows
    config.train.momentum = 0.5;
    config.run.engine = "tiled";
    return config;
  }

  // Of 40 steps one is left: the call that ends a phase takes the first step of the next, too.
  static constexpr std::int64_t kToTheLastStep = 38;

  void expect_as_if_never_interrupted(FitConfig config) {
    const FitResult whole = fit(config);
    config.run.out = (folder_ / "parts").string();
    interrupt_after(config, kToTheLastStep);
    Listener listener;
    const FitResult parts = fit(config, &listener);
    EXPECT_THAT(listener.all_notes(), HasSubstr("going on after step 39 of 40"));
    EXPECT_EQ(bytes(fs::path(parts.folder) / "model.safetensors"),
              bytes(fs::path(whole.folder) / "model.safetensors"));
    EXPECT_EQ(without_seconds(bytes(fs::path(parts.folder) / "history.csv")),
              without_seconds(bytes(fs::path(whole.folder) / "history.csv")));
    EXPECT_EQ(parts.achieved, whole.achieved);
    EXPECT_EQ(parts.steps_total, whole.steps_total);
    EXPECT_EQ(parts.train_loss, whole.train_loss);
    EXPECT_EQ(parts.rounds[0].lambda, whole.rounds[0].lambda);
    ASSERT_TRUE(parts.before_debias && whole.before_debias);
    EXPECT_EQ(parts.before_debias->steps, whole.before_debias->steps);
    EXPECT_EQ(parts.before_debias->test_loss, whole.before_debias->test_loss);
    EXPECT_GT(parts.bytes_to_host, whole.bytes_to_host)
        << "checkpoints take weights off the device";
    EXPECT_FALSE(fs::exists(checkpoint_of(config)));
    EXPECT_FALSE(fs::exists(folder_ / "parts-2")) << "each call replaces what the one before left";
  }

  /// Interrupted after `steps` steps; then `now` goes on and is refused with this message.
  std::string refusal(std::int64_t steps, const FitConfig& now) {
    fs::remove(checkpoint_of(now));
    FitConfig config = one_run();
    config.run.force = true;
    interrupt_after(config, steps);
    const std::string before = bytes(checkpoint_of(config));
    const std::string text = message(now);
    EXPECT_EQ(bytes(checkpoint_of(config)), before) << "a refusal costs nothing";
    EXPECT_THAT(text, HasSubstr("--fresh"));
    return text;
  }

  std::string damaged(const std::string& file) {
    std::ofstream(checkpoint_of(one_run()), std::ios::binary) << file;
    return message(one_run());
  }
};

TEST_F(Resume, AfterEveryStepOfEveryPhase) {
  expect_as_if_never_interrupted(one_run());
}

TEST_F(Resume, WithLayersNormalisationAndDropout) {
  FitConfig config = classes();
  config.search.method = "one-run";
  config.search.lambda.clear();
  config.train.steps = 40;
  config.train.momentum = 0.9;
  config.train.nesterov = true;
  config.train.schedule = "cosine";
  config.model.kind = "layers";
  config.model.widths.clear();
  config.model.layers = {"dense 16 tanh", "batchnorm", "dropout 0.2", "dense 2"};
  config.sparsity.layers = {{"fc1", 12}, {"fc2", 9}};
  config.run.engine = "tiled";
  expect_as_if_never_interrupted(config);
}

TEST_F(Resume, AskedToEndAfterTheLastStepATrainingIsComplete) {
  FitConfig config = one_run();
  const FitResult whole = fit(config);
  config.run.out = (folder_ / "parts").string();
  interrupt_after(config, kToTheLastStep);
  Interrupter interrupter;
  const FitResult parts = fit(config, &interrupter);
  EXPECT_TRUE(interrupter.asked);
  EXPECT_TRUE(parts.achieved);
  EXPECT_EQ(parts.why_stopped, whole.why_stopped);
  EXPECT_FALSE(fs::exists(checkpoint_of(config)));

  config = small();
  config.search.method = "fixed";
  config.search.lambda = {1e-3};
  config.run.force = true;
  config.train.steps = 1;
  Interrupter after_one;
  EXPECT_EQ(fit(config, &after_one).why_stopped, "trained once at the fixed λ = 0.001");
  EXPECT_TRUE(after_one.asked);
  config.train.steps = 2;
  Interrupter after_one_of_two;
  EXPECT_EQ(fit(config, &after_one_of_two).why_stopped, "cancelled by the user");
}

TEST_F(Resume, FromWhatWasLeftWhileItRan) {
  // A checkpoint is due whenever somebody is asked; the call is then broken off by an exception.
  struct Breaking : Listener {
    bool wants_progress() override { return true; }
    void progress(const Progress& p) override {
      if (p.step > 1) throw std::runtime_error("broken off");
    }
  } breaking;
  FitConfig config = one_run();
  config.run.checkpoint_minutes = 1e-9;
  config.train.steps = 200000;
  EXPECT_THROW(fit(config, &breaking), std::runtime_error);
  ASSERT_TRUE(fs::exists(checkpoint_of(config)));
  EXPECT_FALSE(fs::exists(config.run.out));
  Interrupter goes_on;
  fit(config, &goes_on);
  EXPECT_THAT(goes_on.all_notes(), HasSubstr("going on after step "));
}

TEST_F(Resume, TargetsMayChangeBeforeTheWeightsAreChosen) {
  FitConfig config = one_run();
  config.train.steps = 400;
  config.run.force = true;
  interrupt_after(config, 30);
  config.sparsity.target_nnz = 55;
  Listener listener;
  const FitResult result = fit(config, &listener);
  EXPECT_EQ(result.nnz, 55);
  EXPECT_TRUE(result.achieved);
  EXPECT_THAT(listener.all_notes(),
              HasSubstr("sparsity.target_nnz was 40 and is 55: λ is steered to it from step 30"));
  FitConfig late = one_run();
  late.sparsity.target_nnz = 55;
  EXPECT_THAT(refusal(33, late), AllOf(HasSubstr("target_nnz was 40 and is 55"),
                                       HasSubstr("after 31 steps the weights have been chosen")));
}

TEST_F(Resume, RefusesWhatIsAnotherTraining) {
  const auto refused = [&](const char* what, const auto& change) {
    FitConfig config = one_run();
    change(config);
    EXPECT_THAT(refusal(2, config), HasSubstr(what));
  };
  refused("train.learning_rate was 0.1 and is 0.2",
          [](FitConfig& c) { c.train.learning_rate = 0.2; });
  refused("run.seed was 123 and is 124", [](FitConfig& c) { c.run.seed = 124; });
  refused("model.widths was [6, 16, 1] and is [6, 17, 1]", [](FitConfig& c) {
    c.model.widths = {6, 17, 1};
  });
  refused("data.train_rows was 200 and is 201", [](FitConfig& c) { c.data.train_rows = 201; });
  refused("other layers", [](FitConfig& c) {
    c.sparsity.target_nnz.reset();
    c.sparsity.layers = {{"fc1", 40}};
  });
  refused("search.method was \"one-run\"", [](FitConfig& c) {
    c.search.method = "log-midpoint";
    c.search.lambda = {1e-5, 1e-1};
  });
}

TEST_F(Resume, RefusesOtherRowsUnderTheSameName) {
  FitConfig config = classes();
  config.search.method = "one-run";
  config.search.lambda.clear();
  config.sparsity.target_nnz = 20;
  config.train.steps = 40;
  interrupt_after(config, 3);
  std::ofstream(folder_ / "xor.csv", std::ios::app) << "0.5,1.5,1\n";
  EXPECT_THAT(message(config), HasSubstr("had other data"));
}

TEST_F(Resume, RefusesDamagedAndForeignFiles) {
  FitConfig config = one_run();
  config.run.force = true;
  interrupt_after(config, 20);
  const std::string model = bytes(fs::path(config.run.out) / "model.safetensors");
  const std::string good = bytes(checkpoint_of(config));
  fs::remove_all(config.run.out);
  std::string flipped = good;
  flipped[good.size() - 10] ^= 4;
  EXPECT_THAT(damaged(flipped), HasSubstr("damaged"));
  std::string steps = good;
  const std::size_t at = steps.find("\"run\":\"20 ");
  ASSERT_NE(at, std::string::npos);
  steps[at + 7] = '1';
  EXPECT_THAT(damaged(steps), HasSubstr("damaged"));
  for (const std::size_t size : {std::size_t{0}, std::size_t{5}, good.size() / 2, good.size() - 1})
    EXPECT_THAT(damaged(good.substr(0, size)), HasSubstr("no training can go on")) << size;
  EXPECT_THAT(damaged(model), HasSubstr("is no checkpoint"));
  EXPECT_EQ(entries(), 1U) << "the file alone: no folder was made";
  EXPECT_THAT(damaged(good), HasSubstr("no error"));
}

TEST_F(Resume, BeginsAnewWhenAskedTo) {
  FitConfig config = one_run();
  config.run.force = true;
  interrupt_after(config, 5);
  config.run.resume = false;
  Listener listener;
  const FitResult result = fit(config, &listener);
  EXPECT_EQ(listener.all_notes().find("going on"), std::string::npos);
  EXPECT_TRUE(result.achieved);
  EXPECT_FALSE(fs::exists(checkpoint_of(config)));
}

TEST_F(Resume, LeavesNothingWhereNoneIsWanted) {
  FitConfig config = one_run();
  config.run.checkpoint_minutes = 0.0;
  Interrupter interrupter;
  fit(config, &interrupter);
  EXPECT_EQ(entries(), 1U);
}

}  // namespace
}  // namespace cuthresh
