#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cuthresh::nn {

/// The layers of a model known by name ("cnn-paper", "lenet5", "resnet20") in the notation of
/// layer_spec.hpp, ending in `classes` outputs; nothing for a name that is none.
std::optional<std::vector<std::string>> preset_layers(const std::string& name,
                                                      const std::string& activation,
                                                      std::int64_t classes);

}  // namespace cuthresh::nn
