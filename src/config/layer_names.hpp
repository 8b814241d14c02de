#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cuthresh::config {

/// The layers that a key of [sparsity.layers] names: "fc2, fc3". An empty name where there is none
/// between two commas.
std::vector<std::string> split_layers(std::string_view key);

}  // namespace cuthresh::config
