#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "cuthresh/config.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh {

inline constexpr const char* kGood = R"(
[data]
kind = "mackey-glass"
train_rows = 1000
[model]
widths = [6, 8, 1]
[train]
steps = 50
[sparsity]
target_nnz = 20
[run]
out = "runs/x"
)";

inline FitConfig parse(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return parse_config(text, "mg.toml", "", overrides);
}

/// The message of the InputError that this text and these arguments give.
inline std::string error_of(const std::string& text,
                            const std::vector<std::string>& overrides = {}) {
  try {
    parse(text, overrides);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

/// kGood with one line put below a section's header, or in place of the line that begins with
/// `replaces`.
inline std::string with(const std::string& section, const std::string& line,
                        const std::string& replaces = "") {
  std::istringstream in(kGood);
  std::string out, current;
  while (std::getline(in, current)) {
    const bool replaced = !replaces.empty() && current.starts_with(replaces + " =");
    if (!replaced) out += current + "\n";
    if (current == "[" + section + "]") out += line + "\n";
  }
  if (out.find("[" + section + "]") == std::string::npos)
    out += "[" + section + "]\n" + line + "\n";
  return out;
}

inline std::string error_with(const std::string& section, const std::string& line,
                              const std::string& replaces = "") {
  return error_of(with(section, line, replaces));
}

}  // namespace cuthresh
