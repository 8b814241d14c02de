#pragma once

// One value of a TOML text into one field of a FitConfig, with its place for messages. For
// parse.cpp.

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/keys.hpp"
#include "config/origins.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::config {

inline std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

inline std::string type_name(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "a whole number";
    case toml::node_type::floating_point:
      return "a number with a fraction or an exponent";
    case toml::node_type::boolean:
      return "true or false";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::table:
      return "a table";
    default:
      return "a date or time";
  }
}

inline std::string serialised(const toml::node& node) {
  std::ostringstream out;
  node.visit([&out](const auto& concrete) { out << concrete; });
  return one_line(out.str());
}

/// The text values were read from, for messages: places and values as the user wrote them.
class Source {
 public:
  /// `prefix` is the file's name; `fixed_place` replaces line and column for an argument.
  Source(std::string text, std::string prefix, bool fixed_place)
      : text_(std::move(text)), prefix_(std::move(prefix)), fixed_place_(fixed_place) {}

  std::string place(const toml::source_region& region) const {
    if (fixed_place_ || !region.begin) return prefix_;
    return fmt::format("{}:{}:{}", prefix_, region.begin.line, region.begin.column);
  }

  std::string value(const toml::node& node) const {
    const toml::source_region& at = node.source();
    const std::string_view line = at.begin ? line_text(at.begin.line) : std::string_view();
    // Columns count code points, so that a cut by bytes is right only in a line of ASCII.
    const bool ascii =
        std::all_of(line.begin(), line.end(), [](char c) { return (c & 0x80) == 0; });
    const bool cut = at.begin.line == at.end.line && ascii && at.end.column > at.begin.column &&
                     at.end.column <= line.size() + 1;
    return cut ? std::string(line.substr(at.begin.column - 1, at.end.column - at.begin.column))
               : serialised(node);
  }

  const std::string& text() const { return text_; }

 private:
  std::string_view line_text(std::size_t number) const {
    std::string_view rest = text_;
    for (std::size_t i = 1; i < number; ++i) {
      const auto end = rest.find('\n');
      if (end == std::string_view::npos) return {};
      rest.remove_prefix(end + 1);
    }
    return rest.substr(0, rest.find('\n'));
  }

  std::string text_;
  std::string prefix_;
  bool fixed_place_;
};

/// Puts one TOML value into one field, or says what it should have been.
class Store {
 public:
  Store(const Key& key, const toml::node& node, const Source& source, Origins& origins)
      : key_(key), node_(node), source_(source), origins_(origins), path_(key.path()) {}

  void operator()(std::string* out) const {
    const auto text = node_.value_exact<std::string>();
    if (!text) refuse(node_, path_, "put the value in quotes");
    *out = *text;
  }
  void operator()(std::int64_t* out) const {
    const auto text = node_.value_exact<std::string>();
    if (!key_.word.empty() && text && *text == key_.word) {
      *out = key_.word_value;
      return;
    }
    *out = whole(node_, path_);
    if (!key_.word.empty() && *out == key_.word_value) {
      refuse(node_, path_, fmt::format("write \"{}\" if that is meant", key_.word));
    }
  }
  void operator()(std::uint64_t* out) const {
    const std::int64_t value = whole(node_, path_);
    if (value < 0) refuse(node_, path_, "change it to such a number");
    *out = static_cast<std::uint64_t>(value);
  }
  void operator()(std::optional<std::int64_t>* out) const { *out = whole(node_, path_); }
  void operator()(double* out) const { *out = number(node_, path_); }
  void operator()(std::optional<double>* out) const { *out = number(node_, path_); }
  void operator()(bool* out) const {
    const auto flag = node_.value_exact<bool>();
    if (!flag) refuse(node_, path_, "write true or false, without quotes");
    *out = *flag;
  }
  void operator()(std::vector<std::string>* out) const {
    entries(out, [this](const toml::node& entry, const std::string& path) {
      const auto text = entry.value_exact<std::string>();
      if (!text) refuse(entry, path, "put the value in quotes");
      return *text;
    });
  }
  void operator()(std::vector<std::int64_t>* out) const {
    entries(out, [this](const toml::node& entry, const std::string& path) {
      return whole(entry, path);
    });
  }
  void operator()(std::vector<double>* out) const {
    if (node_.is_number()) {
      *out = {number(node_, path_)};
      return;
    }
    entries(out, [this](const toml::node& entry, const std::string& path) {
      return number(entry, path);
    });
  }
  void operator()(std::map<std::string, std::int64_t>* out) const {
    table(out, "write a table of layers, for instance [sparsity.layers] and fc1 = 650");
  }
  void operator()(std::map<std::string, std::vector<std::int64_t>>* out) const {
    table(out, "write a table of layers, for instance [sparsity.bounds] and fc1 = [100, 650]");
  }

  /// One entry of such a table.
  void entry(std::int64_t* out, const toml::node& node, const std::string& path) const {
    *out = whole(node, path);
  }
  void entry(std::vector<std::int64_t>* out, const toml::node& node,
             const std::string& path) const {
    const toml::array* array = node.as_array();
    if (!array) refuse(node, path, "write for instance [100, 650]");
    out->clear();
    for (const toml::node& element : *array) out->push_back(whole(element, path));
  }

 private:
  template <typename T>
  void table(std::map<std::string, T>* out, const char* remedy) const {
    const toml::table* table = node_.as_table();
    if (!table) refuse(node_, path_, remedy);
    out->clear();
    for (const auto& [name, node] : *table) {
      const std::string path = path_ + "." + std::string(name.str());
      entry(&(*out)[std::string(name.str())], node, path);
      origins_.set(path, {source_.place(node.source()), source_.value(node)});
    }
  }

  std::int64_t whole(const toml::node& node, const std::string& path) const {
    const auto value = node.value_exact<std::int64_t>();
    if (!value) {
      refuse(node, path,
             node.is_floating_point() ? "write it without a decimal point or exponent"
                                      : "write a whole number");
    }
    return *value;
  }

  double number(const toml::node& node, const std::string& path) const {
    if (!node.is_number()) refuse(node, path, "write a number, without quotes");
    return *node.value<double>();
  }

  template <typename T, typename Read>
  void entries(std::vector<T>* out, Read read) const {
    const toml::array* array = node_.as_array();
    if (!array) refuse(node_, path_, "put the values in [ and ]");
    out->clear();
    for (std::size_t i = 0; i < array->size(); ++i) {
      const std::string path = fmt::format("{}[{}]", path_, i);
      out->push_back(read((*array)[i], path));
      origins_.set(path, {source_.place((*array)[i].source()), source_.value((*array)[i])});
    }
  }

  [[noreturn]] void refuse(const toml::node& node, const std::string& path,
                           std::string remedy) const {
    throw InputError({source_.place(node.source()) + ": " + path,
                      fmt::format("must be {}, found {}", expected(key_), type_name(node)),
                      source_.value(node), std::move(remedy)});
  }

  const Key& key_;
  const toml::node& node_;
  const Source& source_;
  Origins& origins_;
  std::string path_;
};

}  // namespace cuthresh::config
