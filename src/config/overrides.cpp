#include "config/overrides.hpp"

#include <string_view>

#include "cuthresh/error.hpp"

namespace cuthresh::config {
namespace {

std::string trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(" \t") - first + 1));
}

/// A name may be written in quotes, as TOML writes one that holds a dot.
std::string unquote(const std::string& text) {
  const bool quoted =
      text.size() >= 2 && text.front() == text.back() && (text[0] == '"' || text[0] == '\'');
  return quoted ? text.substr(1, text.size() - 2) : text;
}

}  // namespace

Override split_override(const std::string& argument) {
  const InputError malformed({"--set " + argument, "must have the form section.key=value", "",
                              "write for instance --set train.steps=1000"});
  const auto equals = argument.find('=');
  if (equals == std::string::npos) throw malformed;
  const std::string path = trim(std::string_view(argument).substr(0, equals));
  const auto dot = path.find('.');
  if (dot == std::string::npos) throw malformed;
  Override out;
  out.section = trim(std::string_view(path).substr(0, dot));
  out.key = trim(std::string_view(path).substr(dot + 1));
  if (const auto second = out.key.find('.'); second != std::string::npos) {
    out.rest = unquote(trim(std::string_view(out.key).substr(second + 1)));
    out.key = trim(std::string_view(out.key).substr(0, second));
  }
  if (out.section.empty() || out.key.empty() || (out.rest && out.rest->empty())) throw malformed;
  out.value = trim(std::string_view(argument).substr(equals + 1));
  return out;
}

const std::vector<std::vector<std::string>>& exclusive_groups() {
  static const std::vector<std::vector<std::string>> groups = {
      {"sparsity.target_nnz", "sparsity.target_sparsity", "sparsity.layers"},
      {"data.train_rows", "data.train_fraction"},
      {"train.steps", "train.epochs"},
  };
  return groups;
}

}  // namespace cuthresh::config
