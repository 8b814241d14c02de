// The ends of a dense layer against room A (0 ulp, sums included) and against float64 definitions,
// for every activation, shape, alignment, grid and order of threads.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <tuple>

#include "cpu/cpu_backend.hpp"
#include "cpu/loops.hpp"
#include "guarded.hpp"
#include "kernels/block/dense_bias.cuh"
#include "support/reference_net.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::uint32_t kThreads = 256;
constexpr float kSlope = 0.07f;

struct Shape {
  std::int64_t rows, columns;
  std::size_t size() const { return static_cast<std::size_t>(rows * columns); }
};

// f(functor, name) for every activation.
template <class F>
void for_each_activation(F f) {
  f(IdentityActivation{}, Activation::kIdentity, "identity");
  f(ReluActivation{}, Activation::kRelu, "relu");
  f(LeakyReluActivation{kSlope}, Activation::kLeakyRelu, "leaky-relu");
  f(TanhActivation{}, Activation::kTanh, "tanh");
  f(SigmoidActivation{}, Activation::kSigmoid, "sigmoid");
  f(GeluActivation{}, Activation::kGelu, "gelu");
  f(SiluActivation{}, Activation::kSilu, "silu");
}

// Ordinary values with some of every special kind among them.
std::vector<float> hard_values(Random& random, std::size_t n) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const float special[] = {0.0f,   -0.0f,   kInf,  -kInf,  std::numeric_limits<float>::quiet_NaN(),
                           1e-40f, -1e-40f, 90.0f, -90.0f, 1.0f};
  std::vector<float> v = random.vector(n, -3.0f, 3.0f);
  for (float& x : v) {
    if (random.integer(0, 15) == 0) x = special[random.integer(0, 9)];
  }
  return v;
}

template <class A>
void check_forward(A act, Activation activation, const Shape& shape, std::size_t offset_y,
                   std::size_t offset_b, std::size_t offset_z, std::uint32_t grid, Random& random) {
  const std::vector<float> product = hard_values(random, shape.size());
  const std::vector<float> bias =
      random.vector(static_cast<std::size_t>(shape.columns), -1.0f, 1.0f);
  std::vector<float> want_y = product;
  std::vector<float> want_z(A::kNeedsInput ? shape.size() : 0, 7.0f);
  const DenseShape dense{shape.rows, 1, shape.columns, activation, kSlope};
  cpu::find_loops("baseline")
      ->bias_activation(dense, bias.data(), want_z.data(), want_y.data(), shape.rows, shape.columns,
                        shape.columns);

  Guarded<float> y(std::span<const float>(product), offset_y);
  Guarded<float> b(std::span<const float>(bias), offset_b);
  Guarded<float> z(want_z.size(), 7.0f, offset_z);
  simt::launch(grid, kThreads, bias_activation_kernel<A, kThreads>, act, b.data(),
               A::kNeedsInput ? z.data() : nullptr, y.data(), shape.rows, shape.columns);
  ASSERT_EQ(first_difference(y.values(), want_y), "");
  ASSERT_EQ(first_difference(z.values(), want_z), "");
  ASSERT_TRUE(y.guards_hold() && z.guards_hold() && b.guards_hold());
}

TEST(DenseKernels, ForwardEqualsRoomA) {
  Random random(201);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const Shape shapes[] = {{0, 5},  {1, 1},   {3, 1},    {1000, 1}, {5, 3},  {511, 2}, {17, 4},
                          {33, 8}, {2, 127}, {16, 128}, {17, 132}, {9, 31}, {40, 33}, {3, 260}};
  for_each_activation([&](auto act, Activation activation, const char* name) {
    for (const Shape& shape : shapes) {
      SCOPED_TRACE(::testing::Message() << name << " " << shape.rows << "x" << shape.columns);
      for_each_launch([&](std::uint32_t grid) {
        check_forward(act, activation, shape, 0, 0, 0, grid, random);
      });
      check_forward(act, activation, shape, 1, 0, 0, 2, random);
      check_forward(act, activation, shape, 0, 3, 0, 2, random);
      check_forward(act, activation, shape, 4, 4, 2, 2, random);
      if (HasFatalFailure()) return;
    }
  });
}

