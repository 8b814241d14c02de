// Compiled into each executable by itself, as core/registry.cpp is: which rooms it has, differs.

#include "bench/core/instruments.hpp"

namespace cuthresh::bench {

std::unique_ptr<Instruments> make_instruments(Backend& backend, std::int64_t threads,
                                              const ClockOptions& options) {
#if defined(CTH_BENCH_CUDA)
  if (auto cuda = make_cuda_instruments(backend, options)) return cuda;
#endif
  return make_cpu_instruments(backend, threads, options);
}

}  // namespace cuthresh::bench
