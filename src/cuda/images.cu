#include "backend/checks_images.hpp"
#include "cuda/backend_impl.hpp"
#include "cuda/launch.hpp"
#include "kernels/block/gather_images.cuh"

namespace cuthresh::cuda {

void CudaBackend::gather_images(const GatherImages& args) {
  constexpr std::uint32_t kThreads = 256;
  check_images(args);
  if (args.rows == 0) return;
  ImageGather images{};
  images.to = args.to;
  images.from = args.from;
  images.index = args.index;
  images.scale = args.scale;
  images.shift = args.shift;
  images.rows = args.rows;
  images.height = static_cast<std::int32_t>(args.shape.height);
  images.width = static_cast<std::int32_t>(args.shape.width);
  images.channels = static_cast<std::int32_t>(args.shape.channels);
  images.crop = static_cast<std::int32_t>(args.crop);
  images.seed = args.seed;
  images.of_step = rows_of(args.of_step);
  images.flip = args.flip;
  launch(context_,
         {"gather_images_kernel", gather_images_tiles(args.rows, images.elements()), kThreads},
         gather_images_kernel<kThreads>, images);
}

}  // namespace cuthresh::cuda
