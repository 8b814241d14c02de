#pragma once

#include <cstdint>
#include <vector>

namespace cuthresh::peer {

/// The data of the list cases, made by formula on both sides (tools/peers/formula.py): every value
/// is a function of its index alone, in integer and single float32 operations, and so the same to
/// the bit everywhere. Random, because selection by radix and by partition would both find
/// repeated data easy.
inline std::uint32_t mixed(std::uint32_t i, std::uint32_t stream) {
  std::uint32_t h = i * 0x9e3779b1U + stream * 0x85ebca77U;
  h = (h ^ (h >> 16)) * 0x7feb352dU;
  h = (h ^ (h >> 15)) * 0x846ca68bU;
  return h ^ (h >> 16);
}

/// Uniform on [−1, 1), a multiple of 2^-23.
inline float uniform(std::uint32_t i, std::uint32_t stream) {
  const auto steps = static_cast<std::int32_t>(mixed(i, stream) >> 8) - (1 << 23);
  return static_cast<float>(steps) * 0x1p-23f;
}

/// The product of two: denser towards zero, over many binades, as gradients are. Up to 2.4e-4.
inline float gradient_at(std::uint32_t i) {
  return uniform(i, 1) * uniform(i, 2) * 0x1p-12f;
}

/// One in eight is not zero, at random.
inline float weight_at(std::uint32_t i) {
  return (mixed(i, 3) & 7U) == 0U ? uniform(i, 4) : 0.0f;
}

/// f(first), f(first + 1), …
inline std::vector<float> by_formula(float (*f)(std::uint32_t), std::uint32_t first,
                                     std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = f(first++);
  return values;
}

}  // namespace cuthresh::peer