TEST(DenseKernels, ForwardIsTheDefinition) {
  Random random(202);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const Shape shape{37, 12};
  for_each_activation([&](auto act, Activation, const std::string& name) {
    using A = decltype(act);
    const std::vector<float> product = random.vector(shape.size(), -4.0f, 4.0f);
    const std::vector<float> bias = random.vector(12, -1.0f, 1.0f);
    Guarded<float> y{std::span<const float>(product)};
    Guarded<float> z(shape.size(), 0.0f);
    Guarded<float> b{std::span<const float>(bias)};
    simt::launch(3, kThreads, bias_activation_kernel<A, kThreads>, act, b.data(), z.data(),
                 y.data(), shape.rows, shape.columns);
    for (std::size_t i = 0; i < shape.size(); ++i) {
      const double want = reference_activation(name, static_cast<double>(product[i] + bias[i % 12]),
                                               static_cast<double>(kSlope));
      ASSERT_NEAR(static_cast<double>(y.data()[i]), want, 1e-6 * std::max(1.0, std::fabs(want)))
          << name << " " << product[i] << " + " << bias[i % 12];
      ASSERT_EQ(z.data()[i], A::kNeedsInput ? product[i] + bias[i % 12] : 0.0f);
    }
  });
}

// dy and db as room A's dense_backward leaves them, whose products (in = 1, x = w = 0) play no
// part.
std::tuple<std::vector<float>, std::vector<float>> room_a(const Shape& shape, Activation activation,
                                                          const std::vector<float>& kept,
                                                          std::vector<float> dy,
                                                          std::vector<float> db, bool accumulate) {
  static const auto room = cpu::make_cpu_backend("reference", 1, "baseline");
  const std::vector<float> x(static_cast<std::size_t>(shape.rows), 0.0f);
  const std::vector<float> w(static_cast<std::size_t>(shape.columns), 0.0f);
  std::vector<float> dw = w;
  DenseBackward args;
  args.shape = {shape.rows, 1, shape.columns, activation, kSlope};
  args.x = x.data();
  args.w = w.data();
  args.y = kept.data();
  args.z = kept.data();
  args.dy = dy.data();
  args.dw = dw.data();
  args.db = db.data();
  args.accumulate = accumulate;
  room->dense_backward(args);
  return {dy, db};
}

template <class A>
void check_backward(A act, Activation activation, const Shape& shape, std::size_t offset_kept,
                    std::size_t offset_dy, bool accumulate, std::uint32_t grid, bool hard,
                    Random& random) {
  const std::vector<float> kept =
      hard ? hard_values(random, shape.size()) : random.vector(shape.size(), -1.0f, 1.0f);
  const std::vector<float> before =
      hard ? hard_values(random, shape.size()) : random.vector(shape.size(), -1.0f, 1.0f);
  const std::vector<float> bias =
      random.vector(static_cast<std::size_t>(shape.columns), -1.0f, 1.0f);
  const auto [want_dy, want_db] = room_a(shape, activation, kept, before, bias, accumulate);

  Guarded<float> k(std::span<const float>(kept), offset_kept);
  Guarded<float> dy(std::span<const float>(before), offset_dy);
  Guarded<float> db(std::span<const float>(bias), offset_dy);
  Guarded<float> partials(
      static_cast<std::size_t>(activation_backward_partials(shape.rows, shape.columns)), 99.0f);
  Guarded<std::uint32_t> tickets(
      static_cast<std::size_t>(activation_backward_tickets(shape.columns)), 0);
  simt::launch(grid, kThreads, activation_backward_kernel<A, kThreads>, act, k.data(), dy.data(),
               db.data(), partials.data(), tickets.data(), shape.rows, shape.columns, accumulate);
  ASSERT_EQ(first_difference(dy.values(), want_dy), "");
  ASSERT_EQ(first_difference(db.values(), want_db), "");
  ASSERT_EQ(tickets.values(), std::vector<std::uint32_t>(tickets.size(), 0));
  ASSERT_TRUE(dy.guards_hold() && db.guards_hold() && partials.guards_hold() &&
              tickets.guards_hold());
}

TEST(DenseKernels, BackwardEqualsRoomA) {
  Random random(203);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const Shape shapes[] = {{0, 5},    {1, 1},   {127, 3},  {128, 1},  {129, 1},  {1000, 1}, {257, 4},
                          {300, 12}, {5, 128}, {33, 132}, {385, 31}, {130, 33}, {31, 260}};
  for_each_activation([&](auto act, Activation activation, const char* name) {
    const bool all_launches = activation == Activation::kTanh || activation == Activation::kGelu;
    for (const Shape& shape : shapes) {
      SCOPED_TRACE(::testing::Message() << name << " " << shape.rows << "x" << shape.columns);
      if (all_launches) {
        for_each_launch([&](std::uint32_t grid) {
          check_backward(act, activation, shape, 0, 0, grid == 2, grid, grid == 7, random);
        });
      }
      check_backward(act, activation, shape, 0, 0, false, 5, true, random);
      check_backward(act, activation, shape, 1, 0, true, 2, false, random);
      check_backward(act, activation, shape, 4, 3, false, 40, false, random);
      if (HasFatalFailure()) return;
    }
  });
}

