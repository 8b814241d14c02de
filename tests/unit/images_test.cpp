// gather_images in every room against the definition in float64, written out pixel by pixel: a
// black border of `crop` pixels, a crop of the image's size out of it, a mirror image, and
// (byte/255 − mean)/std.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/array.hpp"
#include "cuthresh/error.hpp"
#include "kernels/math/philox.hpp"
#include "support/engines.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

using ::testing::HasSubstr;

struct ImageCase {
  ImageShape shape;
  std::int64_t images = 0;
  std::vector<std::int64_t> index;  // empty: none
  std::int64_t rows = 0;            // without an index
  std::int64_t crop = 0;
  bool flip = false;
  std::uint64_t seed = 0x123456789abcdefULL;
  std::uint32_t step = 0;
};

struct ImageData {
  std::vector<std::uint8_t> bytes;
  std::vector<double> mean, std;
  std::vector<float> scale, shift;
};

ImageData draw_images(const ImageCase& c, Random& random) {
  ImageData data;
  data.bytes.resize(static_cast<std::size_t>(c.images * c.shape.elements()));
  for (std::uint8_t& b : data.bytes) b = static_cast<std::uint8_t>(random.integer(0, 255));
  for (std::int64_t i = 0; i < c.shape.channels; ++i) {
    data.mean.push_back(static_cast<double>(random.uniform(0.1f, 0.9f)));
    data.std.push_back(static_cast<double>(random.uniform(0.1f, 0.9f)));
    data.scale.push_back(static_cast<float>(1.0 / (255.0 * data.std.back())));
    data.shift.push_back(static_cast<float>(-data.mean.back() / data.std.back()));
  }
  return data;
}

std::vector<float> gathered(Backend& room, const ImageCase& c, const ImageData& data) {
  const Array<std::uint8_t> from(room, data.bytes);
  const Array<std::int64_t> index(room, c.index);
  const Array<float> scale(room, data.scale);
  const Array<float> shift(room, data.shift);
  GatherImages args;
  args.shape = c.shape;
  args.rows = c.index.empty() ? c.rows : static_cast<std::int64_t>(c.index.size());
  Array<float> to(room, args.rows * c.shape.elements());
  args.to = to.data();
  args.from = from.data();
  args.index = index.data();
  args.scale = scale.data();
  args.shift = shift.data();
  args.crop = c.crop;
  args.flip = c.flip;
  args.seed = c.seed;
  args.of_step.step = c.step;
  room.gather_images(args);
  return to.to_host();
}

// The image with its border, cropped at (top, left) of it, mirrored or not.
std::vector<double> definition(const ImageCase& c, const ImageData& data, std::int64_t image,
                               std::int64_t top, std::int64_t left, bool mirrored) {
  const ImageShape& s = c.shape;
  const std::int64_t wide = s.width + 2 * c.crop;
  std::vector<std::uint8_t> bordered(
      static_cast<std::size_t>((s.height + 2 * c.crop) * wide * s.channels), std::uint8_t{0});
  for (std::int64_t y = 0; y < s.height; ++y) {
    for (std::int64_t i = 0; i < s.width * s.channels; ++i) {
      bordered[static_cast<std::size_t>(((y + c.crop) * wide + c.crop) * s.channels + i)] =
          data.bytes[static_cast<std::size_t>(image * s.elements() + y * s.width * s.channels + i)];
    }
  }
  std::vector<double> out;
  for (std::int64_t y = 0; y < s.height; ++y) {
    for (std::int64_t x = 0; x < s.width; ++x) {
      const std::int64_t from = mirrored ? s.width - 1 - x : x;
      for (std::int64_t k = 0; k < s.channels; ++k) {
        const auto at = static_cast<std::size_t>(((top + y) * wide + left + from) * s.channels + k);
        const auto channel = static_cast<std::size_t>(k);
        out.push_back((bordered[at] / 255.0 - data.mean[channel]) / data.std[channel]);
      }
    }
  }
  return out;
}

// scale and shift are rounded to 2^-24 of values up to 10, and so is what comes out.
constexpr double kRounding = 3e-6;

void expect_near(const std::vector<float>& got, std::size_t first,
                 const std::vector<double>& want) {
  for (std::size_t i = 0; i < want.size(); ++i) {
    ASSERT_NEAR(static_cast<double>(got[first + i]), want[i], kRounding) << "element " << i;
  }
}

