#pragma once

// A small Mackey-Glass run in a folder of its own, for the tests of fit().

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "cuthresh/error.hpp"
#include "cuthresh/fit.hpp"

namespace cuthresh {

namespace fs = std::filesystem;

class FitTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "cuthresh-fit-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  FitConfig small() const {
    FitConfig config;
    config.data.train_rows = 200;
    config.model.widths = {6, 16, 1};
    config.train.steps = 400;
    config.sparsity.target_nnz = 40;
    config.sparsity.tolerance = 0.05;
    config.search.method = "gradient-median";
    config.search.lambda = {1e-5, 1e-1};
    config.search.max_rounds = 12;
    config.run.out = (folder_ / "run").string();
    config.run.threads = 2;
    return config;
  }

  /// The same in one training, which ends with exactly 40.
  FitConfig small_one_run() const {
    FitConfig config = small();
    config.search.method = "one-run";
    config.search.lambda.clear();
    config.sparsity.tolerance = 0.0;
    return config;
  }

  /// Two classes (the exclusive or of two inputs) in mini-batches, at a fixed λ.
  FitConfig classes() const {
    const fs::path csv = folder_ / "xor.csv";
    std::ofstream file(csv);
    file << "a,b,class\n";
    for (int i = 0; i < 200; ++i) {
      const int a = i % 2;
      const int b = i / 2 % 2;
      file << a << "." << i % 7 << "," << b << "." << i % 5 << "," << (a ^ b) << "\n";
    }
    FitConfig config = small();
    config.data.kind = "csv";
    config.data.path = csv.string();
    config.data.train_rows = 0;
    config.data.train_fraction = 0.75;
    config.data.shuffle = true;
    config.model.widths = {2, 16, 2};
    config.model.activation = "tanh";
    config.train.loss = "cross-entropy";
    config.train.batch = 32;
    config.train.steps = 2000;
    config.sparsity.target_nnz.reset();
    config.search.method = "fixed";
    config.search.lambda = {1e-4};
    return config;
  }

  static std::string bytes(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }

  std::string message(const FitConfig& config) const {
    try {
      fit(config);
    } catch (const InputError& error) {
      return error.what();
    }
    return "no error";
  }

  std::size_t entries() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
};

/// Keeps what it was told.
struct Listener : FitObserver {
  std::vector<std::string> notes;
  std::vector<Progress> seen;
  void note(const std::string& text) override { notes.push_back(text); }
  void progress(const Progress& p) override { seen.push_back(p); }
  std::string all_notes() const {
    std::string text;
    for (const std::string& note : notes) text += note + "\n";
    return text;
  }
};

}  // namespace cuthresh
