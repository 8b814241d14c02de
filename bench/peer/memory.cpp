#include "bench/peer/memory.hpp"

#include <malloc.h>

#include <fstream>
#include <sstream>
#include <string>

#include "cuthresh/error.hpp"

namespace cuthresh::peer {
namespace {

/// A line of /proc/self/status: "VmHWM:     12345 kB".
std::int64_t status_kib(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(key + ":", 0) != 0) continue;
    std::istringstream words(line.substr(key.size() + 1));
    std::int64_t value = 0;
    if (words >> value) return value;
  }
  throw InputError({"/proc/self/status", "has no line of this name", key, "run on Linux"});
}

}  // namespace

std::int64_t restart_peak() {
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << "5";  // refused: the peak is the whole process's
  return status_kib("VmRSS");
}

std::int64_t peak_resident() {
  return status_kib("VmHWM");
}

}  // namespace cuthresh::peer
