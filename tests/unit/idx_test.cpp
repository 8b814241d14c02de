// IDX files made byte by byte, plain and gzipped, whole and broken; the real ones where they are.

#include <algorithm>
#include <array>
#include <cmath>

#include "tests/unit/image_files.hpp"

namespace cuthresh {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Idx : public ImageFolder {
 protected:
  std::string images(const Bytes& bytes) const { return write("images", bytes); }
  std::string labels(const Bytes& bytes) const { return write("labels", bytes); }
  /// Three grey images of 2 x 4 pixels and their labels.
  std::string good_images() const { return images(idx_file({3, 2, 4}, 250)); }
  std::string good_labels() const { return labels(idx_file({3}, 2, 10)); }

  ErrorInfo refused(const std::string& images, const std::string& labels) const {
    return refusal([&] { read_idx(images, labels); });
  }
};

void expect_good(const Dataset& data) {
  EXPECT_EQ(data.rows, 3);
  EXPECT_EQ(data.height, 2);
  EXPECT_EQ(data.width, 4);
  EXPECT_EQ(data.channels, 1);
  EXPECT_EQ(data.features, 8);
  EXPECT_EQ(data.outputs, 1);
  EXPECT_TRUE(data.has_images());
  EXPECT_TRUE(data.inputs.empty());
  EXPECT_THAT(data.mean, ElementsAre(0.5));
  EXPECT_THAT(data.std, ElementsAre(0.5));
  ASSERT_EQ(data.pixels.size(), 24u);
  for (unsigned i = 0; i < 24; ++i) EXPECT_EQ(data.pixels[i], (250 + 7 * i) % 256) << i;
  EXPECT_THAT(data.targets, ElementsAre(2.0f, 9.0f, 6.0f));
}

TEST_F(Idx, PlainFiles) {
  const Dataset data = read_idx(good_images(), good_labels());
  expect_good(data);
  EXPECT_EQ(data.source, "images");
}

TEST_F(Idx, ColourImagesAreFourDimensions) {
  const Dataset data = read_idx(images(idx_file({2, 3, 5, 3})), labels(idx_file({2}, 0, 10)));
  EXPECT_EQ(data.height, 3);
  EXPECT_EQ(data.width, 5);
  EXPECT_EQ(data.channels, 3);
  EXPECT_EQ(data.features, 45);
  EXPECT_EQ(data.pixels.size(), 90u);
  EXPECT_THAT(data.mean, ElementsAre(0.5, 0.5, 0.5));
}

TEST_F(Idx, OnlyTheFirstRowsWhereSoManyAreAskedFor) {
  const Dataset data = read_idx(good_images(), good_labels(), 2);
  EXPECT_EQ(data.rows, 2);
  EXPECT_EQ(data.pixels.size(), 16u);
  EXPECT_EQ(data.pixels.back(), (250 + 7 * 15) % 256);
  EXPECT_THAT(data.targets, ElementsAre(2.0f, 9.0f));
  EXPECT_EQ(read_idx(good_images(), good_labels(), 3).rows, 3);
  for (const std::int64_t rows : {-1, 4}) {
    const ErrorInfo error = refusal([&] { read_idx(good_images(), good_labels(), rows); });
    EXPECT_EQ(error.value, std::to_string(rows));
    EXPECT_THAT(error.what, HasSubstr("from 1 to the file's 3"));
  }
}

TEST_F(Idx, WrongMagicNumbers) {
  const ErrorInfo exchanged = refused(good_labels(), good_images());
  EXPECT_THAT(exchanged.where, HasSubstr("labels"));
  EXPECT_THAT(exchanged.what, AllOf(HasSubstr("wrong magic number"), HasSubstr("00000803")));
  EXPECT_EQ(exchanged.value, "00000801");
  const ErrorInfo twice = refused(good_images(), good_images());
  EXPECT_THAT(twice.what, HasSubstr("labels start with 00000801"));
  EXPECT_EQ(twice.value, "00000803");
  for (const std::size_t byte : {0, 1, 2, 3}) {
    Bytes bytes = idx_file({3, 2, 4});
    bytes[byte] = 0x0d;
    EXPECT_THAT(refused(images(bytes), good_labels()).what, HasSubstr("wrong magic number"));
  }
}

TEST_F(Idx, EveryTruncationIsRefused) {
  const Bytes whole = idx_file({3, 2, 4});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    const ErrorInfo error = refused(images(cut), good_labels());
    EXPECT_THAT(error.what, HasSubstr("truncated")) << size;
    EXPECT_THAT(error.where, HasSubstr("images")) << size;
  }
  const Bytes few = idx_file({3}, 2, 10);
  EXPECT_THAT(refused(good_images(), labels(Bytes(few.begin(), few.end() - 1))).what,
              AllOf(HasSubstr("truncated"), HasSubstr("11 bytes")));
}

