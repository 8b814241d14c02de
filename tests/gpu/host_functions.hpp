#pragma once

#include "functions.hpp"

namespace cuthresh::testing {

/// What apply() of functions.hpp must give, in host memory.
void apply_on_host(Function function, std::uint32_t first, std::uint32_t step, std::int64_t count,
                   std::uint32_t* to);

}  // namespace cuthresh::testing
