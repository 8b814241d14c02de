// Reading: TOML text and --set arguments into a FitConfig, by the table of keys. The only file that
// includes toml++ (by toml_value.hpp), which alone takes several seconds to compile.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <type_traits>

#include "config/checks.hpp"
#include "config/keys.hpp"
#include "config/overrides.hpp"
#include "config/toml_value.hpp"
#include "core/suggest.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh {
namespace config {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void unknown_section(const std::string& place, std::string_view name) {
  for (const Key& key : keys()) {
    if (key.name != name) continue;
    throw InputError({fmt::format("{}: {}", place, name), "a key outside every section", "",
                      fmt::format("move it into [{}]", key.section)});
  }
  const auto all = sections();
  const std::string list = fmt::format("the sections are {}", fmt::join(all, ", "));
  throw InputError(
      {fmt::format("{}: [{}]", place, name), "unknown section", "", did_you_mean(name, all, list)});
}

[[noreturn]] void unknown_key(const std::string& place, std::string_view section,
                              std::string_view name) {
  const std::string where = fmt::format("{}: {}.{}", place, section, name);
  std::vector<std::string> homes;
  for (const Key& key : keys()) {
    if (key.name == name) homes.push_back(fmt::format("[{}]", key.section));
  }
  if (!homes.empty()) {
    throw InputError({where, "unknown key", "",
                      fmt::format("this key belongs in {}", fmt::join(homes, " or "))});
  }
  const auto names = names_in(section);
  throw InputError(
      {where, "unknown key", "",
       did_you_mean(name, names,
                    fmt::format("the keys of [{}] are {}", section, fmt::join(names, ", ")))});
}

const Key& known_key(const std::string& place, std::string_view section, std::string_view name) {
  const auto all = sections();
  if (std::find(all.begin(), all.end(), section) == all.end()) unknown_section(place, section);
  const Key* key = find_key(section, name);
  if (!key) unknown_key(place, section, name);
  return *key;
}

class Reader {
 public:
  explicit Reader(const std::string& name) : name_(name) { origins_.set_source(name); }

  void read(const std::string& text) {
    const Source source(text, name_, false);
    const toml::table root = parse(source);
    for (const auto& [section, body] : root) {
      const auto all = sections();
      if (std::find(all.begin(), all.end(), section.str()) == all.end()) {
        unknown_section(source.place(section.source()), section.str());
      }
      const toml::table* table = body.as_table();
      if (!table) {
        throw InputError({fmt::format("{}: {}", source.place(body.source()), section.str()),
                          "must be a section, found " + type_name(body), source.value(body),
                          fmt::format("write the line [{}] and its keys below it", section.str())});
      }
      for (const auto& [name, node] : *table) {
        store(known_key(source.place(name.source()), section.str(), name.str()), node, source);
      }
    }
  }

  void apply(const std::string& argument) {
    const Override parts = split_override(argument);
    const std::string place = "--set " + argument;
    const Key& key = known_key(place, parts.section, parts.key);
    const Field field = key.field(config_);
    if (parts.rest && !is_table(field)) {
      throw InputError({place, fmt::format("{} has no keys of its own", key.path()), *parts.rest,
                        fmt::format("write --set {}=value", key.path())});
    }
    const Source source("value = " + parts.value, place, true);
    toml::table value = override_value(parts.value, source);
    // What is meant for a string is one, be it readable as a number or a date: --set
    // run.out=2024-01-01.
    if (std::holds_alternative<std::string*>(field) && !value["value"].is_string()) {
      value.insert_or_assign("value", parts.value);
    }
    const toml::node& node = *value.get("value");
    if (parts.rest) {
      const std::string path = key.path() + "." + *parts.rest;
      if (!overridden_.contains(key.path())) take_back_others(key.path());
      const Store store_entry(key, node, source, origins_);
      std::visit(
          [&](auto* out) {
            if constexpr (requires { store_entry.entry(&(*out)[*parts.rest], node, path); })
              store_entry.entry(&(*out)[*parts.rest], node, path);
          },
          field);
      origins_.set(path, {place, parts.value});
      if (!origins_.written(key.path())) origins_.set(key.path(), {place, parts.value});
    } else {
      take_back_others(key.path());
      store(key, node, source);
    }
    overridden_.insert(key.path());
  }

