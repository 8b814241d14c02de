#pragma once

#include <string>

#include "cuthresh/fit.hpp"
#include "format.hpp"

namespace cuthresh::command {

/// The table at the end of a fit: target, what was reached and how, λ, losses, effort, files, and
/// the certificate layer by layer.
std::string summary(const FitResult& result, const FitConfig& config, const Style& style);

}  // namespace cuthresh::command
