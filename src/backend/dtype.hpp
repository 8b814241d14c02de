#pragma once

// The number types that a plan's weights and gradients may have.

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/scalar.hpp"

namespace cuthresh {

enum class Dtype : std::uint8_t { kFloat32, kFloat64, kBfloat16, kFloat16 };

/// f(std::type_identity<Storage>()), Storage being what `dtype` is in kernels/scalar.hpp. Here and
/// nowhere else a plan's dtype becomes a type.
template <class F>
decltype(auto) with_storage(Dtype dtype, F&& f) {
  switch (dtype) {
    case Dtype::kFloat32:
      break;
    case Dtype::kFloat64:
      return f(std::type_identity<double>());
    case Dtype::kBfloat16:
      return f(std::type_identity<Bf16>());
    case Dtype::kFloat16:
      return f(std::type_identity<Fp16>());
  }
  return f(std::type_identity<float>());
}

/// The same with what is computed with.
template <class F>
decltype(auto) with_compute(Dtype dtype, F&& f) {
  return dtype == Dtype::kFloat64 ? f(std::type_identity<double>())
                                  : f(std::type_identity<float>());
}

/// Bytes of a weight or gradient, and of what is computed with: momentum, λ, rates.
constexpr std::size_t storage_bytes(Dtype dtype) {
  return dtype == Dtype::kFloat64 ? 8 : (dtype == Dtype::kFloat32 ? 4 : 2);
}
constexpr std::size_t compute_bytes(Dtype dtype) {
  return dtype == Dtype::kFloat64 ? 8 : 4;
}
/// Whether a float32 copy of the weights is kept.
constexpr bool has_master(Dtype dtype) {
  return storage_bytes(dtype) == 2;
}

}  // namespace cuthresh
