#include <vector>

#include "cpu/gemm.hpp"

namespace cuthresh::cpu {
namespace {

/// Plain loops: the oracle, and the engine of builds without oneDNN. Sums run over k in order with
/// one fused multiply-add each, so results are the same bits on every machine, instruction set and
/// thread count.
class ReferenceGemm final : public Gemm {
 public:
  explicit ReferenceGemm(const Loops& loops) : loops_(loops) {}

  std::string name() const override { return "reference"; }

  void operator()(const GemmArgs& g) const override {
    const std::int64_t a_row = g.transpose_a ? 1 : g.lda;
    const std::int64_t a_column = g.transpose_a ? g.lda : 1;
    if (!g.transpose_b) {
      loops_.gemm_plain(g.m, g.n, g.k, g.a, a_row, a_column, g.b, g.ldb, g.accumulate, g.c, g.ldc);
      return;
    }
    // The inner loop runs along n, so a transposed b is turned first; the copy is kept by the
    // thread.
    thread_local std::vector<float> turned;
    turned.resize(static_cast<std::size_t>(g.k * g.n));
    for (std::int64_t j = 0; j < g.n; ++j) {
      for (std::int64_t p = 0; p < g.k; ++p)
        turned[static_cast<std::size_t>(p * g.n + j)] = g.b[j * g.ldb + p];
    }
    loops_.gemm_plain(g.m, g.n, g.k, g.a, a_row, a_column, turned.data(), g.n, g.accumulate, g.c,
                      g.ldc);
  }

 private:
  const Loops& loops_;
};

}  // namespace

std::unique_ptr<Gemm> make_reference_gemm(const Loops& loops) {
  return std::make_unique<ReferenceGemm>(loops);
}

}  // namespace cuthresh::cpu
