#include "config/layer_names.hpp"

namespace cuthresh::config {

std::vector<std::string> split_layers(std::string_view key) {
  std::vector<std::string> names;
  while (true) {
    const auto comma = key.find(',');
    const std::string_view part = key.substr(0, comma);
    const auto first = part.find_first_not_of(" \t");
    const auto last = part.find_last_not_of(" \t");
    names.emplace_back(first == std::string_view::npos ? std::string_view{}
                                                       : part.substr(first, last - first + 1));
    if (comma == std::string_view::npos) return names;
    key.remove_prefix(comma + 1);
  }
}

}  // namespace cuthresh::config