TEST_F(Idx, BytesThatFollowAreRefused) {
  Bytes bytes = idx_file({3, 2, 4});
  bytes.push_back(0);
  EXPECT_THAT(refused(images(bytes), good_labels()).what, HasSubstr("bytes follow the data"));
  Bytes more = idx_file({3}, 2, 10);
  more.push_back(0);
  EXPECT_THAT(refused(good_images(), labels(more)).where, HasSubstr("labels"));
}

TEST_F(Idx, CountsThatDifferAreRefused) {
  const ErrorInfo error = refused(good_images(), labels(idx_file({4}, 0, 10)));
  EXPECT_THAT(error.what, HasSubstr("4 labels for the 3 images"));
  EXPECT_EQ(error.value, "4");
}

TEST_F(Idx, DimensionsOfZeroAndTooLargeOnesAreRefused) {
  for (const auto& extents : {std::vector<std::uint32_t>{0, 2, 4}, {3, 0, 4}, {3, 2, 0}}) {
    EXPECT_THAT(refused(images(idx_file(extents)), good_labels()).what,
                HasSubstr("a dimension of the IDX images is 0"));
  }
  EXPECT_THAT(refused(good_images(), labels(idx_file({0}))).what, HasSubstr("IDX labels is 0"));
  // The header alone: nothing of this size may be allocated before it is refused.
  Bytes huge = {0, 0, 8, 3};
  for (const std::uint32_t extent : {3U, 0xffffffffU, 0xffffffffU}) append_extent(huge, extent);
  EXPECT_THAT(refused(images(huge), good_labels()).what, HasSubstr("2^31"));
  Bytes many = {0, 0, 8, 3};
  for (const std::uint32_t extent : {0xffffffffU, 40000U, 50000U}) append_extent(many, extent);
  Bytes many_labels = {0, 0, 8, 1, 0xff, 0xff, 0xff, 0xff};
  EXPECT_THAT(refused(images(many), labels(many_labels)).what, HasSubstr("truncated"));
}

TEST_F(Idx, MissingFilesAreNamed) {
  EXPECT_THAT(refused(path("nothing"), good_labels()).where, HasSubstr("nothing"));
  EXPECT_THAT(refused(good_images(), path("nothing")).where, HasSubstr("nothing"));
}

TEST_F(Idx, FilesAreFoundByTheirUsualNames) {
  write("train-images-idx3-ubyte", idx_file({3, 2, 4}));
  write("train-labels-idx1-ubyte.gz", {});
  write("train-labels-idx1-ubyte", {});
  write("t10k-images-idx4-ubyte.gz", {});
  const ErrorInfo error = refusal([&] { find_idx_files(folder()); });
  EXPECT_EQ(error.where, folder());
  EXPECT_THAT(error.what,
              AllOf(HasSubstr("t10k-labels-idx1-ubyte,"), HasSubstr("t10k-labels-idx1-ubyte.gz")));
  write("t10k-labels-idx1-ubyte.gz", {});
  const IdxFiles files = find_idx_files(folder(), {"", "mine", "", ""});
  EXPECT_EQ(files.train_images, path("train-images-idx3-ubyte"));
  EXPECT_EQ(files.train_labels, "mine");
  EXPECT_EQ(files.test_images, path("t10k-images-idx4-ubyte.gz"));
  EXPECT_EQ(files.test_labels, path("t10k-labels-idx1-ubyte.gz"));
  EXPECT_EQ(find_idx_files(folder()).train_labels, path("train-labels-idx1-ubyte"));
  EXPECT_EQ(find_idx_files("", {"a", "b", "", ""}).test_images, "");
}

TEST_F(Idx, ImagesAreDividedWhole) {
  const DataSplit split = split_dataset(read_idx(good_images(), good_labels()), {2, 0.0, false, 0});
  EXPECT_EQ(split.train.pixels.size(), 16u);
  ASSERT_EQ(split.test.pixels.size(), 8u);
  EXPECT_EQ(split.test.pixels.front(), (250 + 7 * 16) % 256);
  EXPECT_EQ(split.test.height, 2);
  EXPECT_THAT(split.test.mean, ElementsAre(0.5));
}

TEST_F(Idx, ImagesAreNotWrittenAsText) {
  const Dataset data = read_idx(good_images(), good_labels());
  EXPECT_THAT(refusal([&] { write_libsvm(path("text"), data); }).what, HasSubstr("images"));
}

#if defined(CTH_WITH_ZLIB)

