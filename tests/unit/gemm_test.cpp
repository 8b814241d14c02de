// The products of the CPU room: "tiled" and "reference" against the chain of multiply-adds that
// they promise, to the bit; every way a matrix can lie, sizes round the edges of tiles, panels and
// blocks.

#include "cpu/gemm.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

struct GemmCase {
  std::int64_t m, n, k;
};

std::size_t index(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

// Buffers end with their matrix, so that reading past it is an error under AddressSanitizer.
struct Problem {
  cpu::GemmArgs args;
  std::vector<float> a, b, c, expected;

  Problem(Random& random, const GemmCase& size, bool transpose_a, bool transpose_b, bool accumulate,
          std::int64_t apart) {
    const auto [m, n, k] = size;
    const std::int64_t a_rows = transpose_a ? k : m;
    const std::int64_t b_rows = transpose_b ? n : k;
    args = {transpose_a,
            transpose_b,
            m,
            n,
            k,
            nullptr,
            (transpose_a ? m : k) + apart,
            nullptr,
            (transpose_b ? k : n) + apart,
            accumulate,
            nullptr,
            n + apart};
    a = random.vector(index(a_rows * args.lda - (a_rows > 0 ? apart : 0)), -1.0f, 1.0f);
    b = random.vector(index(b_rows * args.ldb - (b_rows > 0 ? apart : 0)), -1.0f, 1.0f);
    c = random.vector(index(m * args.ldc), -1.0f, 1.0f);
    args.a = a.data();
    args.b = b.data();
    expected = c;
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        float& sum = expected[index(i * args.ldc + j)];
        if (!accumulate) sum = 0.0f;
        for (std::int64_t p = 0; p < k; ++p) {
          sum = std::fma(a[index(transpose_a ? p * args.lda + i : i * args.lda + p)],
                         b[index(transpose_b ? j * args.ldb + p : p * args.ldb + j)], sum);
        }
      }
    }
  }
};

class Gemm : public ::testing::TestWithParam<const char*> {};

TEST_P(Gemm, IsTheChainOfMultiplyAddsToTheBit) {
  const cpu::Loops* loops = cpu::find_loops(GetParam());
  if (loops == nullptr) GTEST_SKIP() << "this processor or build has no " << GetParam();
  std::vector<GemmCase> cases = {{1, 1, 1},     {12, 32, 128},  {13, 33, 129}, {24, 64, 256},
                                 {1, 64, 300},  {12, 96, 257},  {300, 1, 64},  {33, 7, 140},
                                 {37, 6, 270},  {265, 40, 130}, {529, 17, 3},  {5, 31, 1},
                                 {11, 16, 127}, {6, 15, 128},   {7, 8, 9},     {64, 128, 500},
                                 {3, 5, 0},     {0, 4, 4},      {4, 0, 4}};
  Random random(31);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (int i = 0; i < 12; ++i) {
    cases.push_back({random.integer(1, 70), random.integer(1, 70), random.integer(1, 150)});
  }
  for (const auto& gemm : {cpu::make_tiled_gemm(*loops), cpu::make_reference_gemm(*loops)}) {
    for (const GemmCase& size : cases) {
      for (int kind = 0; kind < 8; ++kind) {
        Problem problem(random, size, kind & 1, kind & 2, kind & 4, random.integer(0, 1) * 3);
        problem.args.c = problem.c.data();
        (*gemm)(problem.args);
        // What lies between c's rows is compared too: nothing may be written there.
        ASSERT_TRUE(problem.c.empty() || std::memcmp(problem.c.data(), problem.expected.data(),
                                                     problem.c.size() * sizeof(float)) == 0)
            << gemm->name() << " " << size.m << "x" << size.n << "x" << size.k << " kind " << kind;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Loops, Gemm, ::testing::Values("baseline", "avx2", "avx512"),
                         [](const auto& loops) { return std::string(loops.param); });

}  // namespace
}  // namespace cuthresh::testing
