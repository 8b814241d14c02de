#pragma once

// One call of a dense layer or a convolution, and its definition in float64.

#include <memory>
#include <string>

#include "bench/cases/models.hpp"

namespace cuthresh::bench {

enum class LayerPass : std::uint8_t { kForward, kBackward };

/// The case NAME of one pass over a layer. Its check compares entries of every result with their
/// sums in float64: all, or so many that this takes about `most_products` multiply-adds a result.
Case layer_case(const std::string& name, const ProductLayer& layer, LayerPass pass,
                std::int64_t most_products);

}  // namespace cuthresh::bench
