#pragma once

// What the tests of single layers share: activations by name, arrays as they come back from a room,
// and what a refused call says.

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "core/array.hpp"
#include "cuthresh/error.hpp"
#include "kernels/math/activation_kind.hpp"

namespace cuthresh::testing {

struct NamedActivation {
  Activation activation;
  const char* name;  // as reference_activation takes it
};
inline constexpr NamedActivation kAllActivations[] = {{Activation::kIdentity, "identity"},
                                                      {Activation::kRelu, "relu"},
                                                      {Activation::kLeakyRelu, "leaky-relu"},
                                                      {Activation::kTanh, "tanh"},
                                                      {Activation::kSigmoid, "sigmoid"},
                                                      {Activation::kGelu, "gelu"},
                                                      {Activation::kSilu, "silu"}};

inline Array<float> on_device(Backend& backend, const std::vector<float>& values) {
  return Array<float>(backend, std::span<const float>(values));
}

/// Where two arrays differ in their bits (any two NaN are equal); empty when they do not.
inline std::string bit_difference(const std::vector<float>& got, const std::vector<float>& want) {
  if (got.size() != want.size()) return "sizes differ";
  for (std::size_t i = 0; i < got.size(); ++i) {
    const bool equal = std::memcmp(&got[i], &want[i], sizeof(float)) == 0;
    if (!equal && !(got[i] != got[i] && want[i] != want[i])) {
      return "entry " + std::to_string(i) + ": " + std::to_string(got[i]) + ", not " +
             std::to_string(want[i]);
    }
  }
  return "";
}

/// The message with which f() is refused; "accepted" when it is not.
template <class F>
std::string refusal(F f) {
  try {
    f();
  } catch (const InternalError& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace cuthresh::testing
