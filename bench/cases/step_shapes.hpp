#pragma once

#include <vector>

#include "bench/core/case.hpp"

namespace cuthresh::bench {

/// The plain step of a ResNet-50's list in other shapes than the one that ships: threads a block,
/// loads that a thread begins with, threads a multiprocessor, entries of a tile. For a CUDA room.
std::vector<Case> step_shape_cases(bool small);

}  // namespace cuthresh::bench
