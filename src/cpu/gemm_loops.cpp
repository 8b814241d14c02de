#include <vector>

#include "cpu/gemm.hpp"

namespace cuthresh::cpu {
namespace {

/// Products by loops of our own: sums run over k in order with one fused multiply-add each, so
/// results are the same bits on every machine, instruction set and thread count. "reference" is the
/// plain triple loop, the oracle; "tiled" holds blocks of the result in registers and gives the
/// same bits.
class LoopGemm final : public Gemm {
 public:
  LoopGemm(const char* name, decltype(Loops::gemm_plain) multiply, const Loops& loops)
      : name_(name), multiply_(multiply), loops_(loops) {}

  std::string name() const override { return name_; }

  void operator()(const GemmArgs& g) const override {
    const std::int64_t a_row = g.transpose_a ? 1 : g.lda;
    const std::int64_t a_column = g.transpose_a ? g.lda : 1;
    const float* b = g.b;
    std::int64_t ldb = g.ldb;
    if (g.transpose_b) {
      // The loops run along n, so a transposed b is turned first; the copy is kept by the thread.
      thread_local std::vector<float> turned;
      turned.resize(static_cast<std::size_t>(g.k * g.n));
      loops_.transpose(g.b, g.ldb, g.n, g.k, turned.data());
      b = turned.data();
      ldb = g.n;
    }
    multiply_(g.m, g.n, g.k, g.a, a_row, a_column, b, ldb, g.accumulate, g.c, g.ldc);
  }

 private:
  const char* name_;
  decltype(Loops::gemm_plain) multiply_;
  const Loops& loops_;
};

}  // namespace

std::unique_ptr<Gemm> make_reference_gemm(const Loops& loops) {
  return std::make_unique<LoopGemm>("reference", loops.gemm_plain, loops);
}

std::unique_ptr<Gemm> make_tiled_gemm(const Loops& loops) {
  return std::make_unique<LoopGemm>("tiled", loops.gemm_tiled, loops);
}

}  // namespace cuthresh::cpu
