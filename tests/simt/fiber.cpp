// Built without ThreadSanitizer's instrumentation (CTH_SIMT_TSAN says that the rest has it): the
// scheduler's own data would otherwise be reported, as no fiber is ordered with another.

#include "simt/fiber.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(CTH_SIMT_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

#if !defined(CTH_SIMT_UCONTEXT)
extern "C" void cth_simt_switch(void** save, void* to) __attribute__((visibility("hidden")));
asm(R"(
.text
.hidden cth_simt_switch
.globl cth_simt_switch
.type cth_simt_switch, @function
cth_simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cth_simt_switch, .-cth_simt_switch
)");
#endif

namespace cuthresh::simt {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(CTH_SIMT_TSAN)
constexpr std::size_t kStack = 128 * 1024;  // instrumented frames are larger
#else
constexpr std::size_t kStack = 64 * 1024;
#endif
constexpr std::size_t kGuard = 64 * 1024;  // a multiple of every page size
// Stacks a power of two apart would meet in the same few cache lines: tops are moved by up to 12
// KiB.
constexpr std::size_t kColours = 64;
constexpr std::size_t kColour = 192;

#if defined(CTH_SIMT_TSAN)
// TSan of g++ 12 has 8192 thread numbers in all; past this many fibers those of the launch's first
// blocks are given up, and races with them go unseen.
constexpr std::size_t kSpentFibers = 4096;
#endif

char* map_stacks(void* at, std::size_t count) {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at == nullptr ? 0 : MAP_FIXED);
  void* region = mmap(at, count * (kStack + kGuard), PROT_READ | PROT_WRITE, flags, -1, 0);
  if (region == MAP_FAILED) throw std::bad_alloc();
  char* start = static_cast<char*>(region);
  for (std::size_t i = 0; i < count; ++i) {
    mprotect(start + i * (kStack + kGuard), kGuard, PROT_NONE);
  }
  return start;
}

void swap(Fiber& from, Fiber& to) {
#if defined(CTH_SIMT_UCONTEXT)
  swapcontext(&from.context, &to.context);
#else
  cth_simt_switch(&from.stack_pointer, to.stack_pointer);
#endif
}

}  // namespace

void tsan_release([[maybe_unused]] const void* token) {
#if defined(CTH_SIMT_TSAN)
  __tsan_release(const_cast<void*>(token));
#endif
}

void tsan_acquire([[maybe_unused]] const void* token) {
#if defined(CTH_SIMT_TSAN)
  __tsan_acquire(const_cast<void*>(token));
#endif
}

Fibers::~Fibers() {
  end_launch(true);
  if (region_ != nullptr) munmap(region_, fibers_.size() * (kStack + kGuard));
}

void Fibers::reserve(std::size_t count) {
  if (count <= fibers_.size()) return;
  if (region_ != nullptr) munmap(region_, fibers_.size() * (kStack + kGuard));
  fibers_ = std::vector<Fiber>(count);
  region_ = map_stacks(nullptr, count);
  for (std::size_t i = 0; i < count; ++i) {
    fibers_[i].stack = region_ + i * (kStack + kGuard) + kGuard;
  }
}

void Fibers::prepare(Fiber& fiber) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(fiber.stack, kStack);  // of frames that were abandoned
#endif
  fiber.fake_stack = nullptr;
#if defined(CTH_SIMT_UCONTEXT)
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack;
  fiber.context.uc_stack.ss_size = kStack;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, entry_, 0);
#else
  // As the switch finds it: six registers, where to go on, and a null return address for whoever
  // walks the stack; at a function's first instruction the stack pointer is 8 past a multiple of
  // 16.
  const auto index = static_cast<std::size_t>(&fiber - fibers_.data());
  void** top = reinterpret_cast<void**>(fiber.stack + kStack - index % kColours * kColour);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(entry_);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  fiber.stack_pointer = top;
#endif
  fiber.prepared = true;
}

void Fibers::begin_block(std::size_t count) {
  reserve(count);
#if defined(CTH_SIMT_TSAN)
  // Each block gets threads of its own, unordered with those of all other blocks. Mapping the
  // stacks anew makes TSan forget who wrote to them.
  scheduler_.tsan = __tsan_get_current_fiber();
  map_stacks(region_, fibers_.size());
  for (Fiber& fiber : fibers_) {
    if (fiber.tsan != nullptr) spent_.push_back(fiber.tsan);
    fiber.tsan = nullptr;
    fiber.prepared = false;
  }
  if (spent_.size() > kSpentFibers) {
    for (void* tsan : spent_) __tsan_destroy_fiber(tsan);
    spent_.clear();
  }
  for (std::size_t i = 0; i < count; ++i) fibers_[i].tsan = __tsan_create_fiber(0);
#endif
  for (std::size_t i = 0; i < count; ++i) {
    if (!fibers_[i].prepared) prepare(fibers_[i]);
  }
}

void Fibers::enter(std::size_t i) {
  Fiber& fiber = fibers_[i];
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&scheduler_.fake_stack, fiber.stack, kStack);
#endif
#if defined(CTH_SIMT_TSAN)
  __tsan_switch_to_fiber(fiber.tsan, __tsan_switch_to_fiber_no_sync);
#endif
  swap(scheduler_, fiber);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(scheduler_.fake_stack, nullptr, nullptr);
#endif
}

void Fibers::leave(std::size_t i) {
  Fiber& fiber = fibers_[i];
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&fiber.fake_stack, scheduler_bottom_, scheduler_size_);
#endif
#if defined(CTH_SIMT_TSAN)
  __tsan_switch_to_fiber(scheduler_.tsan, __tsan_switch_to_fiber_no_sync);
#endif
  swap(fiber, scheduler_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fiber.fake_stack, &scheduler_bottom_, &scheduler_size_);
#endif
}

void Fibers::started() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_bottom_, &scheduler_size_);
#endif
}

void Fibers::end_launch([[maybe_unused]] bool abandoned) {
  if (abandoned) {
    for (Fiber& fiber : fibers_) fiber.prepared = false;
  }
#if defined(CTH_SIMT_TSAN)
  for (Fiber& fiber : fibers_) {
    if (fiber.tsan != nullptr) spent_.push_back(fiber.tsan);
    fiber.tsan = nullptr;
    fiber.prepared = false;
  }
  for (void* tsan : spent_) __tsan_destroy_fiber(tsan);
  spent_.clear();
#endif
}

}  // namespace cuthresh::simt
