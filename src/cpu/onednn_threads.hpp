#pragma once

#include <omp.h>

namespace cuthresh::cpu {

/// oneDNN asks OpenMP how many threads to take: one, while this lives, in or out of a parallel
/// region.
struct OneThread {
  int before = omp_get_max_threads();
  OneThread() { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;
};

}  // namespace cuthresh::cpu
