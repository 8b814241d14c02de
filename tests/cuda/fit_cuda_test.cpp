// fit() with device = "cuda": the whole way from the configuration to the run folder, the room's
// host code and kernels included. The products of tests/simt add in the order of the CPU room's
// reference engine (for few rows: it sums the gradients of many in two halves) and all else is
// equal to the bit by the kernels' own tests, so here whole runs are: the same rounds, counts, λ
// and weights.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "cuthresh/describe.hpp"
#include "cuthresh/model_file.hpp"
#include "simt/recording.hpp"
#include "tests/unit/interrupting.hpp"

namespace cuthresh {
namespace {

class CudaFit : public FitTest {
 protected:
  // Threads one by one are slow: few rows and steps.
  FitConfig tiny() const {
    FitConfig config = small();
    config.data.train_rows = 60;
    config.data.shuffle = true;
    config.model.widths = {6, 8, 1};
    config.train.steps = 40;
    config.train.eval_every = 10;
    config.sparsity.target_nnz = 30;
    config.sparsity.tolerance = 0.04;
    config.search.max_rounds = 5;
    config.run.engine = "reference";
    config.run.threads = 1;
    return config;
  }

  struct Run {
    FitResult result;
    ModelFile model;
  };
  // Layer by layer: the sums of fused steps are others (fused_training_test.cpp).
  Run run_on(FitConfig config, const std::string& device) {
    config.run.device = device;
    config.run.execution = device == "cuda" ? "graph" : "auto";
    config.run.out = (folder_ / device).string();
    const FitResult result = fit(config);
    return {result, read_safetensors((fs::path(result.folder) / "model.safetensors").string())};
  }

  void expect_the_same(const FitConfig& config) {
    const Run cuda = run_on(config, "cuda");
    const Run cpu = run_on(config, "cpu");
    EXPECT_EQ(cuda.result.device.rfind("cuda (", 0), 0U) << cuda.result.device;
    EXPECT_EQ(cpu.result.device.rfind("cpu (reference", 0), 0U) << cpu.result.device;
    ASSERT_EQ(cuda.result.rounds.size(), cpu.result.rounds.size());
    ASSERT_GE(cuda.result.rounds.size(), 1U);
    for (std::size_t i = 0; i < cpu.result.rounds.size(); ++i) {
      EXPECT_EQ(cuda.result.rounds[i].lambda, cpu.result.rounds[i].lambda) << i;
      EXPECT_EQ(cuda.result.rounds[i].nnz, cpu.result.rounds[i].nnz) << i;
      EXPECT_EQ(cuda.result.rounds[i].steps, cpu.result.rounds[i].steps) << i;
      EXPECT_EQ(cuda.result.rounds[i].train_loss, cpu.result.rounds[i].train_loss) << i;
      EXPECT_EQ(cuda.result.rounds[i].test_loss, cpu.result.rounds[i].test_loss) << i;
    }
    EXPECT_EQ(cuda.result.outcome, cpu.result.outcome);
    EXPECT_EQ(cuda.result.nnz, cpu.result.nnz);
    EXPECT_GT(cuda.result.nnz, 0);
    EXPECT_LT(cuda.result.nnz, cuda.result.numel) << "the case must show sparsity";
    for (std::size_t i = 0; i < cpu.result.layers.size(); ++i) {
      EXPECT_EQ(cuda.result.layers[i].kkt_nonzero, cpu.result.layers[i].kkt_nonzero);
      EXPECT_EQ(cuda.result.layers[i].kkt_zero, cpu.result.layers[i].kkt_zero);
    }
    ASSERT_EQ(cuda.model.tensors.size(), cpu.model.tensors.size());
    for (std::size_t i = 0; i < cpu.model.tensors.size(); ++i) {
      // == takes 0 and −0 for equal: the CPU room leaves products with zeros out.
      EXPECT_EQ(cuda.model.tensors[i].values, cpu.model.tensors[i].values)
          << cpu.model.tensors[i].name;
    }
  }