class Images : public ::testing::TestWithParam<Room> {};
INSTANTIATE_TEST_SUITE_P(Rooms, Images, ::testing::ValuesIn(all_rooms()),
                         [](const auto& p) { return p.param.name(); });

TEST_P(Images, BytesAreNormalisedByChannel) {
  Random random(301);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto room = GetParam().make();
  const ImageCase cases[] = {
      {{1, 1, 1}, 3, {}, 3, 0, false},        {{28, 28, 1}, 5, {4, 0, 0, 3}, 0, 0, false},
      {{5, 7, 3}, 4, {3, 1, 2}, 0, 0, false}, {{3, 5, 2}, 4, {}, 4, 0, false},
      {{40, 37, 1}, 2, {1, 1}, 0, 0, false},  // more than one strip
      {{33, 35, 3}, 1, {0}, 0, 0, false}};
  for (const ImageCase& c : cases) {
    const ImageData data = draw_images(c, random);
    const std::vector<float> got = gathered(*room, c, data);
    const std::size_t rows = c.index.empty() ? static_cast<std::size_t>(c.rows) : c.index.size();
    const auto elements = static_cast<std::size_t>(c.shape.elements());
    ASSERT_EQ(got.size(), rows * elements);
    for (std::size_t r = 0; r < rows; ++r) {
      const std::int64_t image = c.index.empty() ? static_cast<std::int64_t>(r) : c.index[r];
      SCOPED_TRACE(::testing::Message() << c.shape.height << "x" << c.shape.width << "x"
                                        << c.shape.channels << ", row " << r);
      expect_near(got, r * elements, definition(c, data, image, 0, 0, false));
      if (HasFatalFailure()) return;
    }
  }
}

// The place of the crop is searched for in what came out, so this knows nothing of how it is drawn.
TEST_P(Images, MovedImagesAreCropsOutOfABlackBorder) {
  Random random(302);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto room = GetParam().make();
  const bool interpreted = GetParam().engine == "cuda";
  ImageCase c{{5, 6, 3}, 4, {}, 0, 2, true};
  for (int i = 0; i < (interpreted ? 40 : 400); ++i) c.index.push_back(random.integer(0, 3));
  const ImageData data = draw_images(c, random);
  std::map<std::pair<std::int64_t, std::int64_t>, int> places;
  int mirrored = 0;
  for (const std::uint32_t step : {0U, 7U}) {
    c.step = step;
    const std::vector<float> got = gathered(*room, c, data);
    for (std::size_t r = 0; r < c.index.size(); ++r) {
      int found = 0;
      for (std::int64_t place = 0; place < 50; ++place) {
        const std::int64_t top = place / 10;
        const std::int64_t left = place / 2 % 5;
        const std::vector<double> want = definition(c, data, c.index[r], top, left, place % 2 == 1);
        bool same = true;
        for (std::size_t i = 0; i < want.size() && same; ++i) {
          same = std::fabs(static_cast<double>(got[r * want.size() + i]) - want[i]) < kRounding;
        }
        if (!same) continue;
        ++found;
        ++places[{top, left}];
        mirrored += place % 2 == 1 ? 1 : 0;
      }
      ASSERT_EQ(found, 1) << "row " << r << " of step " << step << " is no crop of its image";
    }
  }
  // Mean counts: n/25 a place and n/2 mirrored; five standard deviations each way.
  const auto n = static_cast<double>(2 * c.index.size());
  EXPECT_NEAR(mirrored, n / 2, 5 * std::sqrt(n / 4));
  if (interpreted) return;
  EXPECT_EQ(places.size(), 25u);
  for (const auto& [place, count] : places) {
    EXPECT_NEAR(count, n / 25, 5 * std::sqrt(n / 25)) << place.first << ", " << place.second;
  }
}

// The same to the bit in every room, of which the first is one thread and plain loops.
TEST_P(Images, EqualTheFirstRoomToTheBit) {
  Random random(303);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto room = GetParam().make();
  const auto first = all_rooms().front().make();
  for (const std::int64_t crop : {0, 1, 4}) {
    for (const bool flip : {false, true}) {
      ImageCase c{{9, 8, 3}, 6, {5, 0, 3, 3, 1}, 0, crop, flip};
      c.step = 99;
      const ImageData data = draw_images(c, random);
      EXPECT_EQ(gathered(*room, c, data), gathered(*first, c, data)) << crop << ", " << flip;
      c.index.clear();
      c.rows = 6;
      EXPECT_EQ(gathered(*room, c, data), gathered(*first, c, data)) << crop << ", " << flip;
    }
  }
}

