#pragma once

// Where pooling windows lie, which entry of a window wins, and what goes back to an entry. Windows
// are walked row by row; sums add up in that order, so that both rooms give the same bits.

#include <cstdint>

#include "kernels/platform.hpp"

namespace cuthresh {

/// [first, end)
struct PoolRange {
  std::int64_t first;
  std::int64_t end;
  CTH_HD std::int64_t count() const { return end - first; }
};

/// Windows along one side of an image.
struct PoolAxis {
  std::int64_t in;      // entries
  std::int64_t out;     // positions of the window
  std::int64_t window;  // entries of the window
  std::int64_t stride;
  std::int64_t pad;

  /// The image's entry under the window's entry 0; negative in the padding.
  CTH_HD std::int64_t start(std::int64_t position) const { return position * stride - pad; }
  /// The window's entries that lie in the image: at least one where pad ≤ window/2.
  CTH_HD PoolRange inside(std::int64_t position) const {
    const std::int64_t begin = start(position);
    return {begin < 0 ? -begin : 0, in - begin < window ? in - begin : window};
  }
  /// The positions whose window covers entry i; none is possible.
  CTH_HD PoolRange covering(std::int64_t i) const {
    const std::int64_t at = i + pad;
    const std::int64_t end = at / stride + 1;
    return {at < window ? 0 : (at - window) / stride + 1, end < out ? end : out};
  }
};

struct PoolGeometry {
  PoolAxis down;
  PoolAxis across;
  std::int64_t channels;
};

/// The largest entry of a window: of equal entries the first (+0 equals −0), and the first NaN
/// before all numbers.
struct MaxPool {
  /// Whether x takes over from the best entry before it. Without a branch, or no loop over it
  /// vectorises.
  CTH_HD static bool takes(float x, float best) {
    return (static_cast<int>(best == best) & static_cast<int>(!(x <= best))) != 0;
  }
  /// What the output whose entry `winner` won passes to its entry `place`.
  CTH_HD static float share(std::int32_t winner, std::int32_t place, float dy) {
    return winner == place ? dy : 0.0f;
  }
};

/// The sum of a window's entries over the size of the whole window: what lies in the padding counts
/// as zeros. The same function takes the gradients' sum back.
struct AveragePool {
  float area;
  CTH_HD float operator()(float sum) const { return sum / area; }
};

}  // namespace cuthresh