TEST_F(Idx, GzippedFilesAreKnownByTheirContent) {
  // One name says it and one does not; one is in two members.
  const Bytes whole = idx_file({3, 2, 4}, 250);
  write_gzipped("images.gz", Bytes(whole.begin(), whole.begin() + 20));
  const std::string zipped = write_gzipped("images.gz", Bytes(whole.begin() + 20, whole.end()));
  const std::string named_plain = write_gzipped("labels-plain", idx_file({3}, 2, 10));
  expect_good(read_idx(zipped, named_plain));
  EXPECT_EQ(read_idx(zipped, named_plain, 1).pixels.size(), 8u);
}

TEST_F(Idx, EveryTruncatedGzippedFileIsRefused) {
  write_gzipped("whole.gz", idx_file({3, 2, 4}, 250));
  const Bytes whole = read("whole.gz");
  for (std::size_t size = 2; size < whole.size(); ++size) {
    const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_THAT(refused(images(cut), good_labels()).what, HasSubstr("ends too early")) << size;
  }
}

TEST_F(Idx, DamagedAndOverlongGzippedFilesAreRefused) {
  write_gzipped("whole.gz", idx_file({3, 2, 4}, 250));
  Bytes bytes = read("whole.gz");
  Bytes wrong_sum = bytes;
  wrong_sum[wrong_sum.size() - 5] ^= 1;  // of the checksum
  EXPECT_THAT(refused(images(wrong_sum), good_labels()).what, HasSubstr("damaged"));
  Bytes no_header = bytes;
  no_header.insert(no_header.end(), {'m', 'o', 'r', 'e'});
  EXPECT_THAT(refused(images(no_header), good_labels()).what, HasSubstr("damaged"));
  write_gzipped("whole.gz", {0});
  EXPECT_THAT(refused(path("whole.gz"), good_labels()).what, HasSubstr("bytes follow the data"));
  Bytes fewer = idx_file({3, 2, 4});
  fewer.pop_back();
  EXPECT_THAT(refused(write_gzipped("fewer.gz", fewer), good_labels()).what,
              HasSubstr("truncated"));
  Bytes huge = {0, 0, 8, 3};
  for (const std::uint32_t extent : {3U, 40000U, 50000U}) append_extent(huge, extent);
  EXPECT_THAT(refused(write_gzipped("huge.gz", huge), good_labels()).what,
              HasSubstr("more than the gzipped file can hold"));
}

// 60,000 and 10,000 images of 28 x 28 in ten classes of equal size (Fashion-MNIST) or nearly so.
void expect_mnist_like(const std::string& folder, double mean) {
  const IdxFiles files = find_idx_files(folder);
  const Dataset train = read_idx(files.train_images, files.train_labels);
  const Dataset test = read_idx(files.test_images, files.test_labels);
  EXPECT_EQ(train.rows, 60000);
  EXPECT_EQ(test.rows, 10000);
  EXPECT_EQ(train.height, 28);
  EXPECT_EQ(train.width, 28);
  EXPECT_EQ(train.channels, 1);
  EXPECT_EQ(test.features, 784);
  std::array<int, 10> count{};
  for (const float label : train.targets) {
    ASSERT_TRUE(label >= 0.0f && label <= 9.0f && label == std::floor(label)) << label;
    ++count[static_cast<std::size_t>(label)];
  }
  EXPECT_GT(*std::min_element(count.begin(), count.end()), 5000);
  EXPECT_EQ(*std::max_element(train.pixels.begin(), train.pixels.end()), 255);
  // Their published means, of pixels on [0, 1].
  EXPECT_NEAR(static_cast<double>(sum_of(train.pixels)) / (60000.0 * 784 * 255), mean, 5e-5);
}

TEST(RealIdx, Mnist) {
  const std::string folder = real_data("mnist");
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "MNIST is not here: " << folder;
  expect_mnist_like(folder, 0.1307);
}

TEST(RealIdx, FashionMnist) {
  const std::string folder = "/usr/share/datasets/fashion-mnist";
  if (!std::filesystem::exists(folder)) {
    GTEST_SKIP() << "Debian's dataset-fashion-mnist is not installed: " << folder;
  }
  expect_mnist_like(folder, 0.2860);
}

#else

TEST_F(Idx, GzippedFilesNeedZlib) {
  const ErrorInfo error = refused(images({0x1f, 0x8b, 8, 0}), good_labels());
  EXPECT_THAT(error.what, HasSubstr("gzipped, and this build has no zlib"));
  EXPECT_THAT(error.remedy, HasSubstr("gunzip"));
}

#endif

}  // namespace
}  // namespace cuthresh
