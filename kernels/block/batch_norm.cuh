#pragma once

// Batch normalisation of a matrix [rows, channels] in five launches, equal to src/cpu/norm.cpp to
// the bit, sums included (column_sums.cuh). Bytes per element: mean 4, deviations 4, normalise 8
// (12 with z), back: sums 16 (8 where the derivative is 1 whatever it is given), gradient 12.
// Limiter: memory. Packs of 16 bytes where the channels are a multiple of 4 and the large arrays
// aligned, else element by element; arrays of one entry a channel may lie anywhere. dx may be dz,
// nothing else overlaps. tests/kernels/norm_kernels_test.cpp

#include <cstdint>

#include "kernels/block/column_sums.cuh"
#include "kernels/block/dense_bias.cuh"
#include "kernels/block/matrix_tile.cuh"
#include "kernels/block/multi_tensor.cuh"
#include "kernels/math/activation.hpp"
#include "kernels/math/batch_norm.hpp"
#include "kernels/pack.hpp"
#include "kernels/platform.hpp"

namespace cuthresh {

/// Statistics of a batch and how the running ones follow them.
struct BatchStatistics {
  BatchMoments moments;
  float* mean;                // [channels]
  float* inverse_std;         // [channels]
  float* running_mean;        // [channels]; null: nothing moves
  float* running_var;         // [channels]
  const StepHeader* stopped;  // once this plan has stopped nothing moves; null: no plan
};

/// What normalises a channel: statistics of a batch, or running ones, whose variance is turned into
/// 1/√(variance + epsilon) here.
struct NormConstants {
  const float* mean;
  const float* inverse_std;  // null: take variance
  const float* variance;
  float epsilon;
  const float* gamma;
  const float* beta;
};

namespace device {

/// Entries of an array with one a channel, which need not be aligned.
template <int kUnit>
CTH_DEVICE Pack<float, 4> load_channels(const float* from) {
  if constexpr (kUnit == 4) {
    if (is_pack_aligned(from)) return load_pack<4>(from);
    return {
        {load_global(from), load_global(from + 1), load_global(from + 2), load_global(from + 3)}};
  } else {
    return load_unit<1>(from);
  }
}

/// Σ x.
struct PlainSum {
  static constexpr int kSums = 1;
  static constexpr int kAhead = 4;
  struct Nothing {};
  const float* x;

  template <int kUnit>
  CTH_DEVICE Nothing channels(std::int64_t) const {
    return {};
  }
  template <int kUnit>
  CTH_DEVICE Pack<float, 4> load(std::int64_t at) const {
    return load_unit<kUnit>(x + at);
  }
  template <int kUnit>
  CTH_DEVICE void sums(const Pack<float, 4>& entry, Nothing, std::int64_t,
                       Pack<float, 4> (&out)[1]) const {
    out[0] = entry;
  }
};

/// Σ (x − mean)².
struct DeviationSum {
  static constexpr int kSums = 1;
  static constexpr int kAhead = 2;  // 64 registers
  const float* x;
  const float* mean;

  template <int kUnit>
  CTH_DEVICE Pack<float, 4> channels(std::int64_t column) const {
    return load_channels<kUnit>(mean + column);
  }
  template <int kUnit>
  CTH_DEVICE Pack<float, 4> load(std::int64_t at) const {
    return load_unit<kUnit>(x + at);
  }
  template <int kUnit>
  CTH_DEVICE void sums(const Pack<float, 4>& entry, const Pack<float, 4>& centre, std::int64_t,
                       Pack<float, 4> (&out)[1]) const {
    for (int i = 0; i < kUnit; ++i) {
      out[0].value[i] = squared_deviation(entry.value[i], centre.value[i]);
    }
  }
};

/// dy ← dz; Σ dz and Σ dz·x̂.
template <class A>
struct GradientSums {
  static constexpr int kSums = 2;
  static constexpr int kAhead = kChangesGradient<A> ? 1 : 2;  // 64 registers
  struct Channels {
    Pack<float, 4> mean;
    Pack<float, 4> inverse_std;
  };
  struct Loaded {
    Pack<float, 4> kept;
    Pack<float, 4> dz;
    Pack<float, 4> x;
  };
  A act;
  const float* kept;
  float* dy;
  const float* x;
  const float* mean;
  const float* inverse_std;

