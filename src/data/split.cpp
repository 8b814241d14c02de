#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "core/permutation.hpp"
#include "cuthresh/data.hpp"
#include "cuthresh/error.hpp"
#include "data/text.hpp"

namespace cuthresh {
namespace {

Dataset take(const Dataset& data, const std::int64_t* order, std::int64_t count) {
  Dataset part;
  part.rows = count;
  part.features = data.features;
  part.outputs = data.outputs;
  part.source = data.source;
  part.height = data.height;
  part.width = data.width;
  part.channels = data.channels;
  part.mean = data.mean;
  part.std = data.std;
  part.classes = data.classes;
  const bool images = data.has_images();
  const auto elements = static_cast<std::size_t>(count * data.features);
  if (images) {
    part.pixels.reserve(elements);
  } else {
    part.inputs.reserve(elements);
  }
  part.targets.reserve(static_cast<std::size_t>(count * data.outputs));
  for (std::int64_t i = 0; i < count; ++i) {
    if (images) {
      const auto pixels = data.pixels.begin() + order[i] * data.features;
      part.pixels.insert(part.pixels.end(), pixels, pixels + data.features);
    } else {
      const auto inputs = data.inputs.begin() + order[i] * data.features;
      part.inputs.insert(part.inputs.end(), inputs, inputs + data.features);
    }
    const auto targets = data.targets.begin() + order[i] * data.outputs;
    part.targets.insert(part.targets.end(), targets, targets + data.outputs);
  }
  return part;
}

// How many rows train; checks the options against each other and against the data.
std::int64_t training_rows(const Dataset& data, const SplitOptions& options) {
  const double fraction = options.train_fraction;
  if (options.train_rows < 0) {
    throw InputError({"data.train_rows", "must be at least 1, or 0 for all rows",
                      std::to_string(options.train_rows), "give a number of rows"});
  }
  if (!(fraction >= 0.0 && fraction <= 1.0)) {
    throw InputError({"data.train_fraction", "must be in (0, 1], or 0 when it is not used",
                      std::to_string(fraction), "give the share of rows that train, e.g. 0.8"});
  }
  if (options.train_rows > 0 && fraction > 0.0) {
    throw InputError({"data.train_rows", "given together with data.train_fraction",
                      std::to_string(options.train_rows) + " and " + std::to_string(fraction),
                      "give one of the two"});
  }
  if (options.train_rows > data.rows) {
    throw InputError({"data.train_rows",
                      "more than the " + std::to_string(data.rows) + " rows of " + data.source,
                      std::to_string(options.train_rows),
                      "give at most " + std::to_string(data.rows)});
  }
  if (options.train_rows > 0) return options.train_rows;
  if (fraction == 0.0 || fraction == 1.0) return data.rows;
  // 0.29 of 100 rows is 28.999999999999996 in float64 and meant as 29.
  const double share = fraction * static_cast<double>(data.rows);
  const auto count =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(std::floor(share * (1.0 + 1e-12))));
  if (count >= data.rows) {
    throw InputError(
        {"data.train_fraction",
         "leaves no test row of the " + std::to_string(data.rows) + " rows of " + data.source,
         std::to_string(fraction), "give a smaller share, or 1 to test on nothing"});
  }
  return count;
}

}  // namespace

DataSplit split_dataset(const Dataset& data, const SplitOptions& options) {
  text::check_shape(data);
  if (data.rows == 0) {
    throw InputError({data.source.empty() ? "data set" : data.source, "there are no rows to divide",
                      "", "give a data set with at least one row"});
  }
  const std::int64_t train = training_rows(data, options);
  std::vector<std::int64_t> order;
  if (options.shuffle) {
    order = random_permutation(data.rows, options.seed, RandomPurpose::kSplit, 0);
  } else {
    order.resize(static_cast<std::size_t>(data.rows));
    std::iota(order.begin(), order.end(), std::int64_t{0});
  }
  return {take(data, order.data(), train), take(data, order.data() + train, data.rows - train)};
}

}  // namespace cuthresh
