#include <memory>

#include "cpu/gemm.hpp"

namespace cuthresh::cpu {
namespace {

/// Products by loops of our own: sums run over k in order with one fused multiply-add each, so
/// results are the same bits on every machine, instruction set and thread count. "reference" is the
/// plain triple loop, the oracle.
class ReferenceGemm final : public Gemm {
 public:
  explicit ReferenceGemm(const Loops& loops) : loops_(loops) {}
  std::string name() const override { return "reference"; }
  void operator()(const GemmArgs& g) const override {
    loops_.gemm_plain(g.m, g.n, g.k, g.a, g.a_row(), g.a_column(), g.b, g.b_row(), g.b_column(),
                      g.accumulate, g.c, g.ldc);
  }

 private:
  const Loops& loops_;
};

struct alignas(64) Scratch {
  float values[kGemmScratch];
};

/// The same bits with blocks of the result in registers.
class TiledGemm final : public Gemm {
 public:
  explicit TiledGemm(const Loops& loops) : loops_(loops) {}
  std::string name() const override { return "tiled"; }
  void operator()(const GemmArgs& g) const override {
    thread_local const auto scratch = std::make_unique<Scratch>();
    loops_.gemm_tiled(g.m, g.n, g.k, g.a, g.a_row(), g.a_column(), g.b, g.b_row(), g.b_column(),
                      g.accumulate, g.c, g.ldc, scratch->values);
  }

 private:
  const Loops& loops_;
};

}  // namespace

std::unique_ptr<Gemm> make_reference_gemm(const Loops& loops) {
  return std::make_unique<ReferenceGemm>(loops);
}

std::unique_ptr<Gemm> make_tiled_gemm(const Loops& loops) {
  return std::make_unique<TiledGemm>(loops);
}

}  // namespace cuthresh::cpu
