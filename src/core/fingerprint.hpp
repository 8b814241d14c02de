#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace cuthresh {

/// FNV-1a, to notice bytes that have changed. `hash`: that of what came before.
inline std::uint64_t fnv_1a(std::span<const std::byte> bytes,
                            std::uint64_t hash = 0xcbf29ce484222325U) {
  for (const std::byte byte : bytes) {
    hash = (hash ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3U;
  }
  return hash;
}

}  // namespace cuthresh
