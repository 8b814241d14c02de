#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cuthresh/data.hpp"
#include "cuthresh/error.hpp"
#include "data/text.hpp"
#include "io/atomic_file.hpp"

namespace cuthresh {
namespace {

// The entries of the file before the number of inputs is known.
struct SparseRows {
  std::vector<float> labels;
  std::vector<std::size_t> ends;  // of each row in the two below
  std::vector<std::int64_t> indices;
  std::vector<float> values;
  std::int64_t largest_index = 0;
};

bool is_space(char c) {
  return c == ' ' || c == '\t';
}

// Takes the first token off `line`; empty when there is none.
std::string_view take_token(std::string_view& line) {
  std::size_t begin = 0;
  while (begin < line.size() && is_space(line[begin])) ++begin;
  std::size_t end = begin;
  while (end < line.size() && !is_space(line[end])) ++end;
  const std::string_view token = line.substr(begin, end - begin);
  line.remove_prefix(end);
  return token;
}

void take_number(const text::LineReader& reader, std::string_view number, std::string_view token,
                 const char* name, float& value) {
  const text::NumberError error = text::parse_float(number, value);
  if (error == text::NumberError::kNone) return;
  reader.refuse(std::string(name) + " " + text::describe(error), token,
                error == text::NumberError::kMalformed
                    ? "write every row as \"label index:value index:value ...\""
                    : "replace it by a finite number or drop the row");
}

void parse_entry(const text::LineReader& reader, std::string_view token, std::int64_t features,
                 std::int64_t& previous, SparseRows& rows) {
  const std::size_t colon = token.find(':');
  std::int64_t index = 0;
  if (colon == std::string_view::npos || !text::parse_index(token.substr(0, colon), index)) {
    reader.refuse("expected \"index:value\" with a whole number as index", token,
                  "write every row as \"label index:value index:value ...\"");
  }
  if (index == 0) {
    reader.refuse("indices start at 1", token, "add 1 to every index of the file");
  }
  if (index <= previous) {
    reader.refuse(
        "indices must ascend, and " + std::to_string(previous) + " stands before this one", token,
        "sort the entries of the row and name each index once");
  }
  if (features > 0 && index > features) {
    reader.refuse("index above the number of inputs, " + std::to_string(features), token,
                  "use a network with at least " + std::to_string(index) +
                      " inputs, or a file with no more than " + std::to_string(features));
  }
  float value = 0.0f;
  take_number(reader, token.substr(colon + 1), token, "the value", value);
  previous = index;
  rows.indices.push_back(index);
  rows.values.push_back(value);
}

void parse_row(const text::LineReader& reader, std::string_view line, std::int64_t features,
               SparseRows& rows) {
  const std::string_view label = take_token(line);
  float value = 0.0f;
  take_number(reader, label, label, "the label", value);
  rows.labels.push_back(value);
  std::int64_t previous = 0;
  for (std::string_view token = take_token(line); !token.empty(); token = take_token(line)) {
    parse_entry(reader, token, features, previous, rows);
  }
  rows.largest_index = std::max(rows.largest_index, previous);
  rows.ends.push_back(rows.indices.size());
}

void append_number(std::string& out, float value) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value);
  out.append(digits, end.ptr);
}

// The floats of one row, refused when not finite: read_libsvm would not take them back.
void check_finite(const Dataset& data, std::int64_t row, const float* values, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (std::isfinite(values[i])) continue;
    throw InputError({data.source.empty() ? "data set" : data.source,
                      "row " + std::to_string(row) + " (from 0) holds a value that is not finite",
                      std::to_string(values[i]), "write finite values only"});
  }
}

}  // namespace

Dataset read_libsvm(const std::string& path, std::int64_t features) {
  if (features < 0) {
    throw InputError({path, "the number of inputs must be 0 (from the file) or more",
                      std::to_string(features), "give 0 or the width of the network's input"});
  }
  text::LineReader reader(path);
  SparseRows rows;
  for (std::string_view line; reader.next(line);) {
    line = text::trim(line.substr(0, line.find('#')));
    if (!line.empty()) parse_row(reader, line, features, rows);
  }
  const auto row_count = static_cast<std::int64_t>(rows.labels.size());
  if (row_count == 0) {
    throw InputError({path, "the data file has no rows, only blank lines and comments", "",
                      "give a file with at least one row"});
  }
  if (features == 0 && rows.largest_index == 0) {
    throw InputError({path, "no row has an input, so the number of inputs is unknown", "",
                      "write every row as \"label index:value index:value ...\""});
  }

  Dataset data;
  data.rows = row_count;
  data.features = features > 0 ? features : rows.largest_index;
  data.outputs = 1;
  data.source = text::file_name(path);
  data.targets = std::move(rows.labels);
  text::check_fits_memory(path, data.rows, data.features);
  data.inputs.assign(static_cast<std::size_t>(data.rows) * static_cast<std::size_t>(data.features),
                     0.0f);
  std::size_t entry = 0;
  float* out = data.inputs.data();
  for (const std::size_t end : rows.ends) {
    for (; entry < end; ++entry) out[rows.indices[entry] - 1] = rows.values[entry];
    out += data.features;
  }
  return data;
}

void write_libsvm(const std::string& path, const Dataset& data) {
  const std::string where = data.source.empty() ? "data set" : data.source;
  text::check_shape(data);
  if (data.has_images()) {
    throw InputError({where, "images are bytes, and LIBSVM text holds float inputs", "",
                      "keep the images in their own format"});
  }
  if (data.outputs != 1) {
    throw InputError({where, "LIBSVM text holds one target a row", std::to_string(data.outputs),
                      "write each target column to a file of its own"});
  }
  if (data.rows == 0) {
    throw InputError({where, "there are no rows to write", "", "write at least one row"});
  }
  std::string out;
  out.reserve(static_cast<std::size_t>(data.rows * (data.features + 1)) * 12);
  for (std::int64_t row = 0; row < data.rows; ++row) {
    const float* inputs = data.inputs.data() + row * data.features;
    check_finite(data, row, inputs, data.features);
    check_finite(data, row, &data.targets[static_cast<std::size_t>(row)], 1);
    append_number(out, data.targets[static_cast<std::size_t>(row)]);
    for (std::int64_t i = 0; i < data.features; ++i) {
      // Absent entries read as +0. The first row names the last input even so: it is what tells a
      // reader how many there are.
      const bool plain_zero = std::bit_cast<std::uint32_t>(inputs[i]) == 0;
      if (plain_zero && !(row == 0 && i == data.features - 1)) continue;
      out += ' ';
      out += std::to_string(i + 1);
      out += ':';
      append_number(out, inputs[i]);
    }
    out += '\n';
  }
  write_file_atomically(path, out);
}

}  // namespace cuthresh
