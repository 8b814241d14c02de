#pragma once

#include "cuthresh/config.hpp"

namespace cuthresh::bench {

/// What examples/mackey_glass_single.toml says.
FitConfig single_search();
/// What examples/mackey_glass_multi.toml says, cut short: 4,000 steps a round, until after 2,000 of
/// them 2 of the 4 layers are within 10 %. A quarter of single_search()'s steps; the example itself
/// takes nearly six times as many.
FitConfig layer_search();

}  // namespace cuthresh::bench
