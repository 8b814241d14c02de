// Convolutions in every room against their definition in float64.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "conv_reference.hpp"
#include "core/array.hpp"
#include "cuthresh/error.hpp"
#include "support/engines.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

using ::testing::HasSubstr;

class ConvRooms : public ::testing::TestWithParam<Room> {};

constexpr float kStart = 0.25f;  // what dw and db hold before

struct ConvData {
  ConvShape shape;
  std::vector<float> x, w, b, dy;

  ConvData(const ConvShape& s, bool bias, Random& random) : shape(s) {
    x = random.vector(static_cast<std::size_t>(s.rows * s.in.elements()), -1.0f, 1.0f);
    w = random.vector(static_cast<std::size_t>(s.weights()), -0.5f, 0.5f);
    if (bias) b = random.vector(static_cast<std::size_t>(s.out_channels), -0.5f, 0.5f);
    dy = random.vector(static_cast<std::size_t>(s.rows * s.out().elements()), -1.0f, 1.0f);
  }
};

struct ConvResult {
  std::vector<float> y, z, dz, dw, db, dx;
};

struct ConvWishes {
  bool accumulate = false;
  bool dx = true;
};

ConvResult run_conv(Backend& backend, const ConvData& data, const ConvWishes& wishes = {}) {
  const ConvShape& s = data.shape;
  const auto on_device = [&](const std::vector<float>& v) {
    return Array<float>(backend, std::span<const float>(v));
  };
  const Array<float> x = on_device(data.x), w = on_device(data.w), b = on_device(data.b);
  const bool bias = !data.b.empty();
  const bool keeps = needs_preactivation(s.activation);
  Array<float> y(backend, s.rows * s.out().elements()), z(backend, keeps ? y.size() : 0);
  backend.conv_forward({s, x.data(), w.data(), bias ? b.data() : nullptr, z.data(), y.data()});
  Array<float> dy = on_device(data.dy);
  Array<float> dw = on_device(std::vector<float>(data.w.size(), kStart));
  Array<float> db = on_device(std::vector<float>(data.b.size(), kStart));
  Array<float> dx(backend, wishes.dx ? x.size() : 0);
  backend.conv_backward({s, x.data(), w.data(), y.data(), z.data(), dy.data(), dw.data(),
                         bias ? db.data() : nullptr, dx.data(), wishes.accumulate});
  return {y.to_host(), z.to_host(), dy.to_host(), dw.to_host(), db.to_host(), dx.to_host()};
}

void expect_conv(Backend& backend, const ConvData& data, const ConvWishes& wishes = {}) {
  const ConvShape& s = data.shape;
  SCOPED_TRACE(::testing::Message()
               << s.rows << "x" << s.in.height << "x" << s.in.width << "x" << s.in.channels
               << " to " << s.out_channels << ", window " << s.window.height << "x"
               << s.window.width << " stride " << s.window.stride_height << ","
               << s.window.stride_width << " pad " << s.window.pad_height << ","
               << s.window.pad_width << " " << activation_text(s.activation));
  const ConvResult got = run_conv(backend, data, wishes);
  const double start = wishes.accumulate ? static_cast<double>(kStart) : 0.0;
  const ConvReference wanted(s, data.x, data.w, data.b, data.dy, start);
  for (std::size_t i = 0; i < got.y.size(); ++i) {
    ASSERT_NEAR(static_cast<double>(got.y[i]), wanted.y[i], wanted.z[i].tolerance()) << i;
    // The derivative at a float32 z, times dy.
    ASSERT_NEAR(static_cast<double>(got.dz[i]), wanted.dz[i], 1e-5) << i;
  }
  if (needs_preactivation(s.activation)) expect_sums("z", got.z, wanted.z);
  expect_sums("dw", got.dw, wanted.dw);
  if (!data.b.empty()) expect_sums("db", got.db, wanted.db);
  if (wishes.dx) expect_sums("dx", got.dx, wanted.dx);
}

Window square(std::int64_t side, std::int64_t stride = 1, std::int64_t pad = 0) {
  return {side, side, stride, stride, pad, pad};
}

