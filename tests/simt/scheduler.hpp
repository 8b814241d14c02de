#pragma once

// What runs a grid: the state of its threads and the one loop that resumes them. Private to
// interpreter.cpp.

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "simt/fiber.hpp"
#include "simt/interpreter.hpp"

namespace cuthresh::simt {

inline constexpr std::uint32_t kWarp = device::kWarp;
inline constexpr std::uint32_t kAllLanes = kWarp;       // a ballot's source
inline constexpr std::size_t kSharedLimit = 48 * 1024;  // what a kernel may declare statically

enum class State : std::uint8_t { kReady, kWantsShared, kAtBarrier, kAtShuffle, kEnded };

// Atomics that a thread's fence orders: the last ones before it, the ticket above all. A histogram
// has thousands, which barriers order.
inline constexpr std::size_t kTracedAtomics = kTsan ? 32 : 1;

struct Thread {
  State state = State::kReady;
  bool has_shared = false;
  bool fenced = false;
  std::uint32_t source = 0;    // of the shuffle
  std::uint64_t bits = 0;      // offered, then received
  std::uint64_t barriers = 0;  // passed or waiting at
  std::size_t atomics_used = 0;
  std::array<const void*, kTracedAtomics> atomics{};  // a ring, for ThreadSanitizer
};

void thread_main();

class Scheduler {
 public:
  void run(std::uint32_t blocks, std::uint32_t threads, const void* kernel,
           void (*body)(const void*), const void* context);

  // In a fiber.
  void run_thread();
  void* shared(std::size_t bytes, std::size_t alignment);
  void barrier();
  std::uint64_t shuffle(std::uint64_t bits, std::uint32_t source);
  std::uint32_t ballot(bool mine);
  void after_atomic(const void* address);
  void before_fence();
  void before_fresh_read();
  void maybe_yield();

 private:
  void run_block(std::uint32_t block);
  void resume(std::uint32_t thread);
  void run_warp(std::uint32_t warp);
  void run_some();
  bool exchange(std::uint32_t warp);
  bool release_barrier();
  void serve_shared();
  void wait(State state);
  std::uint32_t random();
  [[noreturn]] void report_deadlock() const;
  [[noreturn]] void report_exception() const;
  std::string where(std::uint32_t thread) const;
  std::string place(std::uint32_t thread) const;
  // ThreadSanitizer's tokens, at addresses of their own for each launch and block, so that no block
  // learns of another by them.
  enum BlockToken : std::uint8_t { kShared, kEvenBarrier, kOddBarrier, kBlockTokens };
  enum LaunchToken : std::uint8_t { kStopped, kFenced, kLaunchTokens };
  const void* token(BlockToken purpose) const {
    return kTsan ? tokens_.data() + block_ * kBlockTokens + purpose : nullptr;
  }
  const void* launch_token(LaunchToken purpose) const {
    return kTsan ? tokens_.data() + std::size_t{blocks_} * kBlockTokens + purpose : nullptr;
  }

  Fibers fibers_{thread_main};
  Order order_of_launch_ = Order::kForward;
  std::vector<Thread> threads_;
  std::vector<std::uint32_t> order_;  // scratch of run_some
  std::vector<char> tokens_;
  std::vector<void*> kept_;  // shared memory of earlier blocks, under ThreadSanitizer
  const void* kernel_ = nullptr;
  void (*body_)(const void*) = nullptr;
  const void* context_ = nullptr;
  std::uint32_t blocks_ = 0;
  std::uint32_t count_ = 0;
  std::size_t block_ = 0;
  std::uint32_t current_ = 0;
  std::uint32_t ended_ = 0;
  std::uint32_t at_barrier_ = 0;
  std::uint64_t random_ = 1;
  void* shared_ = nullptr;
  std::size_t shared_bytes_ = 0;
  std::size_t shared_alignment_ = 0;
  std::exception_ptr thrown_;
};

}  // namespace cuthresh::simt
