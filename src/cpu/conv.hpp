#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backend/backend.hpp"
#include "cpu/loops.hpp"
#include "cpu/parallel.hpp"
#include "kernels/math/sum_order.hpp"

namespace cuthresh::cpu {

/// Convolutions of one engine. Arguments have passed check_conv, rows ≥ 1. Results do not depend on
/// the number of threads.
class Conv {
 public:
  virtual ~Conv() = default;
  virtual void forward(const ConvForward& args, const Threads& threads) = 0;
  virtual void backward(const ConvBackward& args, const Threads& threads) = 0;
};

/// Direct loops of our own: sums in a fixed order, one fused multiply-add each, so that results are
/// the same bits on every machine, instruction set and thread count.
std::unique_ptr<Conv> make_plain_conv(const Loops& loops);
#if defined(CTH_WITH_ONEDNN)
std::unique_ptr<Conv> make_onednn_conv(const Loops& loops);
#endif

/// What the epilogues of both engines take of a shape.
inline DenseShape epilogue_shape(const ConvShape& s) {
  return {s.rows, s.in.channels, s.out_channels, s.activation, s.leaky_slope};
}

}  // namespace cuthresh::cpu