  simt::DeviceScope machine{1};
};

TEST_F(CudaFit, ASearchIsTheCpusToTheBit) {
  expect_the_same(tiny());
}

TEST_F(CudaFit, ThreeTrainingsAtTheSameTimeToo) {
  FitConfig config = tiny();
  config.search.max_rounds = 2;
  config.search.parallel = 3;
  config.run.threads = 3;
  config.search.stop = "converged";
  config.sparsity.tolerance = 0.0;
  config.train.batch = 20;
  config.train.eval_every = kNever;
  expect_the_same(config);
  EXPECT_EQ(simt::live_allocations(), 0u);
  EXPECT_EQ(simt::recording().violations(), std::vector<std::string>());
}

TEST_F(CudaFit, LayerwiseWithAnAutomaticBracketToo) {
  FitConfig config = tiny();
  config.model.activation = "tanh";
  config.sparsity.target_nnz.reset();
  config.sparsity.layers = {{"fc1", 20}, {"fc2", 6}};
  config.sparsity.tolerance = 0.2;
  config.sparsity.layers_required = 1;
  config.search.lambda.clear();
  config.search.max_rounds = 8;
  expect_the_same(config);
}

TEST_F(CudaFit, MiniBatchesAndCrossEntropyToo) {
  const fs::path csv = folder_ / "xor.csv";
  {
    std::ofstream file(csv);
    file << "a,b,class\n";
    for (int i = 0; i < 80; ++i) {
      const int a = i % 2;
      const int b = i / 2 % 2;
      file << a << "." << i % 7 << "," << b << "." << i % 5 << "," << (a ^ b) << "\n";
    }
  }
  FitConfig config = tiny();
  config.data.kind = "csv";
  config.data.path = csv.string();
  config.data.train_rows = 0;
  config.data.train_fraction = 0.75;
  config.model.widths = {2, 9, 2};
  config.model.activation = "gelu";
  config.train.loss = "cross-entropy";
  config.train.batch = 16;  // the last of an epoch has 12 rows
  config.sparsity.target_nnz.reset();
  config.search.method = "fixed";
  config.search.lambda = {2e-2};
  expect_the_same(config);
}

TEST_F(CudaFit, MomentumAndSchedulesToo) {
  FitConfig config = tiny();
  config.train.batch = 20;
  config.train.momentum = 0.9;
  config.train.nesterov = true;
  config.train.schedule = "cosine";
  config.train.warmup = 5;
  config.train.steps = 0;
  config.train.epochs = 12;  // 3 batches each
  config.train.test_every = 9;
  expect_the_same(config);
  config.train.nesterov = false;
  config.train.schedule = "step";
  config.train.decay_every = 10;
  config.train.decay_factor = 0.5;
  config.run.force = true;
  expect_the_same(config);
}

TEST_F(CudaFit, OneRunToo) {
  FitConfig config = tiny();
  config.search.method = "one-run";
  config.search.lambda.clear();
  config.sparsity.tolerance = 0.0;
  expect_the_same(config);
  config.train.momentum = 0.9;
  config.sparsity.target_nnz.reset();
  config.sparsity.layers = {{"fc1", 20}, {"fc2", 6}};
  config.run.force = true;
  expect_the_same(config);
}

TEST_F(CudaFit, AnInterruptedTrainingGoesOnToTheBit) {
  FitConfig config = tiny();
  config.search.method = "one-run";
  config.search.lambda.clear();
  config.sparsity.tolerance = 0.0;
  config.train.steps = 25;
  config.train.batch = 20;
  config.train.momentum = 0.9;
  config.run.device = "cuda";
  for (const char* execution : {"plain", "graph", "fused"}) {
    SCOPED_TRACE(execution);
    config.run.execution = execution;
    config.run.out = (folder_ / (std::string(execution) + "-whole")).string();
    const FitResult whole = fit(config);
    config.run.out = (folder_ / execution).string();
    interrupt_after(config, 23);  // one step is left: a call that ends a phase takes two
    const FitResult parts = fit(config);
    EXPECT_TRUE(parts.achieved);
    EXPECT_EQ(bytes(fs::path(parts.folder) / "model.safetensors"),
              bytes(fs::path(whole.folder) / "model.safetensors"));
  }
}

// What a search moves does not grow with its steps or its weights: 64 bytes a layer and one line.
TEST_F(CudaFit, ARoundOfASearchMovesAFewBytesALayer) {
  for (const std::vector<std::int64_t>& widths :
       {std::vector<std::int64_t>{6, 8, 1}, std::vector<std::int64_t>{6, 24, 10, 1}}) {
    const auto layers = static_cast<std::uint64_t>(widths.size() - 1);
    for (const std::int64_t steps : {30, 75}) {
      SCOPED_TRACE(::testing::Message() << layers << " layers, " << steps << " steps");
      FitConfig config = tiny();
      config.model.widths = widths;
      config.model.activation = "tanh";
      config.train.steps = steps;
      config.train.eval_every = kNever;
      config.sparsity.target_nnz.reset();
      std::uint64_t network = 0;
      for (std::uint64_t l = 0; l < layers; ++l) {
        const std::int64_t numel = widths[l] * widths[l + 1];
        config.sparsity.layers["fc" + std::to_string(l + 1)] = numel / 2;
        network += 4 * static_cast<std::uint64_t>(numel + widths[l + 1]);
      }
      config.sparsity.tolerance = 0.0;  // hardly ever met: several rounds and pivots
      config.search.max_rounds = 4;
      config.run.force = true;
      simt::recording().clear();
      const Run run = run_on(config, "cuda");
      ASSERT_GE(run.result.rounds.size(), 2U) << "the case must have pivots";
      const std::uint64_t rounds = run.result.rounds.size();
      EXPECT_LE(run.result.bytes_to_host_search, rounds * (64 * layers + 64));
      EXPECT_GT(run.result.bytes_to_host_search, rounds * 8 * layers);
      // The rest: certificate and network at the end, and the loss that comes with the gradient of
      // a round before the last. No sample, no progress.
      const std::uint64_t again =
          static_cast<std::uint64_t>(run.result.best_round) == rounds ? 0 : 16;
      EXPECT_EQ(run.result.bytes_to_host,
                run.result.bytes_to_host_search + again + 32 * layers + network);
      // As the runtime saw it, but for the certificate's packed maxima and the words that stops
      // wrote into the host's memory.
      const auto stops = static_cast<std::uint64_t>(
          std::count_if(run.result.rounds.begin(), run.result.rounds.end(),
                        [&](const RoundResult& r) { return r.hit || r.diverged; }));
      EXPECT_EQ(run.result.bytes_to_host,
                simt::recording().bytes_to_host() + 8 * layers + 4 * stops);
      const std::string history = bytes(fs::path(run.result.folder) / "history.csv");
      EXPECT_EQ(history.find("step,"), history.find("step,lambda")) << "no step row: " << history;
    }
  }
}

TEST_F(CudaFit, AStopCountsItsWord) {
  FitConfig config = tiny();
  config.train.eval_every = kNever;
  simt::recording().clear();
  const Run run = run_on(config, "cuda");
  ASSERT_EQ(run.result.outcome, Outcome::kCrossed) << "the case must stop a round";
  EXPECT_EQ(run.result.bytes_to_host, simt::recording().bytes_to_host() + 2 * 8 + 4);
  EXPECT_LE(run.result.bytes_to_host_search, run.result.rounds.size() * (64 * 2 + 64));
}

TEST_F(CudaFit, StatesWhatCameBack) {
  FitConfig config = tiny();
  config.search.max_rounds = 2;
  config.sparsity.tolerance = 0.0;
  config.search.stop = "converged";
  simt::recording().clear();
  const Run run = run_on(config, "cuda");
  // The maxima of the certificate come in one word each layer and count as two numbers.
  EXPECT_EQ(run.result.bytes_to_host, simt::recording().bytes_to_host() + 2 * 8);
  const std::uint64_t network = 4 * (6 * 8 + 8 + 8 + 1);
  const std::uint64_t status = 8 * (2 + 4);
  const std::uint64_t loss = 16;
  // A round: four samples with the status and their loss, the status at its end, train and test
  // loss, a median; at the end both losses and the certificate, 2·32 bytes.
  EXPECT_LE(run.result.bytes_to_host,
            2 * (4 * (status + loss) + status + 2 * loss + 16) + 2 * loss + 64 + network);
}

TEST_F(CudaFit, FusedStepsReachTheSameTargets) {
  for (const char* method : {"gradient-median", "one-run"}) {
    SCOPED_TRACE(method);
    FitConfig config = tiny();
    config.search.method = method;
    if (config.search.method == "one-run") config.search.lambda.clear();
    config.run.force = true;
    const Run layers = run_on(config, "cuda");
    config.run.device = "cuda";
    config.run.execution = "auto";
    Listener listener;
    const FitResult fused = fit(config, &listener);
    EXPECT_NE(listener.all_notes().find("steps: fused in two kernels"), std::string::npos)
        << listener.all_notes();
    const std::string expected = describe_model(config).execution;
    EXPECT_NE(listener.all_notes().find("steps: " + expected), std::string::npos)
        << "inspect says: " << expected << "\n"
        << listener.all_notes();
    EXPECT_EQ(fused.outcome, layers.result.outcome);
    EXPECT_LE(std::abs(fused.nnz - 30), config.search.method == "one-run" ? 0 : 1);
    EXPECT_NEAR(fused.rounds.back().train_loss, layers.result.rounds.back().train_loss,
                0.02 * layers.result.rounds.back().train_loss);
  }
}

TEST_F(CudaFit, AutoTakesTheGpu) {
  FitConfig config = tiny();
  config.search.max_rounds = 1;
  config.train.steps = 3;
  Listener listener;
  config.run.device = "auto";
  const FitResult result = fit(config, &listener);
  EXPECT_EQ(result.device.rfind("cuda (", 0), 0U) << result.device;
  EXPECT_NE(listener.all_notes().find("device: cuda ("), std::string::npos) << listener.all_notes();
}

TEST(CudaFitWithoutGpu, CudaIsRefusedBeforeAnythingIsWritten) {
  const simt::DeviceScope machine(-1);
  FitConfig config;
  config.model.widths = {6, 8, 1};
  config.train.steps = 1;
  config.sparsity.target_nnz = 30;
  config.run.device = "cuda";
  config.run.out = (fs::temp_directory_path() / "cuthresh-never-made").string();
  try {
    fit(config);
    FAIL() << "must be refused";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("no CUDA device"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(fs::exists(config.run.out));
}

}  // namespace
}  // namespace cuthresh
