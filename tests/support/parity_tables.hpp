#pragma once

// The tables of tests/parity, as the tests of the CPU room and those of a GPU read them.

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "cuthresh/data.hpp"

namespace cuthresh::testing {

/// A file of tests/parity: of the tree that the test was built from, or of a bundle that
/// CTH_SOURCE_DIR names.
inline std::string parity_file(const std::string& name) {
  const char* bundle = std::getenv("CTH_SOURCE_DIR");
  return (bundle != nullptr ? std::string(bundle) : std::string(CTH_SOURCE_DIR)) +
         "/tests/parity/" + name;
}

/// Cells by the name of their column.
using Row = std::map<std::string, std::string>;

inline std::vector<Row> read_table(const std::string& name) {
  std::ifstream file(parity_file(name));
  std::vector<std::string> header;
  std::vector<Row> rows;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::stringstream cells(line);
    std::vector<std::string> values;
    for (std::string cell; std::getline(cells, cell, ',');) values.push_back(cell);
    if (header.empty()) {
      header = values;
      continue;
    }
    Row row;
    for (std::size_t i = 0; i < header.size(); ++i)
      row[header[i]] = i < values.size() ? values[i] : "";
    rows.push_back(row);
  }
  return rows;
}

inline std::uint32_t hex(const std::string& text) {
  return static_cast<std::uint32_t>(std::stoul(text, nullptr, 16));
}
inline float hex_float(const std::string& text) {
  return __builtin_bit_cast(float, hex(text));
}
inline std::vector<std::uint32_t> hex_list(const std::string& text) {
  std::stringstream words(text);
  std::vector<std::uint32_t> list;
  for (std::string word; words >> word;) list.push_back(hex(word));
  return list;
}

/// The samples that the float64 recursion was trained on, to the bit: two implementations of a
/// chaotic series part.
inline DataSplit reference_data() {
  DataSplit split;
  split.train.features = 6;
  split.train.outputs = 1;
  split.test.features = 6;
  split.test.outputs = 1;
  for (const Row& row : read_table("mackey_glass_1000_data.csv")) {
    for (int i = 0; i < 6; ++i)
      split.train.inputs.push_back(hex_float(row.at("x" + std::to_string(i))));
    split.train.targets.push_back(hex_float(row.at("y")));
    ++split.train.rows;
  }
  return split;
}

}  // namespace cuthresh::testing
