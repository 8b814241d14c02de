#pragma once

#include <map>
#include <string>
#include <utility>

namespace cuthresh::config {

/// Where the value of each key was written, so that a check made long after reading still names the
/// place.
class Origins {
 public:
  struct Origin {
    std::string place;  ///< "mg.toml:12:9" or "--set train.steps=0"
    std::string value;  ///< as the user wrote it
  };

  /// `key` is "train.steps" or, for an entry of a list, "model.widths[2]".
  void set(const std::string& key, Origin origin) { origins_[key] = std::move(origin); }
  /// The file that was read: the place of a key that nobody wrote.
  void set_source(std::string source) { source_ = std::move(source); }
  /// Forgets the key and the entries of its list or table.
  void erase(const std::string& key);

  /// "mg.toml:12:9: train.steps", "mg.toml: train.steps" for a default, "train.steps" when no file
  /// was read.
  std::string where(const std::string& key) const;
  /// As written, or `fallback`.
  std::string value(const std::string& key, const std::string& fallback) const;
  /// "mg.toml:12:9"; the file, if any, for a default.
  std::string place(const std::string& key) const;
  /// True when the user wrote this key.
  bool written(const std::string& key) const { return find(key) != nullptr; }

 private:
  const Origin* find(const std::string& key) const;

  std::map<std::string, Origin> origins_;
  std::string source_;
};

}  // namespace cuthresh::config
