#include "cpu/parallel.hpp"

#include <omp.h>
#include <sched.h>

#include <atomic>
#include <exception>

namespace cuthresh::cpu {
namespace {

struct Job {
  void (*entry)(void*, int, int);
  void* context;
  int parts;
  std::atomic<int> ready{0};
  std::atomic<int> done{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error;
};

void work(Job* job, int first, int stride) {
  while (job->ready.load(std::memory_order_acquire) == 0) {
  }
  // The team may be smaller than asked for (nested regions, a thread limit): every part still runs once.
  try {
    for (int part = first; part < job->parts; part += stride) job->entry(job->context, part, job->parts);
  } catch (...) {
    if (!job->failed.exchange(true)) job->error = std::current_exception();
  }
  job->done.fetch_add(1, std::memory_order_release);
}

// Reads of the region's own argument block are not instrumented: libgomp orders them, which
// ThreadSanitizer cannot see; everything the job reads and writes is ordered by its two atomics.
__attribute__((no_sanitize("thread"), noinline)) void fork_join(Job* job) {
#pragma omp parallel num_threads(job->parts)
  work(job, omp_get_thread_num(), omp_get_num_threads());
}

}  // namespace

Threads::Threads(std::int64_t count) : count_(static_cast<int>(count)) {
  if (count_ > 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  count_ = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  if (count_ < 1) count_ = 1;
  // OMP_NUM_THREADS, where the user has set it, is the user's word.
  const int limit = omp_get_max_threads();
  if (limit < count_) count_ = limit;
}

void Threads::run_erased(int parts, Entry entry, void* context) {
  Job job{entry, context, parts, {}, {}, {}, {}};
  job.ready.store(1, std::memory_order_release);
  fork_join(&job);
  static_cast<void>(job.done.load(std::memory_order_acquire));
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace cuthresh::cpu
