#pragma once

// Another program, run to its end.

#include <cstdint>
#include <string>
#include <vector>

namespace cuthresh::bench {

struct ChildRun {
  int status = 0;               ///< its exit status; 128 and the signal when one ended it
  std::int64_t peak_bytes = 0;  ///< the most memory it held, where that was watched
};

enum class Watch : bool { kNothing, kMemory };

/// Runs arguments[0], an existing file, its standard output and error written to `output`. Throws
/// InternalError when it cannot be started. Memory is looked at every half millisecond: the
/// kernel's own account of a child (ru_maxrss) begins with the memory of whoever started it.
ChildRun run_child(const std::vector<std::string>& arguments, const std::string& output,
                   Watch watch = Watch::kNothing);

/// The file of this name in the folder of the running program; "" where there is none.
std::string beside_this_program(const std::string& name);

}  // namespace cuthresh::bench
