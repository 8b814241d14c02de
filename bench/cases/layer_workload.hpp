#pragma once

// One call of a dense layer or a convolution, and its definition in float64.

#include <string>

#include "bench/cases/models.hpp"

namespace cuthresh::bench {

enum class LayerPass : std::uint8_t { kForward, kBackward };

/// The case `name` of one pass over a layer. Its check compares entries of every result, all of a
/// small one, with their sums in float64.
Case layer_case(const std::string& name, const ProductLayer& layer, LayerPass pass);

}  // namespace cuthresh::bench