const ConvShape kShapes[] = {
    {1, {1, 1, 1}, 1, square(1)},
    {2, {5, 5, 1}, 3, square(3, 1, 1)},
    {9, {6, 6, 1}, 16, square(3, 1, 1)},
    {2, {7, 7, 3}, 16, square(3, 2, 1)},
    {2, {8, 8, 16}, 16, square(3, 1, 1)},
    {1, {6, 5, 16}, 17, square(3, 1, 0)},
    {2, {5, 6, 17}, 16, square(3, 1, 2)},
    {9, {4, 4, 17}, 3, square(1)},
    {2, {6, 6, 16}, 17, square(1, 2)},
    {2, {9, 9, 3}, 1, square(5, 1, 2)},
    {1, {11, 10, 3}, 17, square(5, 3, 1)},
    {2, {7, 9, 3}, 5, {2, 3, 1, 2, 0, 1}},
    {2, {4, 12, 2}, 16, {1, 5, 1, 1, 0, 2}},
    {2, {9, 4, 16}, 4, {3, 2, 3, 2, 2, 0}},
    {1, {3, 3, 4}, 2, square(3)},
    {2, {2, 2, 3}, 4, square(3, 1, 2)},
    {2, {3, 3, 2}, 3, square(1, 1, 1)},
    {1, {4, 4, 33}, 65, square(3, 1, 1)},
};

TEST_P(ConvRooms, EveryShapeIsItsDefinition) {
  Random random(11);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  bool other = false;
  for (ConvShape shape : kShapes) {
    other = !other;
    shape.activation = other ? Activation::kIdentity : Activation::kRelu;
    expect_conv(*backend, ConvData(shape, true, random), {other, true});
    if (HasFatalFailure()) return;
  }
}

