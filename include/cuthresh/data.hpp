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

/// Writes LIBSVM text that read_libsvm reads back to the same bits (one target column only).
CTH_API void write_libsvm(const std::string& path, const Dataset& data);

/// Divides rows into train and test; throws InputError when a part that was asked for would be
/// empty.
CTH_API DataSplit split_dataset(const Dataset& data, const SplitOptions& options);

}  // namespace cuthresh
