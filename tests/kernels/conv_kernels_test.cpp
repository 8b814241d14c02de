// Convolution weights to channels-last and back, in three orders of threads and blocks.

#include <gtest/gtest.h>

#include "guarded.hpp"
#include "kernels/block/conv_filter.cuh"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::uint32_t kThreads = 256;

struct FilterShape {
  std::size_t out, in, height, width;
  std::size_t size() const { return out * in * height * width; }
};

// Both orders by four nested loops.
std::vector<float> channels_last(const FilterShape& s, const std::vector<float>& from) {
  std::vector<float> to;
  for (std::size_t o = 0; o < s.out; ++o) {
    for (std::size_t y = 0; y < s.height; ++y) {
      for (std::size_t x = 0; x < s.width; ++x) {
        for (std::size_t c = 0; c < s.in; ++c) {
          to.push_back(from[((o * s.in + c) * s.height + y) * s.width + x]);
        }
      }
    }
  }
  return to;
}

void check_filter(const FilterShape& s, Random& random) {
  SCOPED_TRACE(::testing::Message() << s.out << "x" << s.in << "x" << s.height << "x" << s.width);
  const std::vector<float> ours = random.vector(s.size(), -1.0f, 1.0f);
  const std::vector<float> theirs = channels_last(s, ours);
  const std::vector<float> before = random.vector(s.size(), -1.0f, 1.0f);
  const auto out = static_cast<std::int64_t>(s.out);
  const auto in = static_cast<std::int64_t>(s.in);
  const auto taps = static_cast<std::int64_t>(s.height * s.width);
  for (std::size_t offset = 0; offset < 3; offset += 2) {
    for_each_launch([&](std::uint32_t grid) {
      Guarded<float> to(s.size(), 9.0f, offset);
      Guarded<float> from{std::span<const float>(ours), offset};
      simt::launch(grid, kThreads, conv_filter_kernel<kThreads>, to.data(), from.data(), out, in,
                   taps);
      ASSERT_EQ(first_difference(to.values(), theirs), "");
      ASSERT_TRUE(to.guards_hold() && from.guards_hold());
      for (const bool accumulate : {false, true}) {
        std::vector<float> wanted = ours;
        for (std::size_t i = 0; i < wanted.size() && accumulate; ++i) wanted[i] += before[i];
        Guarded<float> gradient{std::span<const float>(before), offset};
        Guarded<float> blocked{std::span<const float>(theirs), offset};
        simt::launch(grid, kThreads, conv_filter_gradient_kernel<kThreads>, gradient.data(),
                     blocked.data(), out, in, taps, accumulate);
        ASSERT_EQ(first_difference(gradient.values(), wanted), "");
        ASSERT_TRUE(gradient.guards_hold() && blocked.guards_hold());
      }
    });
  }
}

TEST(ConvKernels, WeightsAreTransposedAndBackForAnyShape) {
  Random random(71);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (const FilterShape& s :
       {FilterShape{1, 1, 1, 1}, FilterShape{16, 17, 1, 1}, FilterShape{33, 1, 3, 3},
        FilterShape{5, 7, 3, 2}, FilterShape{32, 16, 3, 3}, FilterShape{8, 32, 1, 1}}) {
    check_filter(s, random);
  }
}

TEST(ConvKernels, WeightsAreTransposedSmallForSanitizers) {
  Random random(72);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  check_filter({2, 3, 2, 2}, random);
}

TEST(ConvKernels, BlocksCoverEveryElement) {
  for (const std::int64_t size : {1L, 255L, 256L, 257L, 1L << 40}) {
    const std::int64_t blocks = conv_filter_tiles(size, kThreads);
    EXPECT_GE(blocks * kThreads, size);
    EXPECT_LT((blocks - 1) * kThreads, size);
  }
}

}  // namespace
}  // namespace cuthresh::testing
