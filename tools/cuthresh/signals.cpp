#include "signals.hpp"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <csignal>

namespace cuthresh::command {
namespace {

// A signal handler has nothing but globals to write to; a lock-free atomic may be touched in one.
std::atomic<int> interrupts{0};
static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void on_interrupt(int signal_number) {
  if (interrupts.fetch_add(1, std::memory_order_relaxed) == 0) return;
  // The live line may be half drawn: leave the prompt a line of its own.
  if (isatty(STDERR_FILENO) == 1) {
    const auto ignored = write(STDERR_FILENO, "\n", 1);
    static_cast<void>(ignored);
  }
  _exit(128 + signal_number);
}

void install(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int number : {SIGINT, SIGTERM}) sigaction(number, &action, nullptr);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  install(&on_interrupt);
}

InterruptGuard::~InterruptGuard() {
  install(SIG_DFL);
}

bool InterruptGuard::interrupted() {
  return interrupts.load(std::memory_order_relaxed) > 0;
}

}  // namespace cuthresh::command
