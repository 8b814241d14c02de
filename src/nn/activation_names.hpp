#pragma once

#include <optional>
#include <string>

#include "backend/backend.hpp"

namespace cuthresh::nn {

/// "relu", "leaky-relu", …; nothing for a name that is none.
std::optional<Activation> activation_from_name(const std::string& name);

}  // namespace cuthresh::nn
