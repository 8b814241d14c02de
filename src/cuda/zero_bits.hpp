#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/context.hpp"
#include "kernels/block/zero_skip.cuh"

namespace cuthresh::cuda {

/// What a plan knows of its weights that are zero, in device memory of its own: the state, then the
/// words of every tile (1/128 of the weights' bytes, made when first asked for).
class ZeroBits {
 public:
  explicit ZeroBits(Context& context) : context_(context) {}
  ~ZeroBits() { context_.deallocate(memory_); }
  ZeroBits(const ZeroBits&) = delete;
  ZeroBits& operator=(const ZeroBits&) = delete;

  /// Kept from here on, where `rule` finds it worth while; nothing is known yet.
  void keep(std::int64_t tiles, std::int32_t words_a_tile, const ZeroRule& rule);
  void keep_none() { kept_ = false; }
  /// Something but the plan's steps has written weights.
  void forget();
  /// Without words when none are kept.
  ZeroSkip arguments() const;

 private:
  static constexpr std::size_t kWordsAt = 128;  // a line: blocks read the state while others write

  Context& context_;
  std::byte* memory_ = nullptr;
  bool kept_ = false;
  std::int32_t words_a_tile_ = 0;
  ZeroRule rule_ = {};
};

}  // namespace cuthresh::cuda
