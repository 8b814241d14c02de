// Built without ThreadSanitizer's instrumentation, as fiber.cpp is.

#include "simt/interpreter.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <numeric>
#include <string>

#include "simt/scheduler.hpp"

namespace cuthresh::simt {

constinit Position position{};

namespace {

// Launches of several host threads take turns.
std::mutex launch_mutex;
Scheduler& scheduler() {
  static Scheduler value;
  return value;
}

}  // namespace

void thread_main() {
  scheduler().run_thread();
}

std::uint32_t Scheduler::random() {  // xorshift64*
  random_ ^= random_ >> 12;
  random_ ^= random_ << 25;
  random_ ^= random_ >> 27;
  return static_cast<std::uint32_t>((random_ * 0x2545F4914F6CDD1DULL) >> 32);
}

std::string Scheduler::where(std::uint32_t thread) const {
  return kernel_name(kernel_) + ", block " + std::to_string(block_) + " of " +
         std::to_string(blocks_) + ", thread " + std::to_string(thread) + " of " +
         std::to_string(count_) + ", order " + order_name();
}

void Scheduler::run(std::uint32_t blocks, std::uint32_t threads, const void* kernel,
                    void (*body)(const void*), const void* context) {
  blocks_ = blocks;
  count_ = threads;
  kernel_ = kernel;
  body_ = body;
  context_ = context;
  order_of_launch_ = current_order();
  random_ = (std::uint64_t{current_seed()} << 1) | 1;
  threads_.resize(threads);
  if constexpr (kTsan) tokens_.assign(std::size_t{blocks} * kBlockTokens + kLaunchTokens, 0);
  std::vector<std::uint32_t> order(blocks);
  std::iota(order.begin(), order.end(), 0U);
  if (order_of_launch_ == Order::kReverse) std::reverse(order.begin(), order.end());
  if (order_of_launch_ == Order::kShuffled) {
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
  }
  struct Cleanup {
    Scheduler& self;
    bool finished = false;
    ~Cleanup() {
      tsan_acquire(self.launch_token(kStopped));
      self.fibers_.end_launch(!finished);
      std::free(self.shared_);
      self.shared_ = nullptr;
      for (void* p : self.kept_) std::free(p);
      self.kept_.clear();
      self.thrown_ = nullptr;
      position = {};
    }
  } cleanup{*this};
  for (const std::uint32_t block : order) run_block(block);
  cleanup.finished = true;
}

void Scheduler::run_block(std::uint32_t block) {
  block_ = block;
  ended_ = 0;
  at_barrier_ = 0;
  for (Thread& t : threads_) t = Thread{};
  fibers_.begin_block(count_);
  const std::uint32_t warps = count_ / kWarp;
  while (ended_ < count_) {
    if (order_of_launch_ == Order::kShuffled) {
      run_some();
    } else {
      for (std::uint32_t i = 0; i < warps; ++i) {
        run_warp(order_of_launch_ == Order::kForward ? i : warps - 1 - i);
      }
    }
    serve_shared();
    bool progress = release_barrier();
    for (std::uint32_t w = 0; w < warps; ++w) progress = exchange(w) || progress;
    if (progress) continue;
    const auto ready = [](const Thread& t) { return t.state == State::kReady; };
    if (ended_ < count_ && std::none_of(threads_.begin(), threads_.end(), ready)) report_deadlock();
  }
  if (kTsan && shared_ != nullptr) {
    kept_.push_back(shared_);  // freed memory that is handed out again would order the blocks
  } else {
    std::free(shared_);
  }
  shared_ = nullptr;
}

// A warp as far as it gets, lane by lane.
void Scheduler::run_warp(std::uint32_t warp) {
  const bool forward = order_of_launch_ == Order::kForward;
  bool again = true;
  while (again) {
    for (std::uint32_t i = 0; i < kWarp; ++i) {
      const std::uint32_t t = warp * kWarp + (forward ? i : kWarp - 1 - i);
      if (threads_[t].state == State::kReady) resume(t);
    }
    serve_shared();
    again = exchange(warp);
    for (std::uint32_t i = 0; i < kWarp && !again; ++i) {
      again = threads_[warp * kWarp + i].state == State::kReady;
    }
  }
}

// About half of the threads that can go on, in a random order: warps drift apart.
void Scheduler::run_some() {
  order_.clear();
  for (std::uint32_t t = 0; t < count_; ++t) {
    if (threads_[t].state == State::kReady) order_.push_back(t);
  }
  for (std::size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[random() % i]);
  const std::size_t some = order_.size() - order_.size() / 2;
  for (std::size_t i = 0; i < some; ++i) resume(order_[i]);
}

void Scheduler::resume(std::uint32_t thread) {
  current_ = thread;
  position = {thread, static_cast<std::uint32_t>(block_), count_, blocks_};
  fibers_.enter(thread);
  if (thrown_ != nullptr) report_exception();
}

// The shuffle of a warp, when all its lanes are there.
bool Scheduler::exchange(std::uint32_t warp) {
  Thread* lanes = threads_.data() + std::size_t{warp} * kWarp;
  for (std::uint32_t i = 0; i < kWarp; ++i) {
    if (lanes[i].state != State::kAtShuffle) return false;
  }
  std::uint64_t offered[kWarp];
  std::uint64_t votes = 0;
  std::uint32_t voters = 0;
  for (std::uint32_t i = 0; i < kWarp; ++i) {
    offered[i] = lanes[i].bits;
    voters += lanes[i].source == kAllLanes ? 1U : 0U;
    votes |= std::uint64_t{offered[i] != 0} << i;
  }
  if (voters % kWarp != 0) {
    throw Fault("lanes of a warp are at a ballot, others at a shuffle (" + where(warp * kWarp) +
                ")");
  }
  for (std::uint32_t i = 0; i < kWarp; ++i) {
    lanes[i].bits = voters == 0 ? offered[lanes[i].source] : votes;
    lanes[i].state = State::kReady;
  }
  return true;
}

bool Scheduler::release_barrier() {
  if (at_barrier_ < count_) return false;
  at_barrier_ = 0;
  for (Thread& t : threads_) t.state = State::kReady;
  return true;
}

// Allocated outside the fibers: for ThreadSanitizer the memory then is the launch's, not one
// thread's. Exactly as many bytes as asked for; each block's is new.
void Scheduler::serve_shared() {
  for (Thread& t : threads_) {
    if (t.state != State::kWantsShared) continue;
    if (shared_ == nullptr) {
      if (posix_memalign(&shared_, std::max(shared_alignment_, sizeof(void*)), shared_bytes_) !=
          0) {
        throw std::bad_alloc();
      }
      std::memset(shared_, 0xA5, shared_bytes_);
      tsan_release(token(kShared));
    }
    t.state = State::kReady;
  }
}

std::string Scheduler::place(std::uint32_t thread) const {
  const Thread& t = threads_[thread];
  const std::string name = "thread " + std::to_string(thread);
  if (t.state == State::kEnded) return name + " has ended";
  if (t.state == State::kAtShuffle) return name + " is at a shuffle";
  return name + " is at its barrier number " + std::to_string(t.barriers);
}

void Scheduler::report_deadlock() const {
  for (const State kind : {State::kAtShuffle, State::kAtBarrier}) {
    for (std::uint32_t t = 0; t < count_; ++t) {
      if (threads_[t].state != kind) continue;
      const bool shuffle = kind == State::kAtShuffle;
      const std::uint32_t first = shuffle ? t / kWarp * kWarp : 0;
      const std::uint32_t last = shuffle ? first + kWarp : count_;
      for (std::uint32_t other = first; other < last; ++other) {
        if (threads_[other].state == kind) continue;
        throw Fault((shuffle ? "divergent shuffle: " : "divergent barrier: ") + place(t) +
                    (shuffle ? ", all of its warp must take part, but " : ", but ") + place(other) +
                    " (" + where(t) + ")");
      }
    }
  }
  throw Fault("no thread can go on (" + where(0) + ")");
}

void Scheduler::report_exception() const {
  tsan_acquire(launch_token(kStopped));  // the exception was allocated by the thread
  try {
    std::rethrow_exception(thrown_);
  } catch (const std::exception& e) {
    throw Fault(std::string(e.what()) + " (" + where(current_) + ")");
  } catch (...) {
    throw Fault("an exception of unknown type in " + where(current_));
  }
}

void Scheduler::run_thread() {
  fibers_.started();
  for (;;) {
    try {
      body_(context_);
    } catch (...) {
      thrown_ = std::current_exception();
    }
    ++ended_;
    wait(State::kEnded);
  }
}

void Scheduler::wait(State state) {
  const std::uint32_t me = current_;
  threads_[me].state = state;
  tsan_release(launch_token(kStopped));  // for the end of the launch, also one that a fault ends
  fibers_.leave(me);
}

void Scheduler::maybe_yield() {
  if (order_of_launch_ == Order::kShuffled && (random() & 3) == 0) wait(State::kReady);
}

void* Scheduler::shared(std::size_t bytes, std::size_t alignment) {
  Thread& me = threads_[current_];
  if (me.has_shared) throw Fault("shared memory is declared twice: one struct a kernel");
  me.has_shared = true;
  if (bytes > kSharedLimit) {
    throw Fault("shared memory of " + std::to_string(bytes) + " bytes, over the limit of " +
                std::to_string(kSharedLimit));
  }
  if (shared_ == nullptr) {
    shared_bytes_ = bytes;
    shared_alignment_ = alignment;
    wait(State::kWantsShared);
  } else if (bytes != shared_bytes_ || alignment != shared_alignment_) {
    throw Fault("threads of a block declare different shared memory: " +
                std::to_string(shared_bytes_) + " and " + std::to_string(bytes) + " bytes");
  }
  tsan_acquire(token(kShared));
  return shared_;
}

void Scheduler::barrier() {
  Thread& me = threads_[current_];
  // Two tokens in turn: a thread that is late to leave this barrier must not learn what others did
  // on their way to the next.
  const void* meeting = token(me.barriers++ % 2 == 0 ? kEvenBarrier : kOddBarrier);
  tsan_release(meeting);
  ++at_barrier_;
  wait(State::kAtBarrier);
  tsan_acquire(meeting);
}

std::uint64_t Scheduler::shuffle(std::uint64_t bits, std::uint32_t source) {
  if (source >= kWarp) throw Fault("shuffle from lane " + std::to_string(source));
  Thread& me = threads_[current_];
  me.bits = bits;
  me.source = source;
  wait(State::kAtShuffle);
  return me.bits;
}

std::uint32_t Scheduler::ballot(bool mine) {
  Thread& me = threads_[current_];
  me.bits = mine ? 1 : 0;
  me.source = kAllLanes;
  wait(State::kAtShuffle);
  return static_cast<std::uint32_t>(me.bits);
}

// Atomics are relaxed; with a fence before the writer's and one after the reader's they order the
// two threads, as fences do in C++ and PTX.
void Scheduler::after_atomic(const void* address) {
  if constexpr (kTsan) {
    Thread& me = threads_[current_];
    if (me.fenced) {
      tsan_release(address);
      tsan_release(launch_token(kFenced));
    }
    me.atomics[me.atomics_used++ % kTracedAtomics] = address;
  }
}

void Scheduler::before_fence() {
  maybe_yield();
  if constexpr (kTsan) {
    Thread& me = threads_[current_];
    for (const void* address : me.atomics) {
      if (address != nullptr) tsan_acquire(address);
    }
    me.fenced = true;
    tsan_release(launch_token(kFenced));
  }
}

void Scheduler::before_fresh_read() {
  maybe_yield();
  tsan_acquire(launch_token(kFenced));
}

void* shared_memory(std::size_t bytes, std::size_t alignment) {
  return scheduler().shared(bytes, alignment);
}
void barrier() {
  scheduler().barrier();
}
std::uint64_t shuffle(std::uint64_t bits, std::uint32_t source) {
  return scheduler().shuffle(bits, source);
}
std::uint32_t ballot(bool mine) {
  return scheduler().ballot(mine);
}
void before_atomic() {
  scheduler().maybe_yield();
}
void after_atomic(const void* address) {
  scheduler().after_atomic(address);
}
void before_fence() {
  scheduler().before_fence();
}
void before_fresh_read() {
  scheduler().before_fresh_read();
}

namespace detail {
void run_grid(std::uint32_t blocks, std::uint32_t threads, const void* kernel,
              void (*body)(const void*), const void* context) {
  if (blocks == 0 || threads == 0 || threads % kWarp != 0 || threads > Fibers::kMaximum) {
    throw Fault("launch of " + std::to_string(blocks) + " blocks of " + std::to_string(threads) +
                " threads of " + kernel_name(kernel) +
                ": at least one block, and threads a multiple of 32 up to 1024");
  }
  const std::lock_guard lock(launch_mutex);
  scheduler().run(blocks, threads, kernel, body, context);
}
}  // namespace detail

}  // namespace cuthresh::simt
