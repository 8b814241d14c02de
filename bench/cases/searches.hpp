#pragma once

#include "cuthresh/config.hpp"

namespace cuthresh::bench {

/// What examples/mackey_glass_single.toml says.
FitConfig single_search();
/// What examples/mackey_glass_multi.toml says, cut short to a quarter of single_search()'s steps:
/// 4,000 steps a round until 2 of the 4 layers are within 10 %. As it stands it takes six times as
/// long as single_search().
FitConfig layer_search();

}  // namespace cuthresh::bench
