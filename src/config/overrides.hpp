#pragma once

#include <optional>
#include <string>
#include <vector>

namespace cuthresh::config {

/// "section.key=value" in its parts; `rest` is what follows a second dot ("fc1" in
/// sparsity.layers.fc1=650).
struct Override {
  std::string section;
  std::string key;
  std::optional<std::string> rest;
  std::string value;
};

/// Throws InputError naming the argument when it is not of that form.
Override split_override(const std::string& argument);

/// Keys that exclude each other; an override of one of a group takes back what the file says of the
/// others.
const std::vector<std::vector<std::string>>& exclusive_groups();

}  // namespace cuthresh::config
