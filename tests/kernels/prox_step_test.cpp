// The fused step on float32 and float64 weights; a penalty of its own; the updates by hand.

#include "prox_step_suite.hpp"

namespace cuthresh::testing {
namespace {

using Storages = ::testing::Types<float, double>;
INSTANTIATE_TYPED_TEST_SUITE_P(Wide, ProxStepKernel, Storages);

// A penalty over groups of entries enters as a functor that knows where it is: the rows of each
// tensor shrink together (group lasso), with the scale of a row from a pass before.
struct RowPenalty {
  const float* const* scales;  // a tensor: its rows' scales
  std::int64_t columns;

  struct OnTile {
    const float* scale;
    std::int64_t columns;
    float threshold;
    float operator()(float z, std::int64_t index) const {
      return threshold == 0.0f ? z : z * scale[index / columns];
    }
  };
  OnTile on(std::int32_t tensor, float threshold) const {
    return {scales[tensor], columns, threshold};
  }
};

TEST(ProxStepKernelPenalty, AGroupPenaltyEntersAsAFunctor) {
  Random random(38);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  constexpr std::int64_t kColumns = 37;
  std::vector<TensorCase<float>> cases;
  for (std::int32_t t = 0; t < 4; ++t) {
    cases.push_back(hard_tensor<float>(random, static_cast<std::size_t>(kColumns * (11 + 30 * t)),
                                       t == 1 ? -1 : t / 2, 0.03125f, true));
  }
  // soft(‖row‖, t·√columns)/‖row‖ with the threshold of StepList: α = 1/8, λ = 2 and 4.
  std::vector<std::vector<float>> scales;
  for (const TensorCase<float>& c : cases) {
    const float t = 0.125f * (c.group == 0 ? 2.0f : 4.0f);
    scales.emplace_back();
    for (std::size_t row = 0; row < c.w.size() / kColumns; ++row) {
      double squares = 0.0;
      for (std::size_t i = row * kColumns; i < (row + 1) * kColumns; ++i) {
        const double z = std::fma(-0.125f, c.g[i], c.w[i]);
        squares += z * z;
      }
      const double norm = std::sqrt(squares);
      scales.back().push_back(static_cast<float>(
          std::fmax(norm - static_cast<double>(t) * std::sqrt(double{kColumns}), 0.0) / norm));
    }
  }
  std::vector<const float*> tables;
  for (const auto& s : scales) tables.push_back(s.data());
  for_each_step_launch([&](std::uint32_t grid) {
    StepList<float> list(cases, 2, 256);
    list.lambda.data()[0] = 2.0f;
    list.lambda.data()[1] = 4.0f;
    const auto want = step_outcome(cases, list, StepKind::kPlain,
                                   [&](float z, float t, std::size_t tensor, std::size_t i) {
                                     return t == 0.0f ? z : z * scales[tensor][i / kColumns];
                                   });
    simt::launch(grid, 64, prox_step_kernel<float, PlainStep<float>, RowPenalty, kNoExtras, 64>,
                 list.arguments(), RowPenalty{tables.data(), kColumns});
    ASSERT_NO_FATAL_FAILURE(expect_outcome(list, want, false));
    EXPECT_LT(want.nnz[1], want.elements[1]) << "no row was dropped: the case is too weak";
    EXPECT_GT(want.nnz[0], 0U);
  });
}

// By hand: w 1, g 0.5, v 0.25, α 0.5, μ 0.5 (all exact), t = 0.
TEST(StepFunctors, ArePyTorchsUpdates) {
  EXPECT_EQ((PlainStep<float>{{0.5f}}(1.0f, 0.5f)), 0.75f);
  float v = 0.25f;
  EXPECT_EQ((MomentumStep<float>{{0.5f, 0.5f}}(1.0f, 0.5f, v)), 0.6875f);  // v = 0.625
  EXPECT_EQ(v, 0.625f);
  v = 0.25f;
  EXPECT_EQ((NesterovStep<float>{{0.5f, 0.5f}}(1.0f, 0.5f, v)), 0.59375f);  // d = 0.5 + 0.3125
  EXPECT_EQ(v, 0.625f);
  v = 0.0f;  // the first step is the plain one
  EXPECT_EQ((MomentumStep<float>{{0.5f, 0.9f}}(1.0f, 0.5f, v)), 0.75f);
}

}  // namespace
}  // namespace cuthresh::testing
