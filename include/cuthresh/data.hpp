#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cuthresh/export.hpp"

namespace cuthresh {

/// Samples and what is to be learnt from them, in host memory.
struct Dataset {
  std::int64_t rows = 0;      ///< number of samples, ≥ 0
  std::int64_t features = 0;  ///< inputs a sample, ≥ 1
  std::int64_t outputs = 0;   ///< columns of `targets`, ≥ 1
  std::vector<float> inputs;  ///< [rows, features], row-major, all finite
  std::vector<float>
      targets;  ///< [rows, outputs], row-major, all finite; class labels are whole numbers ≥ 0
  std::string source;  ///< where it came from, for messages: "mg_scale.libsvm", "mackey-glass"

  // Images stay bytes, and `inputs` is empty: a network sees (pixel/255 − mean)/std of a channel.
  // height, width and channels are 0 where the inputs are no images; else features is their
  // product.
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 0;
  std::vector<std::uint8_t> pixels = {};  ///< [rows, height, width, channels]
  std::vector<double> mean = {};          ///< [channels]
  std::vector<double> std = {};           ///< [channels], above 0
  std::int64_t classes = 0;               ///< of the labels in `targets`; 0: not known

  bool has_images() const { return channels > 0; }
};

/// The training and the test part of a data set; `test.rows` may be 0.
struct DataSplit {
  Dataset train;
  Dataset test;
};

/// How rows are divided. Exactly one of `train_rows` and `train_fraction` is set, or neither (all
/// rows train).
struct SplitOptions {
  std::int64_t train_rows = 0;  ///< > 0: this many rows train, the others test
  double train_fraction = 0.0;  ///< in (0, 1]: this share trains (rounded down, at least one row)
  bool shuffle = false;  ///< true: rows are drawn by `seed` first; false: the first rows train
  std::uint64_t seed = 0;
};

/// The Mackey-Glass benchmark (LIBSVM's mg_scale): 6 inputs, 1 target, `rows` rows (1385 are the
/// published file). dx/dt = 0.2 x(t-17)/(1+x(t-17)^10) - 0.1 x(t), integrated by RK4 with h = 0.05
/// in float64, with three corrections below 4e-10 that keep the chaotic series on the published
/// one's track: inputs equal the file to 1e-6 (3e-7 before its scaling), targets to 6e-6, over all
/// rows; the file itself has six digits. Throws InputError when rows < 1 or > 1385.
CTH_API Dataset make_mackey_glass(std::int64_t rows = 1385);

/// Reads LIBSVM text ("label index:value ..."; indices from 1, ascending; absent ones are 0).
/// `features` > 0 fixes the number of inputs, 0 takes the largest index in the file.
/// Throws InputError with file and line for anything malformed or non-finite.
CTH_API Dataset read_libsvm(const std::string& path, std::int64_t features = 0);

/// Reads comma-separated values with a header line. `target_columns` names the columns to learn
/// (empty: the last one); all the others are inputs. Throws InputError with file and line.
CTH_API Dataset read_csv(const std::string& path,
                         const std::vector<std::string>& target_columns = {});

/// Reads images and their labels from IDX files of unsigned bytes (the format of MNIST), plain or
/// gzipped: images [rows, height, width] or [rows, height, width, channels], labels [rows]. `rows`
/// > 0 reads only so many, the first. mean and std are 0.5, so that inputs lie in [−1, 1]. Throws
/// InputError.
CTH_API Dataset read_idx(const std::string& images_path, const std::string& labels_path,
                         std::int64_t rows = 0);

/// The four files of a data set in IDX; a test set has both of its files or none.
struct IdxFiles {
  std::string train_images;
  std::string train_labels;
  std::string test_images;
  std::string test_labels;
};

/// Those that are not given, from a folder that has them under MNIST's names
/// (train-images-idx3-ubyte, t10k-labels-idx1-ubyte …), plain or with .gz. No folder (""): as
/// given. Throws InputError when one is missing.
CTH_API IdxFiles find_idx_files(const std::string& folder, IdxFiles given = {});

/// Reads CIFAR-10's binary version: data_batch_1.bin to data_batch_5.bin and test_batch.bin of a
/// folder, plain or gzipped. train_rows, test_rows > 0 read only so many, the first. Throws
/// InputError.
CTH_API DataSplit read_cifar10(const std::string& folder, std::int64_t train_rows = 0,
                               std::int64_t test_rows = 0);

/// Writes LIBSVM text that read_libsvm reads back to the same bits (one target column only).
CTH_API void write_libsvm(const std::string& path, const Dataset& data);

/// Divides rows into train and test; throws InputError when a part that was asked for would be
/// empty.
CTH_API DataSplit split_dataset(const Dataset& data, const SplitOptions& options);

}  // namespace cuthresh
