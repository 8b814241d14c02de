#include "cpu/conv.hpp"

#include <algorithm>

#include "backend/checks_conv.hpp"
#include "cpu/backend_impl.hpp"

namespace cuthresh::cpu {

void CpuBackend::conv_forward(const ConvForward& args) {
  check_conv(args);
  if (args.shape.rows > 0) conv_->forward(args, threads_);
}

void CpuBackend::conv_backward(const ConvBackward& args) {
  check_conv(args);
  const ConvShape& s = args.shape;
  if (s.rows > 0) {
    conv_->backward(args, threads_);
  } else if (!args.accumulate) {
    std::fill(args.dw, args.dw + s.weights(), 0.0f);
    if (args.db != nullptr) std::fill(args.db, args.db + s.out_channels, 0.0f);
  }
}

}  // namespace cuthresh::cpu
