#pragma once

// Fibers: functions with a stack of their own that one OS thread switches between. On x86-64 the
// switch is six registers and the stack pointer: a few nanoseconds, where swapcontext makes a
// system call, and under ASan would also clear the red zones of the frames it leaves. Elsewhere,
// and with CTH_SIMT_UCONTEXT, ucontext does it.

#include <cstddef>
#include <cstdint>
#include <vector>

#if !defined(__x86_64__) && !defined(CTH_SIMT_UCONTEXT)
#define CTH_SIMT_UCONTEXT 1
#endif
#if defined(CTH_SIMT_UCONTEXT)
#include <ucontext.h>
#endif

namespace cuthresh::simt {

struct Fiber {
#if defined(CTH_SIMT_UCONTEXT)
  ucontext_t context;
#else
  void* stack_pointer = nullptr;
#endif
  char* stack = nullptr;       // lowest address
  void* fake_stack = nullptr;  // ASan's
  void* tsan = nullptr;        // TSan's
  bool prepared = false;
};

/// A fiber per CUDA thread of a block, used again from block to block. The function given runs in
/// each of them and never returns; it gives control back by leave().
class Fibers {
 public:
  explicit Fibers(void (*entry)()) : entry_(entry) {}
  Fibers(const Fibers&) = delete;
  Fibers& operator=(const Fibers&) = delete;
  ~Fibers();

  /// Makes `count` fibers ready for a block.
  void begin_block(std::size_t count);
  /// Runs a fiber until it leaves. Called outside fibers.
  void enter(std::size_t i);
  /// Back to where enter() was called. Called in fiber i.
  void leave(std::size_t i);
  /// First call in a fiber that starts.
  void started();
  /// Fibers stopped in the middle start anew at the next block; all give back what a launch holds.
  void end_launch(bool abandoned);

  static constexpr std::size_t kMaximum = 1024;

 private:
  void reserve(std::size_t count);
  void prepare(Fiber& fiber);

  void (*entry_)();
  std::vector<Fiber> fibers_;
  Fiber scheduler_;
  char* region_ = nullptr;
  const void* scheduler_bottom_ = nullptr;
  std::size_t scheduler_size_ = 0;
  std::vector<void*> spent_;  // TSan's fibers of earlier blocks of this launch
};

// What ThreadSanitizer is told, nothing in other builds: what happened before release(token) is
// seen by whoever calls acquire(token) later.
void tsan_release(const void* token);
void tsan_acquire(const void* token);
#if defined(CTH_SIMT_TSAN)
inline constexpr bool kTsan = true;
#else
inline constexpr bool kTsan = false;
#endif

}  // namespace cuthresh::simt
