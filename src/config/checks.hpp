#pragma once

#include <string>
#include <string_view>

#include "config/origins.hpp"
#include "cuthresh/config.hpp"

namespace cuthresh::config {

/// What validate() does, with the places of the values for its messages. Throws InputError.
void check(const FitConfig& config, const Origins& origins);

/// Of it, what concerns [data] and lies between its keys.
void check_data(const DataConfig& data, const Origins& origins);
/// And [search].
void check_search(const FitConfig& config, const Origins& origins);

/// As TOML writes a string, for messages.
inline std::string in_quotes(std::string_view text) {
  return '"' + std::string(text) + '"';
}

}  // namespace cuthresh::config
