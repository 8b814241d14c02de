#include "backend/checks_layers.hpp"
#include "backend/pool_geometry.hpp"
#include "cpu/backend_impl.hpp"

namespace cuthresh::cpu {
namespace {

// Lines that are worth a thread: a fork costs about 1 µs, an entry of a window about 0.1 ns.
std::int64_t pool_grain(std::int64_t entries_a_line) {
  return (1 << 14) / (entries_a_line + 1) + 1;
}

}  // namespace

void CpuBackend::pool_forward(const PoolForward& args) {
  check_pool(args);
  const PoolGeometry g = pool_geometry(args.shape);
  const std::int64_t entries = g.across.out * g.channels * args.shape.window.elements();
  threads_.ranges(args.shape.rows * g.down.out, pool_grain(entries), 1,
                  [&](std::int64_t begin, std::int64_t end) {
                    if (args.shape.kind == PoolKind::kMax) {
                      loops_.layers.max_pool(g, args.x, args.y, args.winner, begin, end);
                    } else {
                      loops_.layers.average_pool(g, args.x, args.y, begin, end);
                    }
                  });
}

// Every entry gathers from the windows that cover it, in order: overlapping windows need no
// atomics, and the sums are the same whatever the number of threads.
void CpuBackend::pool_backward(const PoolBackward& args) {
  check_pool(args);
  const PoolGeometry g = pool_geometry(args.shape);
  threads_.ranges(args.shape.rows * g.down.in, pool_grain(g.across.in * g.channels), 1,
                  [&](std::int64_t begin, std::int64_t end) {
                    if (args.shape.kind == PoolKind::kMax) {
                      loops_.layers.max_pool_backward(g, args.dy, args.winner, args.dx, begin, end);
                    } else {
                      loops_.layers.average_pool_backward(g, args.dy, args.dx, begin, end);
                    }
                  });
}

}  // namespace cuthresh::cpu
