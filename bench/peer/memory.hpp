#pragma once

#include <cstdint>

namespace cuthresh::peer {

/// Gives free memory back to the system, forgets the peak so far, and returns what this process has
/// resident now, in KiB.
std::int64_t restart_peak();
/// The most that was resident since restart_peak(), in KiB; where the kernel lets nobody forget a
/// peak, since the start.
std::int64_t peak_resident();

}  // namespace cuthresh::peer
