#pragma once

#include <cstdint>

namespace cuthresh {

enum class Activation : std::uint8_t {
  kIdentity,
  kRelu,
  kLeakyRelu,
  kTanh,
  kSigmoid,
  kGelu,
  kSilu
};

/// True when the derivative is taken from the pre-activation, which the forward pass must then
/// keep.
constexpr bool needs_preactivation(Activation a) {
  return a == Activation::kGelu || a == Activation::kSilu;
}

}  // namespace cuthresh
