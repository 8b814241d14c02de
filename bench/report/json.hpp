#pragma once

#include <cstdint>
#include <string>

#include "bench/core/result.hpp"
#include "bench/report/compare.hpp"

namespace cuthresh::bench {

/// Raised when a reader of the earlier one would misunderstand a file.
inline constexpr std::int64_t kSchemaVersion = 1;

/// The whole report; what can be computed from it (GB/s, noise) is written too, and not read back.
std::string to_json(const Report& report, const Comparison* compared = nullptr);

/// A report that to_json wrote: equal to the one it was written from. Throws InputError for a file
/// that cannot be read, is not JSON, has another schema version, lacks a key or holds a value of
/// another kind.
Report read_json(const std::string& path);

}  // namespace cuthresh::bench