TEST(DenseKernels, BackwardIsTheDefinition) {
  Random random(204);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const Shape shape{300, 20};
  const double h = 1e-6;
  for_each_activation([&](auto act, Activation, const std::string& name) {
    using A = decltype(act);
    std::vector<float> z = random.vector(shape.size(), -3.0f, 3.0f);
    for (float& v : z) v = std::fabs(v) < 1e-3f ? 1e-3f : v;  // away from the kinks
    std::vector<float> kept = z;
    if (!A::kNeedsInput) {
      for (float& v : kept) v = act(v);
    }
    const std::vector<float> before = random.vector(shape.size(), -1.0f, 1.0f);
    Guarded<float> k{std::span<const float>(kept)};
    Guarded<float> dy{std::span<const float>(before)};
    Guarded<float> db(20, 0.5f);
    Guarded<float> partials(60, 0.0f);
    Guarded<std::uint32_t> tickets(1, 0);
    simt::launch(4, kThreads, activation_backward_kernel<A, kThreads>, act, k.data(), dy.data(),
                 db.data(), partials.data(), tickets.data(), shape.rows, shape.columns, true);
    std::vector<double> sums(20, 0.5);
    for (std::size_t i = 0; i < shape.size(); ++i) {
      const auto at = static_cast<double>(z[i]);
      const auto slope = static_cast<double>(kSlope);
      const double derivative =
          (reference_activation(name, at + h, slope) - reference_activation(name, at - h, slope)) /
          (2 * h);
      const double want = static_cast<double>(before[i]) * derivative;
      ASSERT_NEAR(static_cast<double>(dy.data()[i]), want, 2e-6) << name << " at " << z[i];
      sums[i % 20] += want;
    }
    for (std::size_t c = 0; c < 20; ++c) {
      // 300 terms up to 1.2 and 300 additions of results up to 360 at 2^-24 each.
      ASSERT_NEAR(static_cast<double>(db.data()[c]), sums[c], 2e-3) << name;
    }
  });
}

TEST(DenseKernels, ColumnsWithoutRowsGetZeroOrKeepWhatTheyHave) {
  for (const bool accumulate : {false, true}) {
    Guarded<float> db(70, -3.0f);
    Guarded<std::uint32_t> tickets(3, 0);
    simt::launch(2, kThreads, activation_backward_kernel<ReluActivation, kThreads>,
                 ReluActivation{}, nullptr, nullptr, db.data(), nullptr, tickets.data(), 0, 70,
                 accumulate);
    EXPECT_EQ(db.values(), std::vector<float>(70, accumulate ? -3.0f : 0.0f));
  }
}

TEST(DenseKernels, TilesAreBlocksThatHaveWork) {
  EXPECT_EQ(bias_activation_tiles(0, 7), 0);
  EXPECT_EQ(bias_activation_tiles(512, 1), 1);
  EXPECT_EQ(bias_activation_tiles(513, 1), 2);
  EXPECT_EQ(bias_activation_tiles(16, 64), 2);
  EXPECT_EQ(activation_backward_tiles(0, 64), 2);
  EXPECT_EQ(activation_backward_tiles(129, 33), 4);
  // 64-bit: 2^20 rows of 2^20 columns.
  EXPECT_EQ(activation_backward_tiles(1 << 20, 1 << 20), std::int64_t{1} << (13 + 15));
  EXPECT_EQ(activation_backward_partials(1 << 20, 1 << 20), std::int64_t{1} << 33);
}

// Every barrier and atomic once, in launches small enough for a run under ThreadSanitizer.
TEST(DenseKernels, SmallForThreadSanitizer) {
  Random random(205);
  const SetOrder shuffled(simt::Order::kShuffled, 3);
  check_forward(GeluActivation{}, Activation::kGelu, {20, 36}, 0, 0, 0, 2, random);
  check_backward(TanhActivation{}, Activation::kTanh, {257, 36}, 0, 0, true, 2, false, random);
  check_backward(TanhActivation{}, Activation::kTanh, {130, 33}, 0, 0, false, 3, false, random);
}

}  // namespace
}  // namespace cuthresh::testing
