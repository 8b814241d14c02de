#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <string_view>
#include <utility>

#include "config/checks.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::config {
namespace {

/// Throws for data.`key`, with its place and the value as written (`value` when it was not read
/// from a file).
[[noreturn]] void refuse_data(const Origins& origins, std::string_view key, std::string what,
                              const std::string& value, std::string remedy) {
  const std::string path = fmt::format("data.{}", key);
  throw InputError(
      {origins.where(path), std::move(what), origins.value(path, value), std::move(remedy)});
}

void check_split(const DataConfig& data, const Origins& origins) {
  if (data.train_rows > 0 && data.train_fraction > 0.0) {
    refuse_data(origins, "train_fraction",
                "data.train_rows is given too, and either says how to split",
                fmt::to_string(data.train_fraction), "keep one of the two");
  }
  if (!data.test_path.empty() && (data.train_rows > 0 || data.train_fraction > 0.0)) {
    const bool rows = data.train_rows > 0;
    refuse_data(origins, rows ? "train_rows" : "train_fraction",
                "data.test_path gives the test set, so no rows are split off",
                rows ? std::to_string(data.train_rows) : fmt::to_string(data.train_fraction),
                "keep one of the two");
  }
}

/// Data of numbers: what only images have is refused.
void check_numbers(const DataConfig& data, const Origins& origins) {
  const bool from_file = data.kind != "mackey-glass";
  if (from_file && data.path.empty()) {
    refuse_data(origins, "path",
                fmt::format("data.kind = \"{}\" reads a file and none is named", data.kind), "",
                "set data.path to the file");
  }
  if (!from_file && !data.path.empty()) {
    refuse_data(origins, "path", "data.kind = \"mackey-glass\" is built in and reads no file",
                in_quotes(data.path),
                "remove the key, or set data.kind to libsvm, csv, idx or cifar10");
  }
  if (!from_file && !data.test_path.empty()) {
    refuse_data(origins, "test_path", "data.kind = \"mackey-glass\" is built in and reads no file",
                in_quotes(data.test_path), "remove the key and split with data.train_rows");
  }
  const auto images_only = [&](bool given, std::string_view key, const std::string& value) {
    if (!given) return;
    refuse_data(origins, key,
                fmt::format("only images (idx, cifar10) have this, and data.kind is {}", data.kind),
                value, "remove the key");
  };
  images_only(data.test_rows > 0, "test_rows", std::to_string(data.test_rows));
  images_only(!data.mean.empty(), "mean", fmt::format("{}", data.mean));
  images_only(!data.std.empty(), "std", fmt::format("{}", data.std));
  images_only(data.random_crop > 0, "random_crop", std::to_string(data.random_crop));
  images_only(data.random_flip, "random_flip", "true");
  check_split(data, origins);
}

/// Images come in a training and a test part: what divides rows is refused.
void check_images(const DataConfig& data, const Origins& origins) {
  const auto no_split = [&](bool given, std::string_view key, const std::string& value) {
    if (!given) return;
    refuse_data(
        origins, key,
        fmt::format("data.kind = \"{}\" has a training and a test part of its own", data.kind),
        value, "remove the key; data.train_rows and data.test_rows take the first of each part");
  };
  no_split(!data.test_path.empty(), "test_path", in_quotes(data.test_path));
  no_split(data.train_fraction > 0.0, "train_fraction", fmt::to_string(data.train_fraction));
  no_split(data.shuffle, "shuffle", "true");
  if (data.kind == "cifar10") {
    if (!data.path.empty()) return;
    refuse_data(origins, "path", "data.kind = \"cifar10\" reads a folder and none is named", "",
                "set data.path to the folder of data_batch_1.bin and the others");
  }
  if (!data.path.empty()) return;
  if (data.train_images.empty() || data.train_labels.empty()) {
    refuse_data(origins, "path", "data.kind = \"idx\" reads a folder and none is named", "",
                "set data.path to the folder of train-images-idx3-ubyte and the others, or "
                "data.train_images and data.train_labels to files");
  }
  if (data.test_images.empty() != data.test_labels.empty()) {
    const bool images = !data.test_images.empty();
    refuse_data(origins, images ? "test_images" : "test_labels",
                images ? "test images are named and their labels are not"
                       : "test labels are named and their images are not",
                in_quotes(images ? data.test_images : data.test_labels),
                "name both, or set data.path to the folder that has them");
  }
  if (data.test_images.empty() && data.test_rows > 0) {
    refuse_data(origins, "test_rows", "no test images are named", std::to_string(data.test_rows),
                "set data.test_images and data.test_labels, or remove the key");
  }
}

}  // namespace

void check_data(const DataConfig& data, const Origins& origins) {
  if (data.kind != "csv" && !data.target_columns.empty()) {
    refuse_data(origins, "target_columns",
                fmt::format("only csv has named columns, and data.kind is {}", data.kind),
                fmt::format("{}", data.target_columns), "remove the key");
  }
  if (data.kind != "idx") {
    for (const auto& [key, path] :
         {std::pair<std::string_view, const std::string&>{"train_images", data.train_images},
          {"train_labels", data.train_labels},
          {"test_images", data.test_images},
          {"test_labels", data.test_labels}}) {
      if (path.empty()) continue;
      refuse_data(origins, key,
                  fmt::format("only idx reads images and labels from files of their own, and "
                              "data.kind is {}",
                              data.kind),
                  in_quotes(path), "remove the key, or set data.kind to idx");
    }
  }
  if (data.has_images()) {
    check_images(data, origins);
  } else {
    check_numbers(data, origins);
  }
}

}  // namespace cuthresh::config
