// Reductions of the C ABI in every room, against a full sort and the definitions in float64.

#include <limits>

#include "capi/support.hpp"

namespace cuthresh::testing {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class CapiReductions : public ::testing::TestWithParam<Room> {};
INSTANTIATE_TEST_SUITE_P(Rooms, CapiReductions, ::testing::ValuesIn(list_rooms()), room_name);

/// Coarse numbers, so that many are equal, with both zeros and a denormal among them.
std::vector<float> coarse_numbers(Random& random, std::size_t n) {
  std::vector<float> values(n);
  for (float& x : values) x = 0.125f * static_cast<float>(random.integer(-20, 20));
  for (std::size_t i = 0; i + 3 < n; i += 11) {
    values[i] = -0.0f;
    values[i + 3] = std::numeric_limits<float>::denorm_min();
  }
  return values;
}

std::vector<Entry> grouped_entries(Random& random) {
  std::vector<Entry> entries;
  const std::int32_t groups[] = {0, 1, -1, 0, 1};
  const std::size_t sizes[] = {3001, 5, 40, 0, 17000};
  for (std::size_t i = 0; i < std::size(sizes); ++i) {
    entries.push_back(
        {coarse_numbers(random, sizes[i]), coarse_numbers(random, sizes[i]), groups[i], 0});
  }
  return entries;
}

/// Ascending magnitudes of a group (−1: of all groups), NaN above +∞.
std::vector<float> sorted_magnitudes(const std::vector<Entry>& entries, cth_operand operand,
                                     std::int32_t group) {
  std::vector<float> all;
  for (const Entry& entry : entries) {
    if (entry.group < 0 || (group >= 0 && entry.group != group)) continue;
    for (const float x : operand == CTH_OF_WEIGHTS ? entry.w : entry.g) all.push_back(std::fabs(x));
  }
  std::sort(all.begin(), all.end(),
            [](float a, float b) { return std::isnan(b) ? !std::isnan(a) : a < b; });
  return all;
}

TEST_P(CapiReductions, CountsWithoutAStep) {
  Random random(7);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  std::vector<Entry> entries = grouped_entries(random);
  entries[0].w[17] = kNan;
  List list(GetParam(), entries);
  list.make_plan();
  std::uint64_t counts[2] = {};
  ASSERT_CTH(cth_count_nonzero(list.plan(), counts, 2));
  EXPECT_EQ(counts[0], nonzeros_of(entries[0].w));
  EXPECT_EQ(counts[1], nonzeros_of(entries[1].w) + nonzeros_of(entries[4].w));
}

TEST_P(CapiReductions, MediansAreThoseOfASortInBothOperands) {
  Random random(8);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const std::vector<Entry> entries = grouped_entries(random);
  List list(GetParam(), entries);
  list.make_plan();
  const cth_bracket all_brackets[] = {
      {0.0f, kInfinity}, {0.25f, 1.5f}, {0.5f, 0.625f}, {1.0f, 1.0f}, {0.3f, 0.7f}};
  for (const cth_operand operand : {CTH_OF_WEIGHTS, CTH_OF_GRADIENTS}) {
    for (const cth_bracket& bracket : all_brackets) {
      const cth_bracket two[] = {bracket, {0.0f, 2.0f}};
      cth_median medians[3] = {};
      ASSERT_CTH(cth_bracket_median(list.plan(), operand, two, medians, 2));
      ASSERT_CTH(cth_bracket_median(list.plan(), operand, &bracket, &medians[2], 1));
      for (std::size_t i = 0; i < 3; ++i) {
        const cth_bracket& of = i == 1 ? two[1] : bracket;
        std::vector<float> inside =
            sorted_magnitudes(entries, operand, i < 2 ? static_cast<std::int32_t>(i) : -1);
        std::erase_if(inside, [&](float m) { return !(of.low < m && m < of.high); });
        EXPECT_EQ(medians[i].inside, inside.size());
        if (inside.empty()) {
          EXPECT_TRUE(std::isnan(medians[i].median));
        } else {
          EXPECT_EQ(medians[i].median, inside[(inside.size() - 1) / 2]);
        }
      }
    }
  }
}

TEST_P(CapiReductions, KthMagnitudeIsThatOfASortNanAndInfinityIncluded) {
  Random random(9);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  std::vector<Entry> entries = grouped_entries(random);
  entries[4].w[100] = -kInfinity;
  entries[4].g[5] = kNan;
  List list(GetParam(), entries);
  list.make_plan();
  for (const cth_operand operand : {CTH_OF_WEIGHTS, CTH_OF_GRADIENTS}) {
    const std::vector<float> sorted = sorted_magnitudes(entries, operand, -1);
    const auto n = static_cast<std::int64_t>(sorted.size());
    for (const std::int64_t k : {std::int64_t{1}, std::int64_t{2}, n / 3, n - 1, n}) {
      float magnitude = -1.0f;
      ASSERT_CTH(cth_kth_magnitude(list.plan(), operand, k, &magnitude));
      const float want = sorted[static_cast<std::size_t>(n - k)];
      EXPECT_TRUE(magnitude == want || (std::isnan(magnitude) && std::isnan(want)))
          << "k " << k << ": " << magnitude << " and not " << want;
    }
    float magnitude = -1.0f;
    expect_refused(cth_kth_magnitude(list.plan(), operand, n + 1, &magnitude), CTH_INVALID_ARGUMENT,
                   "cth_kth_magnitude");
    EXPECT_EQ(magnitude, -1.0f);
  }
}

TEST_P(CapiReductions, WeightsAreReadAsTheyAreAfterASteps) {
  List list(GetParam(), {{{3.0f, -2.0f, 1.0f}, {1.0f, 1.0f, 1.0f}, 0, 0}});
  list.make_plan();
  list.set_rates({{1.0f, 0.0f, 0.0f}});
  float magnitude = 0.0f;
  EXPECT_CTH(cth_kth_magnitude(list.plan(), CTH_OF_WEIGHTS, 1, &magnitude));
  EXPECT_EQ(magnitude, 3.0f);
  EXPECT_CTH(cth_prox_step(list.plan()));
  EXPECT_CTH(cth_kth_magnitude(list.plan(), CTH_OF_WEIGHTS, 2, &magnitude));
  EXPECT_EQ(magnitude, 2.0f);
  // Gradients that moved elsewhere are followed; those of group −1 need not be there.
  Array<float> moved(list.backend(), std::span<const float>(std::vector<float>{7.0f, 0.0f, 0.0f}));
  const void* gradients[] = {moved.data()};
  EXPECT_CTH(cth_plan_set_gradients(list.plan(), gradients, 1));
  EXPECT_CTH(cth_kth_magnitude(list.plan(), CTH_OF_GRADIENTS, 1, &magnitude));
  EXPECT_EQ(magnitude, 7.0f);
}

TEST_P(CapiReductions, CertificateIsTheDefinition) {
  Random random(10);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const std::vector<Entry> entries = grouped_entries(random);
  List list(GetParam(), entries);
  // A bias without a gradient is no matter of the certificate.
  list.entries()[2].gradient.data = nullptr;
  list.make_plan();
  const std::vector<float> lambda = {0.75f, 1.5f};
  list.set_lambda(lambda);
  cth_kkt residuals[2] = {};
  ASSERT_CTH(cth_kkt_residual(list.plan(), residuals, 2));
  for (std::size_t group = 0; group < 2; ++group) {
    std::uint64_t nonzeros = 0;
    std::uint64_t zeros = 0;
    double on_nonzero = 0.0;
    double on_zero = 0.0;
    const auto l = static_cast<double>(lambda[group]);
    for (const Entry& entry : entries) {
      if (entry.group != static_cast<std::int32_t>(group)) continue;
      for (std::size_t i = 0; i < entry.w.size(); ++i) {
        const auto w = static_cast<double>(entry.w[i]);
        const auto g = static_cast<double>(entry.g[i]);
        (w != 0.0 ? nonzeros : zeros) += 1;
        if (w != 0.0) on_nonzero = std::max(on_nonzero, std::fabs(g + std::copysign(l, w)));
        if (w == 0.0) on_zero = std::max(on_zero, std::fabs(g) - l);
      }
    }
    EXPECT_EQ(residuals[group].nonzeros, nonzeros);
    EXPECT_EQ(residuals[group].zeros, zeros);
    // Exact here: λ and g are multiples of 2^-3 but for denormals.
    EXPECT_FLOAT_EQ(residuals[group].on_nonzero, static_cast<float>(on_nonzero));
    EXPECT_FLOAT_EQ(residuals[group].on_zero, static_cast<float>(on_zero));
  }
}

}  // namespace
}  // namespace cuthresh::testing
