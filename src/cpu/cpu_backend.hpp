#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backend/backend.hpp"

namespace cuthresh::cpu {

/// `engine` is "auto", "onednn", "tiled" or "reference"; `threads` 0 means one a core that this
/// process may use. `isa` names the loops ("baseline", "avx2", "avx512"; empty: the best), for
/// tests. Throws InputError for what this build or processor lacks.
std::unique_ptr<Backend> make_cpu_backend(const std::string& engine, std::int64_t threads,
                                          const std::string& isa = "");

/// Of so many threads (0 as above) those for each of several rooms that work at the same time.
/// Throws InputError where that is less than one.
std::int64_t share_of_threads(std::int64_t threads, std::int64_t rooms);

}  // namespace cuthresh::cpu