// What image_ops.hpp and kernels/math/image.hpp promise of the numbers: step and row are halves of
// one 64-bit counter.
TEST_P(Images, DrawsComeFromSeedStepAndRow) {
  const auto room = GetParam().make();
  ImageCase c{{3, 3, 1}, 1, {}, 0, 2, true};
  c.index.assign(40, 0);
  c.seed = 77;
  c.step = 0x80000001U;
  ImageData data;
  for (int i = 1; i <= 9; ++i) data.bytes.push_back(static_cast<std::uint8_t>(i));
  data.mean = {0.0};
  data.std = {1.0 / 255.0};
  data.scale = {1.0f};
  data.shift = {0.0f};
  const std::vector<float> got = gathered(*room, c, data);
  for (std::size_t r = 0; r < 40; ++r) {
    const Philox random =
        Philox::block(77, 0x8000000100000000ULL + r, 0, RandomPurpose::kAugmentation);
    const auto offset = [&](int word) {
      return static_cast<std::int64_t>(static_cast<double>(random.words[word]) * 0x1p-32 * 5.0);
    };
    SCOPED_TRACE(r);
    expect_near(got, 9 * r,
                definition(c, data, 0, offset(0), offset(1), random.words[2] >= 0x80000000U));
    if (HasFatalFailure()) return;
  }
}

TEST_P(Images, NoRowsNeedNoMemory) {
  const auto room = GetParam().make();
  GatherImages args;
  args.shape = {3, 3, 1};
  EXPECT_NO_THROW(room->gather_images(args));
}

TEST_P(Images, BadArgumentsAreRefusedBeforeAnythingIsDone) {
  const auto room = GetParam().make();
  alignas(8) std::uint8_t bytes[64] = {};
  float to[32] = {};
  const float channel[3] = {1.0f, 1.0f, 1.0f};
  GatherImages good;
  good.shape = {3, 4, 1};
  good.rows = 1;
  good.to = to;
  good.from = bytes;
  good.scale = channel;
  good.shift = channel;
  const auto refused = [&](auto change, const char* says) {
    GatherImages args = good;
    change(args);
    try {
      room->gather_images(args);
      ADD_FAILURE() << "not refused: " << says;
    } catch (const InternalError& error) {
      EXPECT_THAT(error.what(), HasSubstr("gather_images"));
      EXPECT_THAT(error.what(), HasSubstr(says));
    }
  };
  refused([](GatherImages& a) { a.rows = -1; }, "rows");
  refused([](GatherImages& a) { a.shape.height = 0; }, "height");
  refused([](GatherImages& a) { a.shape.width = 0; }, "width");
  refused([](GatherImages& a) { a.shape.channels = 0; }, "channels");
  refused([](GatherImages& a) { a.shape = {1 << 16, 1 << 15, 1}; }, "2^31 elements");
  refused([](GatherImages& a) { a.shape = {1LL << 40, 1LL << 40, 1}; }, "2^60");
  refused([](GatherImages& a) { a.rows = 1LL << 59; }, "2^60");
  refused([](GatherImages& a) { a.crop = -1; }, "crop must be from 0 to 2");
  refused([](GatherImages& a) { a.crop = 3; }, "(got 3)");
  refused(
      [](GatherImages& a) {
        a.rows = 1LL << 32;
        a.flip = true;
      },
      "2^32");
  refused([](GatherImages& a) { a.to = nullptr; }, "to must not be null");
  refused([](GatherImages& a) { a.from = nullptr; }, "from must not be null");
  refused([](GatherImages& a) { a.scale = nullptr; }, "scale must not be null");
  refused([](GatherImages& a) { a.shift = nullptr; }, "shift must not be null");
  refused([&](GatherImages& a) { a.index = reinterpret_cast<std::int64_t*>(bytes + 4); },
          "multiple of 8");
  refused([&](GatherImages& a) { a.to = reinterpret_cast<float*>(bytes + 2); }, "multiple of 4");
}

}  // namespace
}  // namespace cuthresh::testing
