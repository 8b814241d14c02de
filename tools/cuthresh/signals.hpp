#pragma once

namespace cuthresh::command {

/// From construction to destruction, the first SIGINT or SIGTERM is only noted, so that the best
/// network can be kept and written; the second ends the process at once with 128 + its number (130
/// for Ctrl-C).
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static bool interrupted();
};

}  // namespace cuthresh::command
