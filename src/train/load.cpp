#include <algorithm>
#include <string>
#include <vector>

#include "cuthresh/error.hpp"
#include "train/prepare.hpp"

namespace cuthresh::train {
namespace {

Dataset read_file(const DataConfig& config, const std::string& path, std::int64_t features) {
  return config.kind == "libsvm" ? read_libsvm(path, features)
                                 : read_csv(path, config.target_columns);
}

std::string size_text(const Dataset& data) {
  return std::to_string(data.height) + " x " + std::to_string(data.width) + " x " +
         std::to_string(data.channels);
}

/// What the configuration says of a channel, one number standing for all; none: as it was read.
void replace_by_channel(const std::vector<double>& given, const std::string& key,
                        std::vector<double>& values) {
  if (given.empty()) return;
  if (given.size() != 1 && given.size() != values.size()) {
    throw InputError(
        {key,
         "one number is wanted, or one a channel of the images, " + std::to_string(values.size()),
         std::to_string(given.size()) + " numbers", "write as many"});
  }
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = given[given.size() == 1 ? 0 : i];
}

DataSplit load_images(const DataConfig& config) {
  DataSplit split;
  if (config.kind == "cifar10") {
    split = read_cifar10(config.path, config.train_rows, config.test_rows);
  } else {
    const IdxFiles files = find_idx_files(config.path, {config.train_images, config.train_labels,
                                                        config.test_images, config.test_labels});
    split.train = read_idx(files.train_images, files.train_labels, config.train_rows);
    if (!files.test_images.empty()) {
      split.test = read_idx(files.test_images, files.test_labels, config.test_rows);
    }
  }
  const Dataset& train = split.train;
  if (split.test.rows > 0 && size_text(split.test) != size_text(train)) {
    throw InputError({split.test.source,
                      "the training images (" + train.source + ") are " + size_text(train) +
                          ", and the test images are not",
                      size_text(split.test), "name two files that belong together"});
  }
  const std::int64_t most = std::min(train.height, train.width) - 1;
  if (config.random_crop > most) {
    throw InputError({"data.random_crop",
                      "the images (" + train.source + ") are " + size_text(train) +
                          ": crop by at most " + std::to_string(most) + " pixels",
                      std::to_string(config.random_crop), "take a smaller number"});
  }
  for (Dataset* part : {&split.train, &split.test}) {
    if (part->rows == 0) continue;
    replace_by_channel(config.mean, "data.mean", part->mean);
    replace_by_channel(config.std, "data.std", part->std);
  }
  return split;
}

}  // namespace

DataSplit load_data(const DataConfig& config, std::uint64_t seed) {
  if (config.has_images()) return load_images(config);
  const bool built_in = config.kind == "mackey-glass";
  if (!config.test_path.empty() && !built_in) {
    DataSplit split;
    split.train = read_file(config, config.path, 0);
    // The training file fixes the inputs: a test file whose last ones are all zero has the same
    // number.
    split.test = read_file(config, config.test_path, split.train.features);
    return split;
  }
  const Dataset all = built_in ? make_mackey_glass() : read_file(config, config.path, 0);
  return split_dataset(all, {config.train_rows, config.train_fraction, config.shuffle, seed});
}

}  // namespace cuthresh::train
