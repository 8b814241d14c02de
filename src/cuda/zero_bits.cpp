#include "cuda/zero_bits.hpp"

#include "cuda/backend_impl.hpp"

namespace cuthresh::cuda {
namespace {

/// Bits are worth while where half of what is counted is zero; they cost no more than 0.6 % of a
/// step's bytes where that is not so, which a count may therefore pass by a quarter before they go.
ZeroRule rule_for(std::uint64_t penalised) {
  return {penalised / 2, penalised / 2 + penalised / 8};
}

constexpr ZeroRule kWhateverTheCount = {~std::uint64_t{0}, ~std::uint64_t{0}};

/// What fits into the second-level cache waits for launches, not for memory.
bool exceeds_cache(Context& context, const CudaPlan& plan) {
  int cache = 0;
  context.health().check(cudaDeviceGetAttribute(&cache, cudaDevAttrL2CacheSize, context.device()),
                         "cudaDeviceGetAttribute");
  const auto bytes = plan.penalised() * 2 * static_cast<std::int64_t>(sizeof(float));
  return bytes > cache;
}

}  // namespace

void ZeroBits::keep(std::int64_t tiles, std::int32_t words_a_tile, const ZeroRule& rule) {
  if (memory_ == nullptr) {
    const std::int64_t words = tiles * words_a_tile;
    memory_ = static_cast<std::byte*>(
        context_.allocate(kWordsAt + static_cast<std::size_t>(words) * sizeof(std::uint32_t)));
  }
  kept_ = true;
  words_a_tile_ = words_a_tile;
  rule_ = rule;
  forget();
}

// ZeroState::kIgnore is zeros.
void ZeroBits::forget() {
  if (memory_ != nullptr) context_.zero(memory_, sizeof(std::uint32_t));
}

ZeroSkip ZeroBits::arguments() const {
  ZeroSkip zeros;
  // Also where none are kept: a graph may have been captured while they were.
  zeros.state = reinterpret_cast<std::uint32_t*>(memory_);
  if (!kept_) return zeros;
  zeros.words = reinterpret_cast<std::uint32_t*>(memory_ + kWordsAt);
  zeros.rule = rule_;
  zeros.words_a_tile = words_a_tile_;
  return zeros;
}

void CudaBackend::skip_zeros(ProxPlan& plan, ZeroSkipping how) {
  CudaPlan& p = as_cuda_plan(plan);
  const bool can = reads_gradient(p.kind()) && p.penalised() > 0 && p.dtype() == Dtype::kFloat32;
  if (!can || how == ZeroSkipping::kOff ||
      (how == ZeroSkipping::kAuto && !exceeds_cache(context_, p))) {
    return p.zeros.keep_none();
  }
  p.zeros.keep(p.tile_count(), zero_words<float>(p.tile_elements()),
               how == ZeroSkipping::kOn ? kWhateverTheCount
                                        : rule_for(static_cast<std::uint64_t>(p.penalised())));
}

}  // namespace cuthresh::cuda