  template <int kUnit>
  CTH_DEVICE Channels channels(std::int64_t column) const {
    return {load_channels<kUnit>(mean + column), load_channels<kUnit>(inverse_std + column)};
  }
  template <int kUnit>
  CTH_DEVICE Loaded load(std::int64_t at) const {
    Loaded loaded = {};
    if constexpr (kChangesGradient<A>) loaded.kept = load_unit<kUnit>(kept + at);
    loaded.dz = load_unit<kUnit>(dy + at);
    loaded.x = load_unit<kUnit>(x + at);
    return loaded;
  }
  template <int kUnit>
  CTH_DEVICE void sums(const Loaded& loaded, const Channels& of, std::int64_t at,
                       Pack<float, 4> (&out)[2]) const {
    out[0] = loaded.dz;
    if constexpr (kChangesGradient<A>) {
      for (int i = 0; i < kUnit; ++i) {
        out[0].value[i] = loaded.dz.value[i] * act.derivative(loaded.kept.value[i]);
      }
      store_unit<kUnit>(dy + at, out[0]);
    }
    for (int i = 0; i < kUnit; ++i) {
      out[1].value[i] = out[0].value[i] *
                        normalised(loaded.x.value[i], of.mean.value[i], of.inverse_std.value[i]);
    }
  }
};

template <int kUnit>
CTH_HD MatrixTiles normalise_division(std::int64_t rows, std::int64_t channels) {
  return MatrixTiles::of_size(rows, channels / kUnit, 1024);
}

template <int kUnit, std::uint32_t kThreads, class A>
CTH_DEVICE void normalise(A act, const NormConstants& of, const float* x, float* z, float* y,
                          std::int64_t rows, std::int64_t channels) {
  constexpr int kAhead = 2;
  const MatrixTiles tiles = normalise_division<kUnit>(rows, channels);
  for (std::int64_t tile = block_index(); tile < tiles.count(); tile += block_count()) {
    const TileShare share = TileShare::of<kThreads>(tiles, tile);
    if (share.row >= share.end) continue;
    const std::int64_t column = share.unit * kUnit;
    const Pack<float, 4> mean = load_channels<kUnit>(of.mean + column);
    const Pack<float, 4> gamma = load_channels<kUnit>(of.gamma + column);
    const Pack<float, 4> beta = load_channels<kUnit>(of.beta + column);
    Pack<float, 4> inverse_std =
        load_channels<kUnit>((of.inverse_std != nullptr ? of.inverse_std : of.variance) + column);
    if (of.inverse_std == nullptr) {
      for (int i = 0; i < kUnit; ++i) {
        inverse_std.value[i] = inverse_deviation(inverse_std.value[i], of.epsilon);
      }
    }
    const std::int64_t step = share.step;
    for (std::int64_t row = share.row; row < share.end; row += kAhead * step) {
      Pack<float, 4> t[kAhead] = {};
      for (int a = 0; a < kAhead; ++a) {
        if (row + a * step >= share.end) break;
        t[a] = load_unit<kUnit>(x + (row + a * step) * channels + column);
      }
      for (int a = 0; a < kAhead; ++a) {
        if (row + a * step >= share.end) break;
        const std::int64_t at = (row + a * step) * channels + column;
        for (int i = 0; i < kUnit; ++i) {
          t[a].value[i] = batch_norm(t[a].value[i], mean.value[i], inverse_std.value[i],
                                     gamma.value[i], beta.value[i]);
        }
        if constexpr (A::kNeedsInput) store_unit<kUnit>(z + at, t[a]);
        for (int i = 0; i < kUnit; ++i) t[a].value[i] = act(t[a].value[i]);
        store_unit<kUnit>(y + at, t[a]);
      }
    }
  }
}

template <int kUnit, std::uint32_t kThreads>
CTH_DEVICE void norm_gradient(const float* sums, const float* mean, const float* inverse_std,
                              const float* gamma, const float* x, const float* dz, float* dx,
                              std::int64_t rows, std::int64_t channels) {
  constexpr int kAhead = 2;
  const MatrixTiles tiles = normalise_division<kUnit>(rows, channels);
  for (std::int64_t tile = block_index(); tile < tiles.count(); tile += block_count()) {
    const TileShare share = TileShare::of<kThreads>(tiles, tile);
    if (share.row >= share.end) continue;
    const std::int64_t column = share.unit * kUnit;
    BatchNormGradient of[kUnit];
    for (int i = 0; i < kUnit; ++i) {
      const std::int64_t c = column + i;
      of[i] = BatchNormGradient::of(mean[c], inverse_std[c], gamma[c], sums[c], sums[channels + c],
                                    static_cast<float>(rows));
    }
    const std::int64_t step = share.step;
    for (std::int64_t row = share.row; row < share.end; row += kAhead * step) {
      Pack<float, 4> gradient[kAhead] = {};
      Pack<float, 4> entry[kAhead] = {};
      for (int a = 0; a < kAhead; ++a) {
        if (row + a * step >= share.end) break;
        const std::int64_t at = (row + a * step) * channels + column;
        gradient[a] = load_unit<kUnit>(dz + at);
        entry[a] = load_unit<kUnit>(x + at);
      }
      for (int a = 0; a < kAhead; ++a) {
        if (row + a * step >= share.end) break;
        for (int i = 0; i < kUnit; ++i) {
          gradient[a].value[i] = of[i](gradient[a].value[i], entry[a].value[i]);
        }
        store_unit<kUnit>(dx + (row + a * step) * channels + column, gradient[a]);
      }
    }
  }
}

}  // namespace device

/// Tiles of normalise_kernel and norm_gradient_kernel; the others': column_sums_tiles.
CTH_HD std::int64_t normalise_tiles(std::int64_t rows, std::int64_t channels) {
  return device::normalise_division<1>(rows, channels).count();
}

/// statistics.mean; partials and tickets as in column_sums.cuh.
template <std::uint32_t kThreads>
CTH_KERNEL(kThreads)
batch_mean_kernel(BatchStatistics statistics, const float* x, std::int64_t rows,
                  std::int64_t channels, float* partials, std::uint32_t* tickets) {
  CTH_SHARED(device::ColumnSumsShared, shared);
  const auto finish = [&](std::int32_t, std::int64_t c, float total) {
    statistics.mean[c] = statistics.moments.mean(total);
  };
  const device::PlainSum element{x};
  if (channels % 4 == 0 && is_pack_aligned(x)) {
    device::column_sums<4, kThreads>(shared, element, finish, partials, tickets, rows, channels);
  } else {
    device::column_sums<1, kThreads>(shared, element, finish, partials, tickets, rows, channels);
  }
}

/// statistics.inverse_std from the mean, and what is running.
template <std::uint32_t kThreads>
CTH_KERNEL(kThreads)
batch_deviation_kernel(BatchStatistics statistics, const float* x, std::int64_t rows,
                       std::int64_t channels, float* partials, std::uint32_t* tickets) {
  CTH_SHARED(device::ColumnSumsShared, shared);
  const bool moves = statistics.running_mean != nullptr &&
                     (statistics.stopped == nullptr || statistics.stopped->stopped == 0);
  const auto finish = [&](std::int32_t, std::int64_t c, float total) {
    const BatchMoments& moments = statistics.moments;
    statistics.inverse_std[c] = moments.inverse_std(total);
    if (!moves) return;
    statistics.running_mean[c] = moments.moved(statistics.running_mean[c], statistics.mean[c]);
    statistics.running_var[c] = moments.moved(statistics.running_var[c], moments.unbiased(total));
  };
  const device::DeviationSum element{x, statistics.mean};
  if (channels % 4 == 0 && is_pack_aligned(x)) {
    device::column_sums<4, kThreads>(shared, element, finish, partials, tickets, rows, channels);
  } else {
    device::column_sums<1, kThreads>(shared, element, finish, partials, tickets, rows, channels);
  }
}

/// y = act(γ·x̂ + β); z gets γ·x̂ + β where A::kNeedsInput, else it is not touched.
template <class A, std::uint32_t kThreads>
CTH_KERNEL(kThreads)
normalise_kernel(A act, NormConstants of, const float* x, float* z, float* y, std::int64_t rows,
                 std::int64_t channels) {
  if (channels % 4 == 0 && is_pack_aligned(x) && is_pack_aligned(y) &&
      (!A::kNeedsInput || is_pack_aligned(z))) {
    device::normalise<4, kThreads>(act, of, x, z, y, rows, channels);
  } else {
    device::normalise<1, kThreads>(act, of, x, z, y, rows, channels);
  }
}

/// dy ← dz = dy·act'(kept); sums [2, channels] = Σ dz, Σ dz·x̂, which are set as, or added to, dbeta
/// and dgamma. kept is the output of the forward pass, or z where A::kNeedsInput. partials: twice
/// column_sums_partials.
template <class A, std::uint32_t kThreads>
CTH_KERNEL(kThreads)
norm_sums_kernel(device::GradientSums<A> element, float* sums, float* dgamma, float* dbeta,
                 bool accumulate, std::int64_t rows, std::int64_t channels, float* partials,
                 std::uint32_t* tickets) {
  CTH_SHARED(device::ColumnSumsShared, shared);
  const auto finish = [&](std::int32_t which, std::int64_t c, float total) {
    sums[which * channels + c] = total;
    float* to = (which == 0 ? dbeta : dgamma) + c;
    *to = accumulate ? *to + total : total;
  };
  if (channels % 4 == 0 && is_pack_aligned(element.dy) && is_pack_aligned(element.x) &&
      (!device::kChangesGradient<A> || is_pack_aligned(element.kept))) {
    device::column_sums<4, kThreads>(shared, element, finish, partials, tickets, rows, channels);
  } else {
    device::column_sums<1, kThreads>(shared, element, finish, partials, tickets, rows, channels);
  }
}

/// dx from dz and its sums.
template <std::uint32_t kThreads>
CTH_KERNEL(kThreads)
norm_gradient_kernel(const float* sums, const float* mean, const float* inverse_std,
                     const float* gamma, const float* x, const float* dz, float* dx,
                     std::int64_t rows, std::int64_t channels) {
  if (channels % 4 == 0 && is_pack_aligned(x) && is_pack_aligned(dz) && is_pack_aligned(dx)) {
    device::norm_gradient<4, kThreads>(sums, mean, inverse_std, gamma, x, dz, dx, rows, channels);
  } else {
    device::norm_gradient<1, kThreads>(sums, mean, inverse_std, gamma, x, dz, dx, rows, channels);
  }
}

}  // namespace cuthresh
