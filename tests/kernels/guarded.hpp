#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "simt/interpreter.hpp"
#include "support/soft_threshold.hpp"

namespace cuthresh::testing {

/// An array as a kernel gets it: `offset` entries past a 64-byte boundary, exactly as long as it
/// says, so that AddressSanitizer sees the first byte beyond it; guard cells in front, and behind
/// where no sanitizer watches.
template <class T>
class Guarded {
 public:
  static_assert(std::is_trivially_copyable_v<T>);

  explicit Guarded(std::span<const T> values, std::size_t offset = 0)
      : offset_(offset),
        size_(values.size()),
        bytes_((offset + values.size()) * sizeof(T) + kTail) {
    block_ = static_cast<std::byte*>(::operator new(bytes_ + (bytes_ == 0 ? 1 : 0), kAlignment));
    std::memset(block_, kGuard, bytes_);
    if (size_ > 0) std::memcpy(data(), values.data(), size_ * sizeof(T));
  }
  Guarded(std::size_t size, T value, std::size_t offset = 0)
      : Guarded(std::span<const T>(std::vector<T>(size, value)), offset) {}
  ~Guarded() { ::operator delete(block_, kAlignment); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T* data() { return reinterpret_cast<T*>(block_ + offset_ * sizeof(T)); }
  std::size_t size() const { return size_; }
  std::vector<T> values() {
    std::vector<T> out(size_);
    if (size_ > 0) std::memcpy(out.data(), data(), size_ * sizeof(T));
    return out;
  }
  bool guards_hold() const {
    for (std::size_t i = 0; i < bytes_; ++i) {
      const bool inside = i >= offset_ * sizeof(T) && i < (offset_ + size_) * sizeof(T);
      if (!inside && block_[i] != static_cast<std::byte>(kGuard)) return false;
    }
    return true;
  }

 private:
  static constexpr std::align_val_t kAlignment{64};
  static constexpr int kGuard = 0x5c;
#if defined(__SANITIZE_ADDRESS__)
  static constexpr std::size_t kTail = 0;
#else
  static constexpr std::size_t kTail = 64;
#endif

  std::size_t offset_;
  std::size_t size_;
  std::size_t bytes_;
  std::byte* block_;
};

/// Equal bits, or both NaN (whose bits no standard fixes).
template <class T>
bool same_value(T a, T b) {
  return bits_of(a) == bits_of(b) || (a != a && b != b);
}

/// The first entry in which two arrays differ; empty when there is none.
template <class T>
std::string first_difference(const std::vector<T>& got, const std::vector<T>& want) {
  if (got.size() != want.size()) return "sizes differ";
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (!same_value(got[i], want[i])) {
      return "entry " + std::to_string(i) + ": " + std::to_string(got[i]) + ", not " +
             std::to_string(want[i]);
    }
  }
  return "";
}

/// An order of threads for as long as this lives.
class SetOrder {
 public:
  SetOrder(simt::Order order, std::uint32_t seed) { simt::set_order(order, seed); }
  ~SetOrder() { simt::set_order(before_, seed_); }
  SetOrder(const SetOrder&) = delete;
  SetOrder& operator=(const SetOrder&) = delete;

 private:
  simt::Order before_ = simt::current_order();
  std::uint32_t seed_ = simt::current_seed();
};

/// f(grid) for grids that a kernel must not tell apart, in every order of the interpreter, with
/// both in the trace. Many blocks only in the order that mixes them most: fibers are what tests pay
/// for.
template <class F>
void for_each_launch(F f) {
  simt::for_each_order([&] {
    for (const std::uint32_t grid : {1U, 2U, 7U, 40U}) {
      if (grid == 40U && simt::current_order() != simt::Order::kShuffled) continue;
      SCOPED_TRACE(::testing::Message() << simt::order_name() << ", " << grid << " blocks");
      f(grid);
      if (::testing::Test::HasFatalFailure()) return;
    }
  });
}

}  // namespace cuthresh::testing
