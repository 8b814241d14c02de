#include "bench/core/host_memory.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>

namespace cuthresh::bench {
namespace {

std::optional<std::int64_t> number_of(const std::string& path, const std::string& key = "") {
  const std::optional<std::string> text = line_of(path, key);
  std::int64_t value = 0;
  if (!text || std::sscanf(text->c_str(), " %ld", &value) != 1) return std::nullopt;
  return value;
}

/// What a container's limit leaves; page cache that can be given back counts as free.
std::optional<std::int64_t> free_in_container() {
  const std::string folder = "/sys/fs/cgroup/";
  const auto limit = number_of(folder + "memory.max");  // "max" is no number: no limit
  const auto used = number_of(folder + "memory.current");
  if (!limit || !used) return std::nullopt;
  return *limit - *used + number_of(folder + "memory.stat", "inactive_file ").value_or(0);
}

}  // namespace

std::optional<std::string> line_of(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key, 0) == 0) return line.substr(key.size());
  }
  return std::nullopt;
}

std::int64_t memory_info(const std::string& key) {
  return number_of("/proc/meminfo", key + ":").value_or(0) * 1024;
}

std::int64_t free_host_bytes() {
  std::int64_t available = memory_info("MemAvailable");
  if (const auto contained = free_in_container()) available = std::min(available, *contained);
  const std::int64_t reserve = std::max<std::int64_t>(available / 8, 256'000'000);
  return std::max<std::int64_t>(0, available - reserve);
}

}  // namespace cuthresh::bench
