#include "nn/activation_names.hpp"

#include <array>
#include <utility>

namespace cuthresh::nn {

std::optional<Activation> activation_from_name(const std::string& name) {
  static constexpr std::array<std::pair<const char*, Activation>, 7> kNames{
      {{"identity", Activation::kIdentity},
       {"relu", Activation::kRelu},
       {"leaky-relu", Activation::kLeakyRelu},
       {"tanh", Activation::kTanh},
       {"sigmoid", Activation::kSigmoid},
       {"gelu", Activation::kGelu},
       {"silu", Activation::kSilu}}};
  for (const auto& [known, activation] : kNames) {
    if (name == known) return activation;
  }
  return std::nullopt;
}

}  // namespace cuthresh::nn
