#include <algorithm>

#include "backend/checks_layers.hpp"
#include "cpu/backend_impl.hpp"

namespace cuthresh::cpu {
namespace {

// A fork costs about 1 µs, as long as a core streams some ten thousand elements.
constexpr std::int64_t kElementsAThread = 1 << 14;

}  // namespace

void CpuBackend::pointwise_forward(const PointwiseForward& args) {
  check_pointwise(args);
  threads_.ranges(args.size, kElementsAThread, 16, [&](std::int64_t begin, std::int64_t end) {
    loops_.layers.pointwise(args, begin, end);
  });
}

void CpuBackend::pointwise_backward(const PointwiseBackward& args) {
  check_pointwise(args);
  // The derivative is 1: nothing changes.
  if (args.activation == Activation::kIdentity) return;
  threads_.ranges(args.size, kElementsAThread, 16, [&](std::int64_t begin, std::int64_t end) {
    loops_.layers.pointwise_backward(args, begin, end);
  });
}

void CpuBackend::dropout(const Dropout& args) {
  check_dropout(args);
  if (args.rate == 0.0f) {
    if (args.to != args.from)
      copy(args.to, args.from, sizeof(float) * static_cast<std::size_t>(args.size));
    return;
  }
  const auto step = static_cast<std::uint32_t>(step_number(args.plan, args.step));
  const DropoutMask mask = DropoutMask::of(args.seed, args.stream, step, args.rate);
  threads_.ranges(args.size, kElementsAThread / 4, 64, [&](std::int64_t begin, std::int64_t end) {
    loops_.layers.dropout(mask, args.from, args.to, begin, end);
  });
}

void CpuBackend::add(float* to, const float* from, std::int64_t size) {
  check_add(to, from, size);
  threads_.ranges(size, kElementsAThread, 16, [&](std::int64_t begin, std::int64_t end) {
    loops_.add(from + begin, end - begin, to + begin);
  });
}

void CpuBackend::transpose_samples(float* to, const float* from, std::int64_t rows,
                                   std::int64_t lines, std::int64_t columns) {
  check_transpose(to, from, rows, lines, columns);
  // In strips of columns, so that few large samples keep all threads busy too.
  constexpr std::int64_t kStrip = 64;
  const std::int64_t strips = (columns + kStrip - 1) / kStrip;
  const std::int64_t grain = kElementsAThread / (lines * std::min(columns, kStrip)) + 1;
  threads_.ranges(rows * strips, grain, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t sample = i / strips;
      const std::int64_t first = i % strips * kStrip;
      const std::int64_t at = sample * lines * columns;
      loops_.layers.transpose(from + at, lines, columns, first, std::min(first + kStrip, columns),
                              to + at);
    }
  });
}

}  // namespace cuthresh::cpu
