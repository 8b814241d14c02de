#pragma once

// Runs a kernel of kernels/block, compiled by g++, thread by thread: one OS thread, one fiber per
// CUDA thread, blocks one after another. A barrier and a shuffle hand over to the scheduler, which
// resumes fibers in a chosen order. What hardware would only sometimes show is an error here:
// divergent barriers and shuffles throw Fault, shared memory comes from the heap at its exact size
// and holds 0xA5 before the first thread (red zones under ASan), and under TSan fibers are threads
// that only barriers, fences and atomics order. Build-time twin: kernels/platform.hpp.

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "kernels/platform.hpp"

namespace cuthresh::simt {

/// What a kernel did that CUDA does not allow; thrown by launch(). The message names kernel, block
/// and thread.
class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// In which order the blocks of a grid, and the threads that can go on, are run. Forward and
/// reverse let each warp run as far as it can before the next one starts; shuffled mixes all
/// threads anew at every step.
enum class Order : std::uint8_t { kForward, kReverse, kShuffled };

/// For all launches from now on. At the start: CTH_SIMT_ORDER (forward, reverse, shuffled or
/// shuffled:seed), else forward.
void set_order(Order order, std::uint32_t seed = 1);
/// What CTH_SIMT_ORDER says: the order and the seed.
std::pair<Order, std::uint32_t> parse_order(std::string_view text);
Order current_order();
std::uint32_t current_seed();
/// "shuffled (seed 3)", for SCOPED_TRACE.
std::string order_name();

/// Calls f, or f(order), once in each order; puts the order back that was set before.
template <class F>
void for_each_order(F&& f, std::uint32_t seed = 1) {
  struct Restore {
    Order order = current_order();
    std::uint32_t seed = current_seed();
    ~Restore() { set_order(order, seed); }
  } const restore;
  for (const Order order : {Order::kForward, Order::kReverse, Order::kShuffled}) {
    set_order(order, seed);
    if constexpr (std::is_invocable_v<F&, Order>) {
      f(order);
    } else {
      f();
    }
  }
}

namespace detail {
/// Runs body(context) once per thread of the grid.
void run_grid(std::uint32_t blocks, std::uint32_t threads, const void* kernel,
              void (*body)(const void*), const void* context);
}  // namespace detail

/// kernel<<<blocks, threads>>>(args...), finished when it returns. `threads` is a multiple of 32,
/// at most 1024.
template <class... P, class... A>
void launch(std::uint32_t blocks, std::uint32_t threads, void (*kernel)(P...), A&&... args) {
  static_assert((std::is_trivially_copyable_v<std::remove_cv_t<P>> && ...),
                "kernel parameters are copied as bytes");
  static_assert((!std::is_reference_v<P> && ...), "kernel parameters are passed by value");
  struct Call {
    void (*kernel)(P...);
    std::tuple<std::remove_cv_t<P>...> parameters;
  };
  const Call call{kernel, {static_cast<P>(std::forward<A>(args))...}};
  detail::run_grid(
      blocks, threads, reinterpret_cast<const void*>(kernel),
      [](const void* context) {
        const Call& c = *static_cast<const Call*>(context);
        std::apply(c.kernel, c.parameters);
      },
      &call);
}

/// "prox_step_kernel<256, PlainRule>" from the symbol table of the program that holds it; the
/// address where there is none.
std::string kernel_name(const void* kernel);

}  // namespace cuthresh::simt
