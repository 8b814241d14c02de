#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string>

#include "config/keys.hpp"

namespace cuthresh {
namespace config {
namespace {

/// A TOML basic string: quotes, backslashes and control characters are escaped.
std::string quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += c;
    }
  }
  return out + '"';
}

/// Only letters, digits, '-' and '_' may stand unquoted; a layer's name may hold a dot.
std::string key_text(const std::string& name) {
  const bool bare = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  });
  return bare ? name : quote(name);
}

/// Shortest text that reads back to the same double.
std::string number(double value) {
  return fmt::to_string(value);
}

template <typename T, typename Print>
std::string list(const std::vector<T>& values, Print print) {
  std::string out = "[";
  for (std::size_t i = 0; i < values.size(); ++i) out += (i ? ", " : "") + print(values[i]);
  return out + "]";
}

std::string whole_numbers(const std::vector<std::int64_t>& values) {
  return list(values, [](std::int64_t x) { return std::to_string(x); });
}

/// A table of its own; nothing when it is empty.
template <typename Table, typename Print>
std::string table_text(const Key& key, const Table& table, Print print) {
  if (table.empty()) return "";
  std::string out = fmt::format("\n[{}.{}]  # {}\n", key.section, key.name, key.doc);
  for (const auto& [name, value] : table)
    out += fmt::format("{} = {}\n", key_text(name), print(value));
  return out;
}

/// The value in TOML; empty for one that has no text (an optional without value, a table).
struct Print {
  const Key& key;

  std::string operator()(const std::string* v) const { return quote(*v); }
  std::string operator()(const std::int64_t* v) const {
    return !key.word.empty() && *v == key.word_value ? quote(std::string(key.word))
                                                     : std::to_string(*v);
  }
  std::string operator()(const std::uint64_t* v) const { return std::to_string(*v); }
  std::string operator()(const double* v) const { return number(*v); }
  std::string operator()(const bool* v) const { return *v ? "true" : "false"; }
  std::string operator()(const std::vector<std::string>* v) const { return list(*v, quote); }
  std::string operator()(const std::vector<std::int64_t>* v) const { return whole_numbers(*v); }
  std::string operator()(const std::vector<double>* v) const { return list(*v, number); }
  std::string operator()(const std::optional<std::int64_t>* v) const {
    return *v ? std::to_string(**v) : "";
  }
  std::string operator()(const std::optional<double>* v) const { return *v ? number(**v) : ""; }
  std::string operator()(const std::map<std::string, std::int64_t>*) const { return ""; }
  std::string operator()(const std::map<std::string, std::vector<std::int64_t>>*) const {
    return "";
  }
};

/// The same, and tables on one line.
struct PrintInline : Print {
  using Print::operator();

  std::string operator()(const std::map<std::string, std::int64_t>* v) const {
    return inline_table(*v, [](std::int64_t x) { return std::to_string(x); });
  }
  std::string operator()(const std::map<std::string, std::vector<std::int64_t>>* v) const {
    return inline_table(*v, whole_numbers);
  }
  template <typename Table, typename PrintValue>
  static std::string inline_table(const Table& table, PrintValue print) {
    std::string out;
    for (const auto& [name, value] : table)
      out += (out.empty() ? "{" : ", ") + key_text(name) + " = " + print(value);
    return out.empty() ? out : out + "}";
  }
};

}  // namespace

std::vector<Difference> differences(const FitConfig& before, const FitConfig& now) {
  FitConfig a = before;
  FitConfig b = now;  // the table's fields point into a FitConfig that may be written
  std::vector<Difference> found;
  for (const Key& key : keys()) {
    const PrintInline print{{key}};
    const std::string was = std::visit(print, key.field(a));
    const std::string is = std::visit(print, key.field(b));
    if (was != is)
      found.push_back({key.path(), was.empty() ? "none" : was, is.empty() ? "none" : is});
  }
  return found;
}

}  // namespace config

std::string to_toml(const FitConfig& config) {
  using namespace config;
  FitConfig copy = config;  // the table's fields point into a FitConfig that may be written
  std::string out;
  std::string_view section;
  for (const Key& key : keys()) {
    if (key.section != section) {
      out += fmt::format("{}[{}]\n", out.empty() ? "" : "\n", key.section);
      section = key.section;
    }
    const Field field = key.field(copy);
    if (const auto* table = std::get_if<std::map<std::string, std::int64_t>*>(&field)) {
      out += table_text(key, **table, [](std::int64_t x) { return std::to_string(x); });
    }
    if (const auto* table =
            std::get_if<std::map<std::string, std::vector<std::int64_t>>*>(&field)) {
      out += table_text(key, **table, whole_numbers);
    }
    const std::string value = std::visit(Print{key}, field);
    if (!value.empty()) out += fmt::format("{} = {}  # {}\n", key.name, value, key.doc);
  }
  return out;
}

}  // namespace cuthresh
