#pragma once

// What a check program says by its exit status: run_mutant.py reads it. Sanitizers speak for
// themselves.

#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "simt/interpreter.hpp"

namespace cuthresh::testing {

inline constexpr int kRight = 0;
inline constexpr int kWrongResult = 3;
inline constexpr int kFault = 4;
inline constexpr int kCannotRun = 77;

class WrongResult : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
class CannotRun : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline void require(bool holds, const std::string& what) {
  if (!holds) throw WrongResult(what + ", order " + simt::order_name());
}

/// f in every order and for these grids. Under ThreadSanitizer, where a fiber costs a millisecond,
/// one order and the largest grid: a race shows in any order, between any two blocks.
template <class F>
void for_each_launch(const std::vector<std::uint32_t>& grids, F f) {
#if defined(__SANITIZE_THREAD__)
  f(grids.back());
#else
  simt::for_each_order([&] {
    for (const std::uint32_t grid : grids) f(grid);
  });
#endif
}

template <class F>
int report(F check) {
  try {
    check();
    std::puts("right");
    return kRight;
  } catch (const WrongResult& wrong) {
    std::fprintf(stderr, "wrong result: %s\n", wrong.what());
    return kWrongResult;
  } catch (const CannotRun& reason) {
    std::fprintf(stderr, "cannot run: %s\n", reason.what());
    return kCannotRun;
  } catch (const simt::Fault& fault) {
    std::fprintf(stderr, "fault: %s\n", fault.what());
    return kFault;
  }
}

}  // namespace cuthresh::testing
