// CIFAR-10's binary batches made byte by byte, whole and broken; the real ones where they are.

#include <algorithm>
#include <array>

#include "tests/unit/image_files.hpp"

namespace cuthresh {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::size_t kPlane = 1024;

/// The byte of colour c at a pixel of image `number`.
std::uint8_t value_at(std::size_t number, std::size_t pixel, std::size_t c) {
  return static_cast<std::uint8_t>(number * 50 + pixel * 3 + c * 101);
}

Bytes batch(std::size_t first, std::size_t count) {
  Bytes bytes;
  for (std::size_t number = first; number < first + count; ++number) {
    bytes.push_back(static_cast<std::uint8_t>(number % 10));
    for (std::size_t c = 0; c < 3; ++c) {
      for (std::size_t pixel = 0; pixel < kPlane; ++pixel) {
        bytes.push_back(value_at(number, pixel, c));
      }
    }
  }
  return bytes;
}

class Cifar10 : public ImageFolder {
 protected:
  /// Two images a batch; the test batch has the numbers 100 and 101.
  void write_all() const {
    for (std::size_t i = 0; i < 5; ++i) {
      write("data_batch_" + std::to_string(i + 1) + ".bin", batch(2 * i, 2));
    }
    write("test_batch.bin", batch(100, 2));
  }
};

TEST_F(Cifar10, PlanesBecomeChannelsLast) {
  write_all();
  const DataSplit data = read_cifar10(folder());
  EXPECT_EQ(data.train.rows, 10);
  EXPECT_EQ(data.test.rows, 2);
  EXPECT_EQ(data.train.height, 32);
  EXPECT_EQ(data.train.width, 32);
  EXPECT_EQ(data.train.channels, 3);
  EXPECT_EQ(data.train.features, 3072);
  EXPECT_EQ(data.train.classes, 10);
  EXPECT_THAT(data.train.mean, ElementsAre(0.4914, 0.4822, 0.4465));
  EXPECT_THAT(data.train.std, ElementsAre(0.2470, 0.2435, 0.2616));
  EXPECT_THAT(data.train.targets, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
  EXPECT_THAT(data.test.targets, ElementsAre(0, 1));
  ASSERT_EQ(data.train.pixels.size(), 10u * 3072);
  for (const bool test : {false, true}) {
    const Dataset& part = test ? data.test : data.train;
    for (std::size_t i = 0; i < part.pixels.size(); ++i) {
      const std::size_t number = i / 3072 + (test ? 100 : 0);
      ASSERT_EQ(part.pixels[i], value_at(number, i % 3072 / 3, i % 3)) << i;
    }
  }
}

TEST_F(Cifar10, OnlyTheFirstRowsWhereSoManyAreAskedFor) {
  write_all();
  const DataSplit data = read_cifar10(folder(), 3, 1);
  EXPECT_THAT(data.train.targets, ElementsAre(0, 1, 2));
  EXPECT_EQ(data.train.pixels.size(), 3u * 3072);
  EXPECT_THAT(data.test.targets, ElementsAre(0));
  EXPECT_EQ(read_cifar10(folder(), 10, 2).train.rows, 10);
  EXPECT_THAT(refusal([&] { read_cifar10(folder(), 11); }).what, HasSubstr("from 1 to the 10"));
  EXPECT_THAT(refusal([&] { read_cifar10(folder(), 1, 3); }).what, HasSubstr("from 1 to the 2"));
  EXPECT_EQ(refusal([&] { read_cifar10(folder(), 1, -1); }).value, "-1");
}

TEST_F(Cifar10, AMissingBatchIsNamed) {
  for (const std::string& name : {std::string("data_batch_4"), std::string("test_batch")}) {
    write_all();
    std::filesystem::remove(path(name + ".bin"));
    const ErrorInfo error = refusal([&] { read_cifar10(folder()); });
    EXPECT_EQ(error.where, folder());
    EXPECT_THAT(error.what, AllOf(HasSubstr(name + ".bin"), HasSubstr(name + ".bin.gz")));
  }
}

TEST_F(Cifar10, TruncatedBatchesAreRefused) {
  const Bytes whole = batch(0, 2);
  for (const std::size_t size : {0UL, 1UL, 3072UL, 3074UL, 6145UL}) {
    write_all();
    write("data_batch_3.bin",
          Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
    const ErrorInfo error = refusal([&] { read_cifar10(folder()); });
    EXPECT_THAT(error.where, HasSubstr("data_batch_3.bin"));
    EXPECT_THAT(error.what, AllOf(HasSubstr("truncated"),
                                  HasSubstr("record " + std::to_string(size / 3073 + 1))));
  }
}

TEST_F(Cifar10, LabelsAboveNineAreRefused) {
  write_all();
  Bytes bytes = batch(100, 2);
  bytes[3073] = 10;
  write("test_batch.bin", bytes);
  const ErrorInfo error = refusal([&] { read_cifar10(folder()); });
  EXPECT_THAT(error.where, HasSubstr("test_batch.bin"));
  EXPECT_THAT(error.what, HasSubstr("record 2"));
  EXPECT_EQ(error.value, "10");
}

#if defined(CTH_WITH_ZLIB)

TEST_F(Cifar10, BatchesMayBeGzipped) {
  write_all();
  const DataSplit plain = read_cifar10(folder());
  std::filesystem::remove(path("data_batch_2.bin"));
  std::filesystem::remove(path("test_batch.bin"));
  write_gzipped("data_batch_2.bin.gz", batch(2, 2));
  write_gzipped("test_batch.bin.gz", batch(100, 2));
  const DataSplit zipped = read_cifar10(folder());
  EXPECT_EQ(zipped.train.pixels, plain.train.pixels);
  EXPECT_EQ(zipped.train.targets, plain.train.targets);
  EXPECT_EQ(zipped.test.pixels, plain.test.pixels);
}

TEST(RealCifar10, TenClassesOfEqualSize) {
  const std::string folder = real_data("cifar10");
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "CIFAR-10 is not here: " << folder;
  const DataSplit data = read_cifar10(folder);
  ASSERT_EQ(data.train.rows, 50000);
  ASSERT_EQ(data.test.rows, 10000);
  std::array<int, 10> train{}, test{};
  for (const float label : data.train.targets) ++train[static_cast<std::size_t>(label)];
  for (const float label : data.test.targets) ++test[static_cast<std::size_t>(label)];
  EXPECT_EQ(*std::min_element(train.begin(), train.end()), 5000);
  EXPECT_EQ(*std::min_element(test.begin(), test.end()), 1000);
  // The usual means, which the data set says of itself, hold by channel.
  std::array<double, 3> sums{};
  for (std::size_t i = 0; i < data.train.pixels.size(); ++i) sums[i % 3] += data.train.pixels[i];
  for (std::size_t c = 0; c < 3; ++c) {
    EXPECT_NEAR(sums[c] / (50000.0 * 1024 * 255), data.train.mean[c], 1e-4) << "channel " << c;
  }
}

#endif

}  // namespace
}  // namespace cuthresh