TEST_P(ConvRooms, EveryActivationWithAndWithoutBias) {
  Random random(12);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  for (const Activation activation :
       {Activation::kIdentity, Activation::kRelu, Activation::kLeakyRelu, Activation::kTanh,
        Activation::kSigmoid, Activation::kGelu, Activation::kSilu}) {
    for (const bool bias : {true, false}) {
      const ConvShape shape{3, {4, 5, 3}, 6, square(3, 1, 1), activation, 0.2f};
      expect_conv(*backend, ConvData(shape, bias, random), {bias, bias});
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(ConvRooms, BatchesOfAllLengthsOneAfterTheOther) {
  // Long ones are cut into pieces; a short last one follows, and the long one again.
  Random random(13);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  const bool slow = GetParam().engine == "cuda";
  for (const std::int64_t rows : {slow ? 9 : 77, 2, 1, slow ? 5 : 64, slow ? 9 : 77}) {
    const ConvShape shape{rows, {5, 5, 4}, 18, square(3, 1, 1), Activation::kRelu};
    expect_conv(*backend, ConvData(shape, true, random), {true, true});
    if (HasFatalFailure()) return;
  }
}

TEST_P(ConvRooms, GradientsAreCentralDifferences) {
  // Of Σ g·y in float64, by the room's own forward pass: its gradients belong to its values.
  Random random(14);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto backend = GetParam().make();
  const ConvShape shape{2, {4, 3, 2}, 3, {3, 2, 2, 1, 1, 1}, Activation::kTanh};
  const ConvData data(shape, true, random);
  const ConvResult got = run_conv(*backend, data);
  const auto objective = [&](const ConvData& moved) {
    const ConvResult r = run_conv(*backend, moved, {false, false});
    double sum = 0.0;
    for (std::size_t i = 0; i < r.y.size(); ++i) {
      sum += static_cast<double>(data.dy[i]) * static_cast<double>(r.y[i]);
    }
    return sum;
  };
  constexpr float kStep = 1.0f / 64.0f;
  const auto compare = [&](const char* name, std::vector<float> ConvData::*values,
                           const std::vector<float>& gradient, std::size_t stride) {
    for (std::size_t i = 0; i < gradient.size(); i += stride) {
      ConvData up = data, down = data;
      (up.*values)[i] += kStep;
      (down.*values)[i] -= kStep;
      const double distance =
          static_cast<double>((up.*values)[i]) - static_cast<double>((down.*values)[i]);
      const double slope = (objective(up) - objective(down)) / distance;
      // The third derivative of tanh is at most 2: kStep²/6 times that, times a few outputs.
      ASSERT_NEAR(static_cast<double>(gradient[i]), slope, 2e-3) << name << "[" << i << "]";
    }
  };
  compare("dw", &ConvData::w, got.dw, 5);
  compare("db", &ConvData::b, got.db, 1);
  compare("dx", &ConvData::x, got.dx, 7);
}

TEST_P(ConvRooms, ANanReachesEveryOutputThatReadsIt) {
  Random random(15);
  const auto backend = GetParam().make();
  for (const std::int64_t channels : {1, 16}) {
    const ConvShape shape{2, {5, 5, channels}, 16, square(3, 1, 1), Activation::kRelu};
    ConvData data(shape, true, random);
    // Sample 1, pixel (2, 3), the last channel.
    data.x[static_cast<std::size_t>((25 + 2 * 5 + 3) * channels + channels - 1)] =
        std::numeric_limits<float>::quiet_NaN();
    const ConvResult got = run_conv(*backend, data);
    for (std::size_t i = 0; i < got.y.size(); ++i) {
      const std::size_t pixel = i / 16 % 25;
      const bool reads = i / 16 >= 25 && pixel / 5 >= 1 && pixel / 5 <= 3 && pixel % 5 >= 2;
      ASSERT_EQ(std::isnan(got.y[i]), reads) << i;
    }
  }
}

TEST_P(ConvRooms, NothingAroundAnArrayIsTouched) {
  Random random(16);
  const auto backend = GetParam().make();
  const ConvShape s{3, {5, 4, 5}, 7, square(3, 1, 1), Activation::kSilu};
  const ConvData data(s, true, random);
  constexpr std::int64_t kGuard = 16;
  constexpr float kMark = 12345.0f;
  const auto guarded = [&](const std::vector<float>& v) {
    std::vector<float> all(v.size() + 2 * kGuard, kMark);
    std::copy(v.begin(), v.end(), all.begin() + kGuard);
    return Array<float>(*backend, std::span<const float>(all));
  };
  const std::vector<float> empty(data.dy.size(), 0.0f);
  Array<float> x = guarded(data.x), w = guarded(data.w), b = guarded(data.b), dy = guarded(data.dy),
               y = guarded(empty), z = guarded(empty), dw = guarded(data.w), db = guarded(data.b),
               dx = guarded(data.x);
  const auto at = [](Array<float>& a) { return a.data() + kGuard; };
  backend->conv_forward({s, at(x), at(w), at(b), at(z), at(y)});
  backend->conv_backward({s, at(x), at(w), at(y), at(z), at(dy), at(dw), at(db), at(dx), false});
  for (Array<float>* a : {&x, &w, &b, &dy, &y, &z, &dw, &db, &dx}) {
    const std::vector<float> got = a->to_host();
    for (std::size_t i = 0; i < kGuard; ++i) {
      ASSERT_EQ(got[i], kMark);
      ASSERT_EQ(got[got.size() - 1 - i], kMark);
    }
  }
  const auto inner = [&](Array<float>& a) {
    const std::vector<float> all = a.to_host();
    return std::vector<float>(all.begin() + kGuard, all.end() - kGuard);
  };
  EXPECT_EQ(inner(x), data.x) << "inputs stay what they are";
  EXPECT_EQ(inner(w), data.w);
  EXPECT_EQ(inner(b), data.b);
}

TEST_P(ConvRooms, WithoutRowsSumsAreEmpty) {
  const auto backend = GetParam().make();
  for (const bool accumulate : {false, true}) {
    const std::vector<float> before(18, kStart);
    Array<float> dw(*backend, std::span<const float>(before));
    Array<float> db(*backend, std::span<const float>(before).first(2));
    ConvForward forward;
    forward.shape = {0, {4, 4, 1}, 2, square(3)};
    backend->conv_forward(forward);
    ConvBackward backward;
    backward.shape = forward.shape;
    backward.dw = dw.data();
    backward.db = db.data();
    backward.accumulate = accumulate;
    backend->conv_backward(backward);
    EXPECT_EQ(dw.to_host(), std::vector<float>(18, accumulate ? kStart : 0.0f));
    EXPECT_EQ(db.to_host(), std::vector<float>(2, accumulate ? kStart : 0.0f));
  }
}

TEST_P(ConvRooms, BadArgumentsAreNamed) {
  const auto backend = GetParam().make();
  Array<float> memory(*backend, 256);
  const auto message = [&](auto change) {
    ConvForward args{{1, {4, 4, 1}, 2, square(3)},
                     memory.data(),
                     memory.data(),
                     nullptr,
                     nullptr,
                     memory.data()};
    change(args);
    try {
      backend->conv_forward(args);
    } catch (const InternalError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  const auto shape = [&](auto change) {
    return message([&](ConvForward& args) { change(args.shape); });
  };
  EXPECT_THAT(shape([](ConvShape& s) { s.rows = -1; }), HasSubstr("rows must be from 0"));
  EXPECT_THAT(shape([](ConvShape& s) { s.in.height = 0; }), HasSubstr("the image's height"));
  EXPECT_THAT(shape([](ConvShape& s) { s.in.channels = 0; }), HasSubstr("the image's channels"));
  EXPECT_THAT(shape([](ConvShape& s) { s.out_channels = 0; }), HasSubstr("out_channels"));
  EXPECT_THAT(shape([](ConvShape& s) { s.window.width = 0; }), HasSubstr("the window's width"));
  EXPECT_THAT(shape([](ConvShape& s) { s.window.stride_height = 0; }), HasSubstr("the stride"));
  EXPECT_THAT(shape([](ConvShape& s) { s.window.pad_width = -1; }), HasSubstr("the padding"));
  EXPECT_THAT(shape([](ConvShape& s) { s.window.height = 5; }),
              HasSubstr("the window does not fit into the image of 4 x 4"));
  EXPECT_THAT(shape([](ConvShape& s) { s.rows = std::int64_t{1} << 58; }),
              HasSubstr("more than 2^60"));
  EXPECT_THAT(message([](ConvForward& args) { args.x = nullptr; }),
              HasSubstr("x must not be null"));
  EXPECT_THAT(message([](ConvForward& args) {
                args.w = reinterpret_cast<const float*>(reinterpret_cast<const char*>(args.w) + 2);
              }),
              HasSubstr("multiple of 4"));
  EXPECT_THAT(shape([](ConvShape& s) { s.activation = Activation::kGelu; }),
              HasSubstr("z must not be null"));
  ConvBackward backward;
  backward.shape = {1, {4, 4, 1}, 2, square(3)};
  try {
    backend->conv_backward(backward);
    ADD_FAILURE() << "no error";
  } catch (const InternalError& error) {
    EXPECT_THAT(error.what(), HasSubstr("conv_backward: dw must not be null"));
  }
}

INSTANTIATE_TEST_SUITE_P(Rooms, ConvRooms, ::testing::ValuesIn(all_rooms()),
                         [](const auto& test) { return test.param.name(); });

bool same_bits(const ConvResult& a, const ConvResult& b) {
  const auto same = [](const std::vector<float>& u, const std::vector<float>& v) {
    if (u.empty() || v.empty()) return u.size() == v.size();
    return u.size() == v.size() && std::memcmp(u.data(), v.data(), u.size() * sizeof(float)) == 0;
  };
  return same(a.y, b.y) && same(a.z, b.z) && same(a.dz, b.dz) && same(a.dw, b.dw) &&
         same(a.db, b.db) && same(a.dx, b.dx);
}

TEST(ConvThreads, AnyNumberGivesTheSameBits) {
  Random random(17);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (const ConvShape& shape :
       {ConvShape{50, {9, 9, 3}, 20, square(3, 1, 1), Activation::kGelu},
        ConvShape{13, {20, 20, 16}, 16, square(3, 2, 1), Activation::kTanh},
        ConvShape{1, {30, 20, 1}, 5, square(5)}}) {
    const ConvData data(shape, true, random);
    for (const std::string& engine : all_engines()) {
      const ConvResult one = run_conv(*cpu::make_cpu_backend(engine, 1), data);
      for (const int threads : {2, 3, 7}) {
        EXPECT_TRUE(same_bits(one, run_conv(*cpu::make_cpu_backend(engine, threads), data)))
            << engine << " " << threads;
      }
    }
  }
}

TEST(ConvInstructionSets, OurLoopsGiveTheSameBitsOnAll) {
  Random random(18);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const ConvData data({4, {7, 6, 18}, 35, square(3, 1, 1), Activation::kSilu}, true, random);
  const ConvResult baseline = run_conv(*cpu::make_cpu_backend("reference", 2, "baseline"), data);
  for (const char* isa : {"avx2", "avx512"}) {
    if (cpu::find_loops(isa) == nullptr) continue;
    EXPECT_TRUE(same_bits(baseline, run_conv(*cpu::make_cpu_backend("reference", 2, isa), data)))
        << isa;
  }
}

}  // namespace
}  // namespace cuthresh::testing
