// Initial values and gathered rows against room A, byte for byte.

#include <gtest/gtest.h>

#include <cstring>

#include "cpu/cpu_backend.hpp"
#include "guarded.hpp"
#include "kernels/block/gather.cuh"
#include "kernels/block/random.cuh"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::uint32_t kThreads = 256;

TEST(RandomKernels, InitialValuesEqualRoomA) {
  const auto room = cpu::make_cpu_backend("reference", 1, "baseline");
  struct Stream {
    std::uint64_t seed;
    std::uint32_t stream;
    float bound;
  };
  for (const Stream& s : {Stream{0x123456789abcdefULL, 5, 0.37f}, Stream{7, 0xffffffffU, 1e-3f}}) {
    for (const std::int64_t n : {0L, 1L, 3L, 4L, 5L, 1023L, 1024L, 1025L, 5003L}) {
      std::vector<float> want(static_cast<std::size_t>(n));
      room->initialise_uniform(want.data(), n, s.bound, s.seed, s.stream);
      for (std::size_t offset = 0; offset < 5; ++offset) {
        SCOPED_TRACE(::testing::Message() << n << " entries at " << offset);
        for_each_launch([&](std::uint32_t grid) {
          Guarded<float> to(want.size(), 9.0f, offset);
          simt::launch(grid, kThreads, initialise_uniform_kernel<kThreads>, to.data(), n, s.bound,
                       s.seed, s.stream);
          ASSERT_EQ(first_difference(to.values(), want), "");
          ASSERT_TRUE(to.guards_hold());
        });
      }
      for (const float v : want) ASSERT_TRUE(v >= -s.bound && v < s.bound);
    }
  }
}

// Rows of `row_bytes` bytes at byte offsets that decide which of the three paths they take.
TEST(RandomKernels, GatheredRowsAreCopies) {
  Random random(401);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  constexpr std::size_t kSourceRows = 37;
  for (const std::size_t row_bytes : {1UL, 3UL, 4UL, 8UL, 12UL, 16UL, 20UL, 31UL, 32UL, 33UL, 64UL,
                                      100UL, 512UL, 528UL, 1000UL}) {
    std::vector<unsigned char> source(kSourceRows * row_bytes);
    for (unsigned char& byte : source) byte = static_cast<unsigned char>(random.bits());
    for (const std::size_t rows : {0UL, 1UL, 2UL, 65UL, 1027UL}) {
      if (rows * row_bytes > 70000) continue;
      std::vector<std::int64_t> index(rows);
      for (std::int64_t& i : index) i = random.integer(0, kSourceRows - 1);
      std::vector<unsigned char> want(rows * row_bytes);
      for (std::size_t i = 0; i < rows; ++i) {
        std::memcpy(want.data() + i * row_bytes,
                    source.data() + static_cast<std::size_t>(index[i]) * row_bytes, row_bytes);
      }
      const auto check = [&](std::size_t to_offset, std::size_t from_offset, std::uint32_t grid) {
        Guarded<unsigned char> to(want.size(), std::uint8_t{0}, to_offset);
        Guarded<unsigned char> from{std::span<const unsigned char>(source), from_offset};
        Guarded<std::int64_t> device_index{std::span<const std::int64_t>(index), 1};
        simt::launch(grid, kThreads, gather_rows_kernel<kThreads>, to.data(), from.data(),
                     device_index.data(), static_cast<std::int64_t>(rows), row_bytes, RowsOfStep{});
        ASSERT_TRUE(to.values() == want)
            << row_bytes << " bytes, " << rows << " rows at " << to_offset << ", " << from_offset;
        ASSERT_TRUE(to.guards_hold() && from.guards_hold());
      };
      for_each_launch([&](std::uint32_t grid) { check(0, 0, grid); });
      for (const std::size_t offset : {1UL, 2UL, 4UL, 8UL, 12UL}) {
        check(offset, 0, 2);
        check(0, offset, 2);
        check(offset, offset, 2);
      }
      if (HasFatalFailure()) return;
    }
  }
}

TEST(RandomKernels, RowsBeyondTwoToThe31BytesAreAddressed) {
  // Row 2^31 + 5 of one byte each, without the memory: `from` lies that far before the array.
  std::vector<unsigned char> byte = {42};
  const std::int64_t far = (std::int64_t{1} << 31) + 5;
  const auto* from = reinterpret_cast<const unsigned char*>(
      reinterpret_cast<std::uintptr_t>(byte.data()) - static_cast<std::uintptr_t>(far));
  Guarded<unsigned char> to(1, std::uint8_t{0}, 1);
  simt::launch(1, kThreads, gather_rows_kernel<kThreads>, to.data(), from, &far, 1, std::size_t{1},
               RowsOfStep{});
  EXPECT_EQ(to.data()[0], 42);
}

TEST(RandomKernels, GatherTiles) {
  EXPECT_EQ(gather_tiles(0, 12), 0);
  EXPECT_EQ(gather_tiles(1024, 1), 1);
  EXPECT_EQ(gather_tiles(1025, 1), 2);
  EXPECT_EQ(gather_tiles(33, 64), 4);
}

}  // namespace
}  // namespace cuthresh::testing
