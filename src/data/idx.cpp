#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "cuthresh/data.hpp"
#include "cuthresh/error.hpp"
#include "data/gzip.hpp"
#include "data/text.hpp"

// IDX: two zero bytes, the type of an element (8: unsigned byte), the number of dimensions, each
// dimension as a big-endian 32-bit number, then the elements, the last dimension fastest.

namespace cuthresh {
namespace {

constexpr std::int64_t kMostImageBytes = (std::int64_t{1} << 31) - 1;

std::string magic_text(const unsigned char* magic) {
  constexpr char kHexDigits[] = "0123456789abcdef";
  std::string text;
  for (int i = 0; i < 4; ++i) {
    text += kHexDigits[magic[i] >> 4];
    text += kHexDigits[magic[i] & 15];
  }
  return text;
}

std::string extents_text(const std::vector<std::int64_t>& extents) {
  std::string text;
  for (const std::int64_t extent : extents) {
    text += (text.empty() ? "" : " x ") + std::to_string(extent);
  }
  return text;
}

[[noreturn]] void truncated(const ByteReader& file, const std::string& expected,
                            std::int64_t found) {
  throw InputError({file.path(), "the IDX file is truncated: " + expected,
                    std::to_string(found) + " bytes", "copy or fetch the file again"});
}

/// The dimensions, of which there are `least` to `most`; `what` they are for is "images" or
/// "labels".
std::vector<std::int64_t> read_extents(ByteReader& file, const std::string& what, int least,
                                       int most) {
  unsigned char magic[4] = {};
  if (const std::int64_t got = file.read(magic, 4); got < 4) {
    truncated(file, "expected a magic number of 4 bytes", got);
  }
  if (magic[0] != 0 || magic[1] != 0 || magic[2] != 8 || magic[3] < least || magic[3] > most) {
    throw InputError({file.path(),
                      "wrong magic number: IDX " + what + " start with " +
                          (most == 1 ? "00000801" : "00000803 (grey) or 00000804 (channels last)"),
                      magic_text(magic), "name the " + what + " file of the data set here"});
  }
  std::vector<std::int64_t> extents;
  for (int i = 0; i < magic[3]; ++i) {
    unsigned char b[4] = {};
    if (file.read(b, 4) < 4) {
      truncated(file, "expected " + std::to_string(magic[3]) + " dimensions of 4 bytes", 4 + 4 * i);
    }
    extents.push_back(std::int64_t{b[0]} << 24 | std::int64_t{b[1]} << 16 |
                      std::int64_t{b[2]} << 8 | std::int64_t{b[3]});
  }
  if (std::find(extents.begin(), extents.end(), 0) != extents.end()) {
    throw InputError({file.path(), "a dimension of the IDX " + what + " is 0",
                      extents_text(extents), "give a file with at least one sample"});
  }
  return extents;
}

/// Refuses, before memory is taken, a file that cannot hold `rows` rows of `bytes` bytes.
void check_length(const ByteReader& file, const std::vector<std::int64_t>& extents,
                  std::int64_t bytes) {
  if (file.stored() == 0) return;  // a pipe
  const std::int64_t header = 4 + 4 * static_cast<std::int64_t>(extents.size());
  const std::int64_t wanted = header + extents.front() * bytes;
  const std::string expected =
      std::to_string(wanted) + " bytes are wanted for " + extents_text(extents);
  if (file.gzipped()) {
    constexpr std::int64_t kBestRatio = 1032;  // of deflate
    if (wanted / kBestRatio > file.stored()) {
      truncated(file, expected + ", more than the gzipped file can hold", file.stored());
    }
    return;
  }
  if (file.stored() < wanted) truncated(file, expected, file.stored());
  if (file.stored() > wanted) {
    throw InputError({file.path(), "bytes follow the data of the IDX file: " + expected,
                      std::to_string(file.stored()) + " bytes",
                      "check that the file is IDX and was written once"});
  }
}

/// The elements of the first `rows` rows, and the end of the file after the last.
void read_elements(ByteReader& file, const std::vector<std::int64_t>& extents, std::int64_t rows,
                   std::int64_t bytes, std::vector<std::uint8_t>& to) {
  to.resize(static_cast<std::size_t>(rows * bytes));
  const std::int64_t got = file.read(to.data(), rows * bytes);
  if (got < rows * bytes) {
    truncated(file, std::to_string(rows * bytes) + " bytes are wanted for " + extents_text(extents),
              got);
  }
  if (rows == extents.front() && file.skip_byte()) {
    throw InputError({file.path(), "bytes follow the data of the IDX file", extents_text(extents),
                      "check that the file is IDX and was written once"});
  }
}

/// The first of the names, plain before gzipped, that the folder has.
std::string find_in(const std::string& folder, const std::vector<std::string>& names) {
  namespace fs = std::filesystem;
  std::string looked_for;
  for (const std::string& name : names) {
    for (const char* end : {"", ".gz"}) {
      const fs::path path = fs::path(folder) / (name + end);
      std::error_code ignored;
      if (fs::exists(path, ignored)) return path.string();
      looked_for += (looked_for.empty() ? "" : ", ") + path.filename().string();
    }
  }
  throw InputError({folder, "holds none of " + looked_for, "",
                    "name the folder of the IDX files in data.path, or each file in "
                    "data.train_images, train_labels, test_images and test_labels"});
}

}  // namespace

Dataset read_idx(const std::string& images_path, const std::string& labels_path,
                 std::int64_t rows) {
  ByteReader images(images_path, "IDX file of images");
  ByteReader labels(labels_path, "IDX file of labels");
  const std::vector<std::int64_t> shape = read_extents(images, "images", 3, 4);
  const std::vector<std::int64_t> count = read_extents(labels, "labels", 1, 1);
  if (shape.front() != count.front()) {
    throw InputError({labels_path,
                      "there are " + std::to_string(count.front()) + " labels for the " +
                          std::to_string(shape.front()) + " images of " + images_path,
                      std::to_string(count.front()), "name two files that belong together"});
  }
  if (rows < 0 || rows > shape.front()) {
    throw InputError({images_path,
                      "rows to read must be from 1 to the file's " + std::to_string(shape.front()) +
                          ", or 0 for all",
                      std::to_string(rows), "ask for fewer rows"});
  }
  Dataset data;
  data.rows = rows == 0 ? shape.front() : rows;
  data.height = shape[1];
  data.width = shape[2];
  data.channels = shape.size() == 4 ? shape[3] : 1;
  if (data.height > kMostImageBytes / data.width ||
      data.channels > kMostImageBytes / (data.height * data.width)) {
    throw InputError({images_path, "an image has 2^31 elements or more", extents_text(shape),
                      "give smaller images"});
  }
  data.features = data.height * data.width * data.channels;
  data.outputs = 1;
  data.source = text::file_name(images_path);
  const auto channels = static_cast<std::size_t>(data.channels);
  data.mean.assign(channels, 0.5);
  data.std.assign(channels, 0.5);
  check_length(images, shape, data.features);
  check_length(labels, count, 1);
  std::vector<std::uint8_t> classes;
  read_elements(labels, count, data.rows, 1, classes);
  read_elements(images, shape, data.rows, data.features, data.pixels);
  data.targets.assign(classes.begin(), classes.end());
  return data;
}

IdxFiles find_idx_files(const std::string& folder, IdxFiles given) {
  const auto fill = [&folder](std::string& path, const std::string& part, bool images) {
    if (!path.empty() || folder.empty()) return;
    path = images ? find_in(folder, {part + "-images-idx3-ubyte", part + "-images-idx4-ubyte"})
                  : find_in(folder, {part + "-labels-idx1-ubyte"});
  };
  fill(given.train_images, "train", true);
  fill(given.train_labels, "train", false);
  fill(given.test_images, "t10k", true);
  fill(given.test_labels, "t10k", false);
  return given;
}

}  // namespace cuthresh
