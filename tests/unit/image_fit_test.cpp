// fit() on images made for the test: two classes that differ in which half is bright.

#include <gmock/gmock.h>

#include "cuthresh/fit.hpp"
#include "tests/unit/image_files.hpp"

namespace cuthresh {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// Images of 4 x 6 pixels, of label 1 where the right half is bright.
Bytes halves(std::uint32_t count) {
  Bytes bytes = {0, 0, 8, 3};
  for (const std::uint32_t extent : {count, 4U, 6U}) append_extent(bytes, extent);
  for (std::uint32_t n = 0; n < count; ++n) {
    for (std::uint32_t i = 0; i < 24; ++i) {
      const bool bright = (i % 6 >= 3) == (n % 2 == 1);
      bytes.push_back(static_cast<std::uint8_t>((bright ? 150 : 0) + (n * 37 + i * 11) % 100));
    }
  }
  return bytes;
}

class ImageFit : public ImageFolder {
 protected:
  ImageFit() {
    write("train-images-idx3-ubyte", halves(200));
    write("train-labels-idx1-ubyte", idx_file({200}, 0, 2));
    write("t10k-images-idx3-ubyte", halves(61));
    write("t10k-labels-idx1-ubyte", idx_file({61}, 0, 2));
  }

  FitConfig config() const {
    FitConfig c;
    c.data.kind = "idx";
    c.data.path = folder();
    c.model.widths = {24, 8, 2};
    c.train.loss = "cross-entropy";
    c.train.learning_rate = 0.05;
    c.train.steps = 300;
    c.train.batch = 32;
    c.sparsity.target_nnz = 40;
    c.sparsity.tolerance = 0.1;
    c.search.max_rounds = 20;
    c.run.out = path("run");
    c.run.threads = 2;
    c.run.force = true;
    return c;
  }

  std::string message(const FitConfig& c) const {
    try {
      fit(c);
    } catch (const InputError& error) {
      return error.what();
    }
    return "no error";
  }
};

TEST_F(ImageFit, MeetsATargetAndClassifiesTheTestSet) {
  for (const std::int64_t batch : {32, 0}) {
    FitConfig c = config();
    c.train.batch = batch;
    const FitResult result = fit(c);
    EXPECT_TRUE(result.achieved) << batch << ": " << result.why_stopped;
    EXPECT_GE(result.nnz, 36);
    EXPECT_LE(result.nnz, 44);
    ASSERT_TRUE(result.test_accuracy);
    EXPECT_EQ(*result.test_accuracy, 1.0) << batch;
  }
}

TEST_F(ImageFit, TheResolvedConfigurationRunsAgain) {
  FitConfig c = config();
  c.data.random_crop = 1;
  c.data.mean = {0.4};
  c.data.std = {0.25};
  c.data.train_rows = 150;
  c.data.test_rows = 50;
  fit(c);
  const Bytes first = read("run/model.safetensors");
  FitConfig again = load_config(path("run/config.toml"));
  again.run.out = path("again");
  fit(again);
  EXPECT_EQ(read("again/model.safetensors"), first);
  // Each of the keys takes part.
  const auto differs = [&](auto change) {
    FitConfig other = again;
    other.run.force = true;
    change(other.data);
    fit(other);
    return read("again/model.safetensors") != first;
  };
  EXPECT_TRUE(differs([](DataConfig& d) { d.random_crop = 0; }));
  EXPECT_TRUE(differs([](DataConfig& d) { d.random_flip = true; }));
  EXPECT_TRUE(differs([](DataConfig& d) { d.mean = {0.3}; }));
  EXPECT_TRUE(differs([](DataConfig& d) { d.std = {0.3}; }));
  EXPECT_TRUE(differs([](DataConfig& d) { d.train_rows = 0; }));
}

TEST_F(ImageFit, WithoutTestFilesThereIsNoTestSet) {
  FitConfig c = config();
  c.data.path.clear();
  c.data.train_images = path("train-images-idx3-ubyte");
  c.data.train_labels = path("train-labels-idx1-ubyte");
  EXPECT_FALSE(fit(c).test_accuracy);
}

TEST_F(ImageFit, WhatDoesNotFitIsRefused) {
  const auto refused = [&](auto change) {
    FitConfig c = config();
    change(c);
    return message(c);
  };
  EXPECT_THAT(refused([](FitConfig& c) {
                c.model.widths = {25, 8, 2};
              }),
              AllOf(HasSubstr("model.widths"), HasSubstr("24")));
  EXPECT_THAT(refused([](FitConfig& c) { c.data.random_crop = 4; }),
              AllOf(HasSubstr("data.random_crop"), HasSubstr("4 x 6 x 1"), HasSubstr("at most 3")));
  EXPECT_THAT(refused([](FitConfig& c) {
                c.data.mean = {0.1, 0.2};
              }),
              AllOf(HasSubstr("data.mean"), HasSubstr("2 numbers")));
  EXPECT_THAT(refused([](FitConfig& c) { c.data.std = {0.1, 0.2}; }), HasSubstr("data.std"));
  EXPECT_THAT(refused([](FitConfig& c) { c.data.train_rows = 201; }), HasSubstr("(got 201)"));
  EXPECT_THAT(refused([](FitConfig& c) { c.data.path += "/nothing"; }),
              HasSubstr("train-images-idx3-ubyte.gz"));
  write("t10k-labels-idx1-ubyte", idx_file({61}, 2, 3));
  EXPECT_THAT(refused([](FitConfig&) {}),
              AllOf(HasSubstr("test row 1"), HasSubstr("labels from 0 to 1"), HasSubstr("2.0")));
  write("t10k-labels-idx1-ubyte", idx_file({61}, 0, 2));
  write("t10k-images-idx3-ubyte", idx_file({61, 6, 4}));
  EXPECT_THAT(refused([](FitConfig&) {}),
              AllOf(HasSubstr("t10k-images-idx3-ubyte"), HasSubstr("6 x 4 x 1")));
}

}  // namespace
}  // namespace cuthresh
