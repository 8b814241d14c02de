#pragma once

// The one table of configuration keys. Reading, writing, range checks, suggestions for misspelt
// keys and the test that docs/config.md is complete all walk this table, so a new key is one line
// here, one member in config.hpp and one row in docs/config.md.

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cuthresh/config.hpp"

namespace cuthresh::config {

/// Where a key's value lives in a FitConfig; the alternative says which TOML types it takes.
using Field = std::variant<std::string*, std::int64_t*, std::uint64_t*, double*, bool*,
                           std::vector<std::string>*, std::vector<std::int64_t>*,
                           std::vector<double>*, std::optional<std::int64_t>*,
                           std::optional<double>*, std::map<std::string, std::int64_t>*,
                           std::map<std::string, std::vector<std::int64_t>>*>;

constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max();

/// The whole numbers [lo, hi]; kNoLimit stands for no upper end.
struct WholeRange {
  std::int64_t lo = 0;
  std::int64_t hi = kNoLimit;
};

/// The numbers between lo and hi; an open end does not belong.
struct RealRange {
  double lo = 0.0;
  double hi = 0.0;
  bool lo_open = false;
  bool hi_open = false;
  bool contains(double value) const;  ///< false for NaN and infinities
};

struct Key {
  std::string_view section;
  std::string_view name;
  Field (*field)(FitConfig&);
  std::string_view doc;                   ///< one line
  std::vector<std::string_view> choices;  ///< strings: what may be written; empty: anything
  WholeRange whole;                       ///< whole numbers: a value, or each entry
  RealRange real;                         ///< numbers: a value, or each entry
  bool is_path = false;                   ///< relative to the file's folder
  std::string_view word;                  ///< whole numbers: what stands for word_value
  std::int64_t word_value = 0;            ///< not written as a number

  std::string path() const { return std::string(section) + "." + std::string(name); }
};

/// Every key, in the order in which to_toml writes them: sections together.
const std::vector<Key>& keys();

/// The names of the sections, in the table's order.
std::vector<std::string_view> sections();

/// The names of a section's keys; empty for an unknown section.
std::vector<std::string_view> names_in(std::string_view section);

/// nullptr when there is no such key.
const Key* find_key(std::string_view section, std::string_view name);

/// "a whole number from 1 to 1000000", "one of relu, tanh", "a list of strings": what may be
/// written.
std::string expected(const Key& key);

/// A key whose value is another in `now` than in `before`, both as TOML; "none" where it has none.
struct Difference {
  std::string key;  ///< "train.steps"
  std::string before;
  std::string now;
};
std::vector<Difference> differences(const FitConfig& before, const FitConfig& now);

}  // namespace cuthresh::config
