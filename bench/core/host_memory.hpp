#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace cuthresh::bench {

/// The rest of the first line of a text file that begins with `key`.
std::optional<std::string> line_of(const std::string& path, const std::string& key);

/// Of /proc/meminfo: "MemTotal". 0 when there is no such line.
std::int64_t memory_info(const std::string& key);

/// As far as a process may take it without the machine swapping or a container's limit ending it:
/// what is available less an eighth, and at least 256 MB less.
std::int64_t free_host_bytes();

}  // namespace cuthresh::bench