  FitConfig finish(const std::string& folder) {
    check(config_, origins_);
    for (const Key& key : keys()) {
      if (!key.is_path) continue;
      std::string& path = *std::get<std::string*>(key.field(config_));
      if (path.empty()) continue;
      // Absolute, so that the resolved configuration in the run folder still means the same files
      // there.
      const bool from_file = origins_.written(key.path()) && !overridden_.contains(key.path());
      if (from_file && !folder.empty())
        path = fs::absolute(fs::path(folder) / path).lexically_normal().string();
      if (!from_file) path = fs::absolute(path).lexically_normal().string();
    }
    return config_;
  }

 private:
  static bool is_table(const Field& field) {
    return std::holds_alternative<std::map<std::string, std::int64_t>*>(field) ||
           std::holds_alternative<std::map<std::string, std::vector<std::int64_t>>*>(field);
  }

  static toml::table parse(const Source& source) {
    try {
      return toml::parse(source.text());
    } catch (const toml::parse_error& error) {
      throw InputError(
          {source.place(error.source()),
           "not valid TOML: " + one_line(std::string(error.description())), "",
           "correct the syntax there (strings need quotes, every key one = and one value)"});
    }
  }

  /// A table whose "value" is the argument's value: TOML, or the text itself when it is a bare
  /// word.
  static toml::table override_value(const std::string& text, const Source& source) {
    const bool structured =
        !text.empty() && std::string_view("\"'[{").find(text[0]) != std::string_view::npos;
    try {
      toml::table table = toml::parse(source.text());
      if (table.size() == 1 && table.contains("value")) return table;
    } catch (const toml::parse_error& error) {
      if (structured) {
        throw InputError({source.place({}),
                          "not a TOML value: " + one_line(std::string(error.description())), text,
                          "write for instance 0.1, \"text\" or [1, 2]"});
      }
    }
    toml::table table;
    table.insert_or_assign("value", text);
    return table;
  }

  void store(const Key& key, const toml::node& node, const Source& source) {
    origins_.erase(key.path());
    origins_.set(key.path(), {source.place(node.source()), source.value(node)});
    std::visit(Store(key, node, source, origins_), key.field(config_));
  }

  /// Resets what only the file says of the keys that exclude `path`.
  void take_back_others(const std::string& path) {
    for (const auto& group : exclusive_groups()) {
      if (std::find(group.begin(), group.end(), path) == group.end()) continue;
      for (const std::string& other : group) {
        if (other != path && !overridden_.contains(other)) reset(other);
      }
      // A number of layers means nothing once the layers are gone.
      const std::string required = "sparsity.layers_required";
      if (config_.sparsity.layers.empty() && path.starts_with("sparsity.") &&
          path != "sparsity.layers" && !overridden_.contains(required)) {
        reset(required);
      }
      // Nor does an allocation of one target once layers have theirs.
      const std::string allocation = "sparsity.allocation";
      if (path == "sparsity.layers" && !overridden_.contains(allocation)) reset(allocation);
    }
  }

  void reset(const std::string& path) {
    const auto dot = path.find('.');
    const Key* key = find_key(path.substr(0, dot), path.substr(dot + 1));
    FitConfig defaults;
    std::visit(
        [](auto* out, auto* fresh) {
          if constexpr (std::is_same_v<decltype(out), decltype(fresh)>) *out = *fresh;
        },
        key->field(config_), key->field(defaults));
    origins_.erase(path);
  }

  std::string name_;
  FitConfig config_;
  Origins origins_;
  std::set<std::string> overridden_;
};

}  // namespace
}  // namespace config

FitConfig parse_config(const std::string& text, const std::string& name, const std::string& folder,
                       const std::vector<std::string>& overrides) {
  config::Reader reader(name);
  reader.read(text);
  for (const std::string& argument : overrides) reader.apply(argument);
  return reader.finish(folder);
}

}  // namespace cuthresh
