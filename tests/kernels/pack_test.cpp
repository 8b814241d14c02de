// How ranges divide into 16-byte packs, against a search over every head; and how a launch divides
// a list of tiles.

#include "kernels/pack.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "guarded.hpp"
#include "kernels/block/multi_tensor.cuh"
#include "kernels/scalar.hpp"

namespace cuthresh::testing {
namespace {

template <class T>
const T* at_byte(std::uintptr_t offset) {
  return reinterpret_cast<const T*>(std::uintptr_t{0x10000} + offset);
}

// The smallest head after which all addresses are multiples of 16; size when there is none.
std::int64_t head_by_search(std::int64_t size, std::vector<std::uintptr_t> offsets,
                            std::vector<std::size_t> bytes) {
  for (std::int64_t head = 0; head <= size; ++head) {
    bool aligned = true;
    for (std::size_t i = 0; i < offsets.size(); ++i) {
      aligned = aligned && (offsets[i] + static_cast<std::size_t>(head) * bytes[i]) % 16 == 0;
    }
    if (aligned) return head;
  }
  return size;
}

template <int kUnit, class Index>
void expect_split(PackSplit<Index> split, Index size, std::int64_t head) {
  ASSERT_EQ(split.head, head);
  ASSERT_EQ(split.units, (size - split.head) / kUnit);
  // Units and scalar entries together are every entry once.
  std::vector<int> seen(static_cast<std::size_t>(size), 0);
  for (Index u = 0; u < split.units; ++u) {
    for (Index e = 0; e < kUnit; ++e) {
      ++seen[static_cast<std::size_t>(split.head + u * kUnit + e)];
    }
  }
  for (Index i = 0; i < size - split.units * kUnit; ++i) {
    ++seen[static_cast<std::size_t>(scalar_entry<kUnit>(split, i))];
  }
  for (const int times : seen) ASSERT_EQ(times, 1);
}

TEST(PackSplit, OneArray) {
  for (std::int64_t size = 0; size <= 40; ++size) {
    for (std::uintptr_t offset = 0; offset < 16; offset += 4) {
      ASSERT_NO_FATAL_FAILURE(expect_split<4>(split_in_packs<4>(size, at_byte<float>(offset)), size,
                                              head_by_search(size, {offset}, {4})));
    }
    for (std::uintptr_t offset = 0; offset < 16; offset += 8) {
      ASSERT_NO_FATAL_FAILURE(expect_split<2>(split_in_packs<2>(size, at_byte<double>(offset)),
                                              size, head_by_search(size, {offset}, {8})));
    }
  }
}

TEST(PackSplit, ArraysOfTwoWidthsAtEveryOffset) {
  for (std::int32_t size = 0; size <= 35; ++size) {
    for (std::uintptr_t a = 0; a < 16; a += 2) {
      for (std::uintptr_t b = 0; b < 16; b += 2) {
        for (std::uintptr_t c = 0; c < 16; c += 4) {
          const auto split =
              split_in_packs<8>(size, at_byte<Bf16>(a), at_byte<Fp16>(b), at_byte<float>(c));
          ASSERT_NO_FATAL_FAILURE(
              expect_split<8>(split, size, head_by_search(size, {a, b, c}, {2, 2, 4})))
              << size << ": " << a << " " << b << " " << c;
        }
      }
    }
  }
}

// An address that is no multiple of the entry's size never reaches a boundary.
TEST(PackSplit, AddressesOffTheEntrysSizeGoOneByOne) {
  for (const std::uintptr_t offset : {1, 2, 3, 5, 15}) {
    const auto split = split_in_packs<4>(std::int64_t{100}, at_byte<float>(offset));
    EXPECT_EQ(split.head, 100);
    EXPECT_EQ(split.units, 0);
  }
}

TEST(PackSplit, MoreThanTwoToThe31Entries) {
  const std::int64_t size = (std::int64_t{5} << 31) + 3;
  const auto split = split_in_packs<4>(size, at_byte<float>(8), at_byte<float>(8));
  EXPECT_EQ(split.head, 2);
  EXPECT_EQ(split.units, (size - 2) / 4);
  EXPECT_EQ(scalar_entry<4>(split, std::int64_t{2}), 2 + 4 * ((size - 2) / 4));
}

TEST(Packs, LoadsAndStoresKeepEveryByte) {
  std::vector<Bf16> halves;
  for (std::uint16_t i = 0; i < 64; ++i) halves.push_back({static_cast<std::uint16_t>(i * 1021)});
  Guarded<Bf16> from(halves), to(64, Bf16{0});
  for (std::size_t i = 0; i < 64; i += 8) {
    device::store_pack(to.data() + i, device::load_pack(from.data() + i));
  }
  for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(to.data()[i].bits, halves[i].bits);

  std::vector<double> numbers(8);
  std::iota(numbers.begin(), numbers.end(), 0.1);
  Guarded<double> wide(numbers), copy(8, 0.0);
  device::store_pack(copy.data(), device::load_pack<8>(wide.data()));  // four accesses
  EXPECT_EQ(copy.values(), numbers);
  EXPECT_TRUE(copy.guards_hold() && to.guards_hold());
}

// On a GPU a fault; the interpreter must not forgive it.
TEST(Packs, MisalignedAccessIsAnError) {
  Guarded<float> a(std::size_t{16}, 1.0f, 1);
  EXPECT_THROW(device::load_pack(a.data()), std::logic_error);
  EXPECT_THROW(device::store_pack(a.data(), Pack<float>{}), std::logic_error);
}

TEST(Tiles, BlocksTakeContiguousRunsThatDifferByOneTileAtMost) {
  for (const std::int64_t tiles : {0, 1, 2, 6, 7, 8, 100, 3052}) {
    for (const std::uint32_t blocks : {1U, 2U, 7U, 8U, 528U, 4000U}) {
      std::int64_t next = 0;
      for (std::uint32_t b = 0; b < blocks; ++b) {
        const TileRange range = tiles_of_block(tiles, b, blocks);
        ASSERT_EQ(range.first, next);
        const std::int64_t length = range.end - range.first;
        ASSERT_GE(length, tiles / blocks);
        ASSERT_LE(length, (tiles + blocks - 1) / blocks);
        next = range.end;
      }
      ASSERT_EQ(next, tiles);
    }
  }
}

// T·b would not fit 64 bits.
TEST(Tiles, ManyTilesAndManyBlocks) {
  const std::int64_t tiles = (std::int64_t{1} << 40) + 3;
  const std::uint32_t blocks = 0x7fffffffU;
  EXPECT_EQ(tiles_of_block(tiles, 0, blocks).first, 0);
  EXPECT_EQ(tiles_of_block(tiles, blocks - 1, blocks).end, tiles);
  const TileRange some = tiles_of_block(tiles, blocks / 2, blocks);
  EXPECT_EQ(tiles_of_block(tiles, blocks / 2 + 1, blocks).first, some.end);
  EXPECT_EQ(some.end - some.first, tiles / blocks);
}

}  // namespace
}  // namespace cuthresh::testing
