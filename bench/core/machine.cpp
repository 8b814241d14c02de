#include "bench/core/machine.hpp"

#include <fmt/chrono.h>
#include <fmt/core.h>

#include <algorithm>
#include <ctime>
#include <regex>
#include <thread>

#include "bench/core/host_memory.hpp"

namespace cuthresh::bench {
namespace {

std::string processor_name() {
  const std::string line = line_of("/proc/cpuinfo", "model name").value_or("");
  const std::size_t colon = line.find(": ");
  return colon == std::string::npos ? "unknown" : line.substr(colon + 2);
}

/// What a room's description says of the libraries it computes with: "oneDNN 2.6.3".
std::map<std::string, std::string> libraries_in(const std::string& description) {
  static const std::regex kNamed(R"((oneDNN|cuBLAS|cuDNN) ([0-9.]+))");
  std::map<std::string, std::string> found;
  for (std::sregex_iterator i(description.begin(), description.end(), kNamed), end; i != end; ++i) {
    found[(*i)[1]] = (*i)[2];
  }
  return found;
}

}  // namespace

Machine describe_machine(const Backend& backend, const std::string& why,
                         const Instruments& instruments) {
  Machine machine;
  machine.processor = processor_name();
  machine.cores = std::max(1U, std::thread::hardware_concurrency());
  machine.memory_bytes = memory_info("MemTotal");
  machine.cache_bytes = instruments.cache_bytes();
  machine.room = backend.description();
  machine.why = why;
  machine.threads = instruments.threads();
  machine.compiler = CTH_BENCH_COMPILER;
  machine.build = CTH_BENCH_BUILD;
  machine.commit = kCommit;
  machine.libraries = libraries_in(machine.room);
  machine.libraries.merge(instruments.libraries());
  machine.date = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
  return machine;
}

}  // namespace cuthresh::bench
