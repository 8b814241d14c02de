#include "backend/checks.hpp"
#include "cuda/backend_impl.hpp"
#include "cuda/launch.hpp"
#include "kernels/block/gather.cuh"

namespace cuthresh::cuda {

void CudaBackend::gather_rows(void* to, const void* from, const std::int64_t* index,
                              std::int64_t rows, std::size_t row_bytes, const StepRows& of_step) {
  constexpr std::uint32_t kThreads = 256;
  if (row_bytes == 0) return;
  check_gather(to, from, index, rows);
  if (rows == 0) return;
  launch(context_, {"gather_rows_kernel", gather_tiles(rows, row_bytes), kThreads},
         gather_rows_kernel<kThreads>, to, from, index, rows, row_bytes, rows_of(of_step));
}

}  // namespace cuthresh::cuda
