#pragma once

// y = act(a + b) or act(a), and dy ← dy·act'(kept): the element-wise layers of a network. Bytes per
// element: forward 12 with two operands, 8 with one, 4 more with z; backward 12. Limiter: memory.
// Two packs of 16 bytes an array in flight where all arrays reach a 16-byte boundary at the same
// element, else element by element. y may be a or b, entry for entry. Equal to
// src/cpu/pointwise.cpp to the bit. tests/kernels/pointwise_kernels_test.cpp

#include <cstdint>

#include "kernels/math/activation.hpp"
#include "kernels/pack.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

inline constexpr std::int64_t kPointwiseAhead = 2;

/// Blocks that have work: a thread has kPointwiseAhead packs at a time.
CTH_HD std::int64_t pointwise_tiles(std::int64_t size, std::uint32_t threads) {
  const std::int64_t each = 4 * kPointwiseAhead * std::int64_t{threads};
  return (size + each - 1) / each;
}

namespace device {

/// b and z are not touched where there is no such operand.
template <bool kTwo, std::uint32_t kThreads, class A>
CTH_DEVICE void pointwise(A act, const float* a, const float* b, float* z, float* y,
                          std::int64_t size) {
  const auto split = split_in_packs<4>(size, a, kTwo ? b : a, A::kNeedsInput ? z : y, y);
  const std::int64_t first = std::int64_t{block_index()} * kThreads + thread_index();
  const std::int64_t threads = std::int64_t{block_count()} * kThreads;
  for (std::int64_t i = first; i < split.units; i += kPointwiseAhead * threads) {
    Pack<float> t[kPointwiseAhead] = {};
    Pack<float> u[kPointwiseAhead] = {};
    for (int k = 0; k < kPointwiseAhead; ++k) {
      const std::int64_t at = split.head + 4 * (i + k * threads);
      if (i + k * threads >= split.units) break;
      t[k] = load_pack(a + at);
      if constexpr (kTwo) u[k] = load_pack(b + at);
    }
    for (int k = 0; k < kPointwiseAhead; ++k) {
      const std::int64_t at = split.head + 4 * (i + k * threads);
      if (i + k * threads >= split.units) break;
      if constexpr (kTwo) {
        for (int e = 0; e < 4; ++e) t[k].value[e] = t[k].value[e] + u[k].value[e];
      }
      if constexpr (A::kNeedsInput) store_pack(z + at, t[k]);
      for (int e = 0; e < 4; ++e) t[k].value[e] = act(t[k].value[e]);
      store_pack(y + at, t[k]);
    }
  }
  for (std::int64_t i = first; i < size - 4 * split.units; i += threads) {
    const std::int64_t at = scalar_entry<4>(split, i);
    float t = a[at];
    if constexpr (kTwo) t = t + b[at];
    if constexpr (A::kNeedsInput) z[at] = t;
    y[at] = act(t);
  }
}

}  // namespace device

/// b may be null: one operand. z gets a + b where A::kNeedsInput, else it is not touched.
template <class A, std::uint32_t kThreads>
CTH_KERNEL(kThreads)
pointwise_kernel(A act, const float* a, const float* b, float* z, float* y, std::int64_t size) {
  if (b != nullptr) {
    device::pointwise<true, kThreads>(act, a, b, z, y, size);
  } else {
    device::pointwise<false, kThreads>(act, a, b, z, y, size);
  }
}

/// kept is the output of the forward pass, or z where A::kNeedsInput.
template <class A, std::uint32_t kThreads>
CTH_KERNEL(kThreads)
pointwise_backward_kernel(A act, const float* kept, float* dy, std::int64_t size) {
  const auto split = split_in_packs<4>(size, kept, dy);
  const std::int64_t first =
      std::int64_t{device::block_index()} * kThreads + device::thread_index();
  const std::int64_t threads = std::int64_t{device::block_count()} * kThreads;
  for (std::int64_t i = first; i < split.units; i += kPointwiseAhead * threads) {
    Pack<float> k[kPointwiseAhead] = {};
    Pack<float> dz[kPointwiseAhead] = {};
    for (int p = 0; p < kPointwiseAhead; ++p) {
      const std::int64_t at = split.head + 4 * (i + p * threads);
      if (i + p * threads >= split.units) break;
      k[p] = device::load_pack(kept + at);
      dz[p] = device::load_pack(dy + at);
    }
    for (int p = 0; p < kPointwiseAhead; ++p) {
      const std::int64_t at = split.head + 4 * (i + p * threads);
      if (i + p * threads >= split.units) break;
      for (int e = 0; e < 4; ++e) {
        dz[p].value[e] = dz[p].value[e] * act.derivative(k[p].value[e]);
      }
      device::store_pack(dy + at, dz[p]);
    }
  }
  for (std::int64_t i = first; i < size - 4 * split.units; i += threads) {
    const std::int64_t at = scalar_entry<4>(split, i);
    dy[at] = dy[at] * act.derivative(kept[at]);
  }
}

}  // namespace cuthresh
