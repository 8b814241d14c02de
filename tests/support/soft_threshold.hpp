#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace cuthresh::testing {

/// The definition, sign(z)·max(|z| − t, 0), in its textbook form.
template <class T>
T soft_by_definition(T z, T t) {
  if (std::isnan(z)) return z;
  const T shrunk = std::fmax(std::fabs(z) - t, T(0));
  return shrunk == T(0) ? T(0) : std::copysign(shrunk, z);
}

inline std::uint32_t bits_of(float x) {
  std::uint32_t b = 0;
  std::memcpy(&b, &x, sizeof b);
  return b;
}
inline std::uint64_t bits_of(double x) {
  return __builtin_bit_cast(std::uint64_t, x);
}

}  // namespace cuthresh::testing
