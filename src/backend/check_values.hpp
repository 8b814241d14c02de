#pragma once

// The pieces that checks of arguments are made of. Each throws RefusedArgument.

#include <cstddef>
#include <cstdint>
#include <string>

#include "cuthresh/error.hpp"

namespace cuthresh {

/// A room was called with what it does not take. Inside the library that is a fault of ours; what
/// hands on a caller's arguments tells the caller (src/capi).
class RefusedArgument : public InternalError {
 public:
  using InternalError::InternalError;
};

/// 2^60 elements are 2^62 bytes, more than an address space holds: sums and products of sizes below
/// it fit into 64 bits.
inline constexpr std::int64_t kMaxElements = std::int64_t{1} << 60;

[[noreturn]] void refuse(std::string where, std::string what, std::string value,
                         std::string remedy);
std::string hex(const void* pointer);
/// A pointer that a kernel will use: not null, on a boundary of its elements.
void check_pointer(const std::string& where, const char* name, const void* pointer,
                   std::size_t alignment = alignof(float));
/// least ≤ extent ≤ 2^60.
void check_extent(const std::string& where, const char* name, std::int64_t extent,
                  std::int64_t least);
/// a·b ≤ 2^60, for extents that passed check_extent.
void check_product(const std::string& where, const char* name, std::int64_t a, std::int64_t b);

}  // namespace cuthresh
