#include "cpu/parallel.hpp"

#include <sched.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#include "cpu/cpu_backend.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::cpu {
namespace {

int default_count() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  if (const char* text =
          std::getenv("OMP_NUM_THREADS")) {  // the user's word for every such library
    const long limit = std::strtol(text, nullptr, 10);
    if (limit >= 1 && limit < count) count = static_cast<int>(limit);
  }
  return count < 1 ? 1 : count;
}

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

constexpr int kSpins = 1000;  // about 50 µs on current x86 cores

// True on a thread that is running a part: a nested run must not wait for the pool it occupies.
thread_local bool inside_part = false;

}  // namespace

class Threads::Pool {
 public:
  explicit Pool(int count) : available_(static_cast<std::size_t>(count)) {
    workers_.reserve(static_cast<std::size_t>(count - 1));
    for (int worker = 1; worker < count; ++worker) {
      try {
        workers_.emplace_back([this, worker] { serve(worker); });
      } catch (const std::exception& error) {
        // No destructor runs for a Pool that was never made, and a thread that is destroyed before
        // it is joined ends the process.
        join_workers();
        throw InternalError({"threads",
                             "could not start thread " + std::to_string(worker + 1) + " of " +
                                 std::to_string(count) + ": " + error.what(),
                             "", "run with fewer threads (run.threads)"});
      }
    }
  }

  ~Pool() { join_workers(); }

  void run(int parts, Entry entry, void* context) {
    entry_ = entry;
    context_ = context;
    parts_ = parts;
    error_ = nullptr;
    failed_.store(false, std::memory_order_relaxed);
    remaining_.store(parts, std::memory_order_relaxed);
    // The release that hands the job over: whoever takes a part has seen all of the above.
    for (int part = 0; part < parts; ++part) flag(part).store(true, std::memory_order_release);
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();

    inside_part = true;
    for (int part = 0; part < parts; ++part) take(part);
    inside_part = false;

    for (int spin = 0; spin < kSpins && remaining_.load(std::memory_order_acquire) != 0; ++spin)
      pause();
    for (int left = remaining_.load(std::memory_order_acquire); left != 0;
         left = remaining_.load(std::memory_order_acquire)) {
      remaining_.wait(left, std::memory_order_acquire);
    }
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void join_workers() {
    stop_.store(true, std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  // A byte and its own cache line: each is written by one worker and the caller only.
  struct alignas(64) Flag {
    std::atomic<bool> value{false};
  };
  std::atomic<bool>& flag(int part) { return available_[static_cast<std::size_t>(part)].value; }

  /// Runs a part unless somebody else has it. Whoever holds one keeps run() waiting, so the job it
  /// reads after taking it is the one that part belongs to, however late this thread woke up.
  void take(int part) {
    if (!flag(part).load(std::memory_order_relaxed) ||
        !flag(part).exchange(false, std::memory_order_acquire))
      return;
    try {
      entry_(context_, part, parts_);
    } catch (...) {
      if (!failed_.exchange(true, std::memory_order_relaxed)) error_ = std::current_exception();
    }
    if (remaining_.fetch_sub(1, std::memory_order_acq_rel) == 1) remaining_.notify_one();
  }

  void serve(int worker) {
    inside_part = true;
    std::uint32_t seen = 0;
    for (;;) {
      for (int spin = 0; spin < kSpins && generation_.load(std::memory_order_acquire) == seen;
           ++spin)
        pause();
      generation_.wait(seen, std::memory_order_acquire);
      seen = generation_.load(std::memory_order_acquire);
      if (stop_.load(std::memory_order_relaxed)) return;
      take(worker);
    }
  }

  Entry entry_ = nullptr;
  void* context_ = nullptr;
  int parts_ = 0;
  std::exception_ptr error_;
  std::atomic<bool> failed_{false};
  std::atomic<bool> stop_{false};
  std::atomic<int> remaining_{0};
  alignas(64) std::atomic<std::uint32_t> generation_{0};
  std::vector<Flag> available_;
  std::vector<std::thread> workers_;
};

std::int64_t share_of_threads(std::int64_t threads, std::int64_t rooms) {
  const std::int64_t all = threads > 0 ? threads : default_count();
  if (all >= rooms) return all / rooms;
  throw InputError({"run.threads",
                    "the CPU gives each of " + std::to_string(rooms) +
                        " rooms at work at the same time (search.parallel) a thread of its own",
                    std::to_string(all),
                    "ask for at least " + std::to_string(rooms) + " threads, or for fewer rooms"});
}

Threads::Threads(std::int64_t count)
    : count_(count > 0 ? static_cast<int>(count) : default_count()) {
  if (count_ > 1) pool_ = std::make_unique<Pool>(count_);
}

Threads::~Threads() = default;

void Threads::run_erased(int parts, Entry entry, void* context) const {
  if (inside_part) {
    for (int part = 0; part < parts; ++part) entry(context, part, parts);
    return;
  }
  pool_->run(parts, entry, context);
}

}  // namespace cuthresh::cpu
