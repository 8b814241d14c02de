// gather_images_kernel against room A (0 ulp) for every alignment, grid and order of threads, with
// guard cells; room A itself is held to the definition in tests/unit/images_test.cpp.

#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <vector>

#include "cpu/cpu_backend.hpp"
#include "guarded.hpp"
#include "kernels/block/gather_images.cuh"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::uint32_t kThreads = 256;

struct Pictures {
  ImageShape shape;
  std::vector<std::int64_t> index;
  std::int64_t crop = 0;
  bool flip = false;
};

void check_images_kernel(const Pictures& p, bool indexed, std::size_t to_offset,
                         std::size_t from_offset, std::uint32_t grid, Random& random) {
  static const auto room = cpu::make_cpu_backend("reference", 1, "baseline");
  const auto rows = static_cast<std::int64_t>(p.index.size());
  const std::int64_t elements = p.shape.elements();
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(rows * elements));
  for (std::uint8_t& b : bytes) b = static_cast<std::uint8_t>(random.integer(0, 255));
  const auto channels = static_cast<std::size_t>(p.shape.channels);
  const std::vector<float> scale = random.vector(channels, 0.001f, 0.02f);
  const std::vector<float> shift = random.vector(channels, -3.0f, 3.0f);

  std::vector<float> want(bytes.size());
  GatherImages args;
  args.shape = p.shape;
  args.rows = rows;
  args.to = want.data();
  args.from = bytes.data();
  args.index = indexed ? p.index.data() : nullptr;
  args.scale = scale.data();
  args.shift = shift.data();
  args.crop = p.crop;
  args.flip = p.flip;
  args.seed = 5;
  args.of_step.step = 3;
  room->gather_images(args);

  Guarded<float> to(want.size(), 9.0f, to_offset);
  Guarded<std::uint8_t> from{std::span<const std::uint8_t>(bytes), from_offset};
  Guarded<std::int64_t> index{std::span<const std::int64_t>(p.index), 1};
  Guarded<float> device_scale{std::span<const float>(scale), 1};
  Guarded<float> device_shift{std::span<const float>(shift), 3};
  ImageGather images{};
  images.to = to.data();
  images.from = from.data();
  images.index = indexed ? index.data() : nullptr;
  images.scale = device_scale.data();
  images.shift = device_shift.data();
  images.rows = rows;
  images.height = static_cast<std::int32_t>(p.shape.height);
  images.width = static_cast<std::int32_t>(p.shape.width);
  images.channels = static_cast<std::int32_t>(p.shape.channels);
  images.crop = static_cast<std::int32_t>(p.crop);
  images.seed = 5;
  images.of_step.step.number = 3;
  images.flip = p.flip;
  simt::launch(grid, kThreads, gather_images_kernel<kThreads>, images);
  ASSERT_EQ(first_difference(to.values(), want), "");
  ASSERT_TRUE(to.guards_hold() && from.guards_hold());
}

TEST(GatherImagesKernel, EqualsRoomA) {
  Random random(311);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const ImageShape shapes[] = {{1, 1, 1}, {4, 4, 1}, {3, 5, 1}, {5, 4, 3}, {28, 28, 1}, {3, 43, 1}};
  for (const ImageShape& shape : shapes) {
    for (const std::int64_t crop : {0, 2}) {
      if (crop >= shape.height) continue;
      SCOPED_TRACE(::testing::Message() << shape.height << "x" << shape.width << "x"
                                        << shape.channels << ", crop " << crop);
      const Pictures p{shape, {2, 0, 2, 4, 1}, crop, crop > 0};
      if (shape.elements() < 100) {
        for_each_launch(
            [&](std::uint32_t grid) { check_images_kernel(p, true, 0, 0, grid, random); });
      }
      check_images_kernel(p, false, 0, 0, 3, random);
      for (const std::size_t offset : {1UL, 2UL, 4UL}) {
        check_images_kernel(p, true, offset, 0, 2, random);
        check_images_kernel(p, true, 0, offset, 2, random);
      }
      if (HasFatalFailure()) return;
    }
  }
  check_images_kernel({{4, 4, 1}, {0, 1}, 0, true}, true, 0, 0, 2, random);  // flip alone
  std::vector<std::int64_t> many(700);
  for (std::int64_t& i : many) i = random.integer(0, 699);
  check_images_kernel({{2, 2, 1}, many, 1, false}, true, 0, 0, 2,
                      random);  // crop alone, tiles down
}

TEST(GatherImagesKernel, ImagesBeyondTwoToThe31BytesAreAddressed) {
  // Image 2^30 of 3 bytes, without the memory: `from` lies that far before the array.
  const std::vector<std::uint8_t> bytes = {10, 20, 30};
  const std::int64_t far = std::int64_t{1} << 30;
  const float scale = 1.0f;
  const float shift = 0.5f;
  Guarded<float> to(3, 0.0f);
  ImageGather images{};
  images.to = to.data();
  images.from = reinterpret_cast<const std::uint8_t*>(
      reinterpret_cast<std::uintptr_t>(bytes.data()) - static_cast<std::uintptr_t>(3 * far));
  images.index = &far;
  images.scale = &scale;
  images.shift = &shift;
  images.rows = 1;
  images.height = 1;
  images.width = 3;
  images.channels = 1;
  simt::launch(1, kThreads, gather_images_kernel<kThreads>, images);
  EXPECT_EQ(to.values(), (std::vector<float>{10.5f, 20.5f, 30.5f}));
}

TEST(GatherImagesKernel, TilesAreBlocksThatHaveWork) {
  EXPECT_EQ(gather_images_tiles(0, 784), 0);
  EXPECT_EQ(gather_images_tiles(512, 1), 1);
  EXPECT_EQ(gather_images_tiles(17, 32), 2);
  EXPECT_EQ(gather_images_tiles(16, 33), 2);
  EXPECT_EQ(gather_images_tiles(std::int64_t{1} << 36, 32), std::int64_t{1} << 32);
}

TEST(GatherImagesKernel, SmallForThreadSanitizer) {
  Random random(312);
  const SetOrder shuffled(simt::Order::kShuffled, 3);
  check_images_kernel({{4, 4, 1}, {1, 0, 1}, 1, true}, true, 0, 0, 2, random);
  check_images_kernel({{3, 3, 1}, {1, 0, 1}, 0, false}, false, 0, 0, 2, random);
}

}  // namespace
}  // namespace cuthresh::testing
