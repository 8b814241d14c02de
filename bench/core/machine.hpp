#pragma once

#include <string>

#include "bench/core/instruments.hpp"
#include "bench/core/result.hpp"

namespace cuthresh::bench {

/// The machine that this runs on, the room and the build.
Machine describe_machine(const Backend& backend, const std::string& why,
                         const Instruments& instruments);

/// The commit that was built, as Machine::commit; made anew at every build (commit.cmake).
extern const char* const kCommit;

}  // namespace cuthresh::bench
