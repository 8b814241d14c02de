#include "bench/cases/step_shapes.hpp"

#include <memory>
#include <span>
#include <string>

#include "bench/cases/prox_step_cases.hpp"
#include "cuda/backend_impl.hpp"
#include "cuda/launch.hpp"
#include "kernels/block/prox_step.cuh"

namespace cuthresh::bench {
namespace {

cuda::Context& context_of(const Room& room) {
  return dynamic_cast<cuda::CudaBackend&>(room.backend).context();
}

template <std::uint32_t kThreads, int kLoads, std::uint32_t kResident>
void shaped_step(const Room& room, ProxPlan& plan) {
  const cuda::CudaPlan& p = cuda::as_cuda_plan(plan);
  cuda::launch(context_of(room), {"prox_step_kernel", p.tile_count(), kThreads},
               prox_step_kernel<float, PlainStep<float>, L1Penalty<float>, kNoExtras, kThreads,
                                kLoads, kResident>,
               cuda::step_arguments<float>(p), L1Penalty<float>{});
}

struct Shape {
  std::uint32_t threads;
  int loads;
  std::uint32_t resident;
  void (*step)(const Room& room, ProxPlan& plan);
};

template <std::uint32_t kThreads, int kLoads, std::uint32_t kResident>
constexpr Shape shape() {
  return {kThreads, kLoads, kResident, shaped_step<kThreads, kLoads, kResident>};
}

// The first is what ships; 48 registers a thread let 1280 share a multiprocessor, 128 let
// 512.
constexpr Shape kShapes[] = {shape<256, 8, 1024>(), shape<128, 8, 1024>(), shape<512, 8, 1024>(),
                             shape<256, 4, 1024>(), shape<256, 4, 1280>(), shape<256, 8, 768>(),
                             shape<256, 16, 512>()};
constexpr std::int64_t kTiles[] = {4096, 8192, 16384, 32768};

}  // namespace

std::vector<Case> step_shape_cases(bool small) {
  const ListShape list = make_list("25m_161", small);
  const auto text = [](auto value) { return std::to_string(value); };
  std::vector<Case> cases;
  for (const Shape& shape : kShapes) {
    for (const std::int64_t tile : kTiles) {
      // When small, each shape and each tile once.
      if (small && tile != kTiles[0] && &shape != &kShapes[0]) continue;
      StepWay way;
      way.make_plan = [tile](const Room& room, std::span<const ProxTensor> tensors,
                             std::int32_t groups) -> std::unique_ptr<ProxPlan> {
        return std::make_unique<cuda::CudaPlan>(context_of(room), tensors, groups, StepKind::kPlain,
                                                Dtype::kFloat32, tile);
      };
      way.step = shape.step;
      cases.push_back(plain_step_case(
          "step_shape/threads_" + text(shape.threads) + "/loads_" + text(shape.loads) +
              "/resident_" + text(shape.resident) + "/tile_" + text(tile),
          text(shape.threads) + " threads a block, " + text(shape.loads) +
              " loads a thread at once, " + text(shape.resident) +
              " threads a multiprocessor, tiles of " + text(tile),
          list, way));
    }
  }
  return cases;
}

}  // namespace cuthresh::bench
