#pragma once

namespace cuthresh::bench {

/// While it lives the first SIGINT or SIGTERM is remembered, and the second one ends the process.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static bool interrupted();
};

}  // namespace cuthresh::bench
