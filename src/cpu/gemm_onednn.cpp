// oneDNN's matrix product (v2 API in Debian 12, v3 elsewhere; dnnl_sgemm is the same in both).

#include <oneapi/dnnl/dnnl.h>

#include <memory>
#include <string>

#include "cpu/gemm.hpp"
#include "cpu/onednn_threads.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::cpu {
namespace {

/// dnnl_sgemm on the calling thread. It keeps its generated kernels for the life of the process and
/// has no primitive to create, unlike a matmul primitive (about 1 µs even from oneDNN's cache). It
/// does not fork: each of our threads has its own rows, which took 736 µs for a Mackey-Glass step's
/// products on two Cascade Lake cores where calls that fork themselves took 825.
///
/// The shapes of a small layer go to our own tiles, which are faster there: a forward product of
/// 500 x 128 x 128 took 139 µs in place of 149, the gradient of a layer with 6 inputs 13 in place
/// of 24.
class OneDnnGemm final : public Gemm {
 public:
  explicit OneDnnGemm(const Loops& loops) : tiled_(make_tiled_gemm(loops)) {}

  std::string name() const override {
    const dnnl_version_t* v = dnnl_version();
    return "oneDNN " + std::to_string(v->major) + "." + std::to_string(v->minor) + "." +
           std::to_string(v->patch);
  }

  void operator()(const GemmArgs& g) const override {
    if (g.transpose_a ? g.n < 8 && g.n < g.m
                      : g.transpose_b && g.n >= 32 && g.k >= 32 && g.n * g.k <= 65536) {
      (*tiled_)(g);
      return;
    }
    const OneThread guard;
    const dnnl_status_t status =
        dnnl_sgemm(g.transpose_a ? 'T' : 'N', g.transpose_b ? 'T' : 'N', g.m, g.n, g.k, 1.0f, g.a,
                   g.lda, g.b, g.ldb, g.accumulate ? 1.0f : 0.0f, g.c, g.ldc);
    if (status != dnnl_success) {
      throw InternalError({"oneDNN sgemm",
                           "failed for m, n, k = " + std::to_string(g.m) + ", " +
                               std::to_string(g.n) + ", " + std::to_string(g.k),
                           "status " + std::to_string(static_cast<int>(status)),
                           "try run.engine = \"reference\""});
    }
  }

 private:
  std::unique_ptr<Gemm> tiled_;
};

}  // namespace

std::unique_ptr<Gemm> make_onednn_gemm(const Loops& loops) {
  return std::make_unique<OneDnnGemm>(loops);
}

}  // namespace cuthresh::cpu
