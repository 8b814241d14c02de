#include "cpu/backend_impl.hpp"

namespace cuthresh::cpu {

void CpuBackend::initialise_uniform(float* to, std::int64_t size, float bound, std::uint64_t seed,
                                    std::uint32_t stream) {
  threads_.ranges(size, 1 << 16, 4, [&](std::int64_t begin, std::int64_t end) {
    loops_.uniform(to, begin, end, bound, seed, stream);
  });
}

}  // namespace cuthresh::cpu
