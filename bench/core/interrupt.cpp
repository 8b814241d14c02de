#include "bench/core/interrupt.hpp"

#include <signal.h>

#include <initializer_list>

namespace cuthresh::bench {
namespace {

volatile sig_atomic_t remembered_interrupt = 0;

extern "C" void remember_interrupt(int) {
  remembered_interrupt = 1;
}

void handle_interrupts(void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  for (const int number : {SIGINT, SIGTERM}) sigaction(number, &action, nullptr);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  // Once: the second signal finds the default again.
  handle_interrupts(&remember_interrupt, static_cast<int>(SA_RESETHAND) | SA_RESTART);
}

InterruptGuard::~InterruptGuard() {
  handle_interrupts(SIG_DFL, 0);
}

bool InterruptGuard::interrupted() {
  return remembered_interrupt != 0;
}

}  // namespace cuthresh::bench
