#include "backend/checks_layers.hpp"
#include "backend/pool_geometry.hpp"
#include "cuda/backend_impl.hpp"
#include "cuda/launch.hpp"
#include "kernels/block/pool.cuh"

namespace cuthresh::cuda {
namespace {

constexpr std::uint32_t kThreads = 256;

AveragePool average_of(const PoolShape& shape) {
  return {static_cast<float>(shape.window.elements())};
}

}  // namespace

void CudaBackend::pool_forward(const PoolForward& args) {
  check_pool(args);
  const PoolShape& s = args.shape;
  if (s.rows == 0) return;
  const PoolGeometry g = pool_geometry(s);
  const std::int64_t tiles = pool_tiles(g, s.rows);
  if (s.kind == PoolKind::kMax) {
    launch(context_, {"max_pool_kernel", tiles, kThreads}, max_pool_kernel<kThreads>, g, args.x,
           args.y, args.winner, s.rows);
  } else {
    launch(context_, {"average_pool_kernel", tiles, kThreads}, average_pool_kernel<kThreads>, g,
           average_of(s), args.x, args.y, s.rows);
  }
}

void CudaBackend::pool_backward(const PoolBackward& args) {
  check_pool(args);
  const PoolShape& s = args.shape;
  if (s.rows == 0) return;
  const PoolGeometry g = pool_geometry(s);
  const std::int64_t tiles = pool_backward_tiles(g, s.rows);
  if (s.kind == PoolKind::kMax) {
    launch(context_, {"max_pool_backward_kernel", tiles, kThreads},
           max_pool_backward_kernel<kThreads>, g, args.dy, args.winner, args.dx, s.rows);
  } else {
    launch(context_, {"average_pool_backward_kernel", tiles, kThreads},
           average_pool_backward_kernel<kThreads>, g, average_of(s), args.dy, args.dx, s.rows);
  }
}

}  // namespace cuthresh::cuda
