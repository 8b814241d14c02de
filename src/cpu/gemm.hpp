#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "cpu/loops.hpp"

namespace cuthresh::cpu {

/// c [m, n] = op(a)·op(b) (+ c when accumulating), all row-major with rows lda, ldb, ldc apart.
/// op(a) is [m, k]; with transpose_a, a itself is [k, m]. Runs on the calling thread only; safe
/// from several at once.
struct GemmArgs {
  bool transpose_a = false;
  bool transpose_b = false;
  std::int64_t m = 0, n = 0, k = 0;
  const float* a = nullptr;
  std::int64_t lda = 0;
  const float* b = nullptr;
  std::int64_t ldb = 0;
  bool accumulate = false;
  float* c = nullptr;
  std::int64_t ldc = 0;

  // From one row and one column of op(a) and op(b) to the next, in elements.
  std::int64_t a_row() const { return transpose_a ? 1 : lda; }
  std::int64_t a_column() const { return transpose_a ? lda : 1; }
  std::int64_t b_row() const { return transpose_b ? 1 : ldb; }
  std::int64_t b_column() const { return transpose_b ? ldb : 1; }
};

class Gemm {
 public:
  virtual ~Gemm() = default;
  virtual std::string name() const = 0;
  virtual void operator()(const GemmArgs& args) const = 0;
};

std::unique_ptr<Gemm> make_reference_gemm(const Loops& loops);
std::unique_ptr<Gemm> make_tiled_gemm(const Loops& loops);
#if defined(CTH_WITH_ONEDNN)
std::unique_ptr<Gemm> make_onednn_gemm(const Loops& loops);
#endif

}  // namespace cuthresh::cpu
