// Batch normalisation kernels against room A (0 ulp, sums included) for shapes, alignments, grids
// and orders of threads; tests/unit/norm_test.cpp holds both rooms to the definition.

#include <gtest/gtest.h>

#include <cmath>

#include "cpu/cpu_backend.hpp"
#include "guarded.hpp"
#include "kernels/block/batch_norm.cuh"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::uint32_t kThreads = 256;
constexpr float kEpsilon = 1e-3f;

struct Matrix {
  std::int64_t rows, channels;
  std::size_t size() const { return static_cast<std::size_t>(rows * channels); }
  std::size_t width() const { return static_cast<std::size_t>(channels); }
  BatchNormShape shape(Activation activation) const {
    return {rows, channels, kEpsilon, activation, 0.01f};
  }
};

// Element offsets from a 64-byte boundary: of x, of dy and what becomes of it, of arrays with one
// entry a channel.
struct Offsets {
  std::size_t x = 0;
  std::size_t dy = 0;
  std::size_t channel = 0;
};

Backend& room_a() {
  static const auto room = cpu::make_cpu_backend("reference", 1, "baseline");
  return *room;
}

std::vector<float> zeros(std::size_t n) {
  return std::vector<float>(n, 0.0f);
}

void check_statistics(const Matrix& m, const Offsets& at, bool running, std::uint64_t stopped,
                      std::uint32_t grid, Random& random) {
  const std::vector<float> x = random.vector(m.size(), -1.0f, 3.0f);
  const std::vector<float> gamma = random.vector(m.width(), -1.0f, 1.0f);
  const std::vector<float> before = random.vector(m.width(), 0.0f, 1.0f);
  std::vector<float> mean = zeros(m.width()), inverse = mean, want_y(m.size());
  std::vector<float> want_mean = before, want_var = before;
  BatchNormForward args;
  args.shape = m.shape(Activation::kIdentity);
  args.pass = running && stopped == 0 ? Pass::kTrain : Pass::kGradient;
  args.x = x.data();
  args.gamma = args.beta = gamma.data();
  args.running_mean = want_mean.data();
  args.running_var = want_var.data();
  args.momentum = 0.3f;
  args.mean = mean.data();
  args.inverse_std = inverse.data();
  args.y = want_y.data();
  room_a().batch_norm_forward(args);

  Guarded<float> from(std::span<const float>(x), at.x);
  Guarded<float> got_mean(m.width(), 9.0f, at.channel), got_inverse(m.width(), 9.0f, at.channel);
  Guarded<float> running_mean(std::span<const float>(before), at.channel);
  Guarded<float> running_var(std::span<const float>(before), at.channel);
  Guarded<float> partials(static_cast<std::size_t>(column_sums_partials(m.rows, m.channels)),
                          99.0f);
  Guarded<std::uint32_t> tickets(static_cast<std::size_t>(column_sums_tickets(m.channels)), 0);
  const StepHeader header{3, stopped, 0, 0};
  const auto rows = static_cast<float>(m.rows);
  const BatchStatistics statistics{{rows, rows - 1.0f, kEpsilon, 0.3f},
                                   got_mean.data(),
                                   got_inverse.data(),
                                   running ? running_mean.data() : nullptr,
                                   running ? running_var.data() : nullptr,
                                   &header};
  simt::launch(grid, kThreads, batch_mean_kernel<kThreads>, statistics, from.data(), m.rows,
               m.channels, partials.data(), tickets.data());
  simt::launch(grid, kThreads, batch_deviation_kernel<kThreads>, statistics, from.data(), m.rows,
               m.channels, partials.data(), tickets.data());
  ASSERT_EQ(first_difference(got_mean.values(), mean), "");
  ASSERT_EQ(first_difference(got_inverse.values(), inverse), "");
  ASSERT_EQ(first_difference(running_mean.values(), want_mean), "");
  ASSERT_EQ(first_difference(running_var.values(), want_var), "");
  ASSERT_EQ(tickets.values(), std::vector<std::uint32_t>(tickets.size(), 0));
  ASSERT_TRUE(got_mean.guards_hold() && got_inverse.guards_hold() && running_mean.guards_hold() &&
              running_var.guards_hold() && partials.guards_hold() && tickets.guards_hold());
}

template <class A>
void check_layer(A act, Activation activation, const Matrix& m, const Offsets& at, bool accumulate,
                 std::uint32_t grid, Random& random) {
  const std::vector<float> x = random.vector(m.size(), -2.0f, 2.0f);
  const std::vector<float> gamma = random.vector(m.width(), -1.0f, 1.0f);
  const std::vector<float> beta = random.vector(m.width(), -1.0f, 1.0f);
  const std::vector<float> mean = random.vector(m.width(), -1.0f, 1.0f);
  const std::vector<float> variance = random.vector(m.width(), 0.0f, 2.0f);
  std::vector<float> want_z(A::kNeedsInput ? m.size() : 0), want_y(m.size());
  std::vector<float> running_mean = mean, running_var = variance;
  BatchNormForward evaluate;
  evaluate.shape = m.shape(activation);
  evaluate.x = x.data();
  evaluate.gamma = gamma.data();
  evaluate.beta = beta.data();
  evaluate.running_mean = running_mean.data();
  evaluate.running_var = running_var.data();
  evaluate.z = want_z.data();
  evaluate.y = want_y.data();
  room_a().batch_norm_forward(evaluate);

  Guarded<float> from(std::span<const float>(x), at.x);
  Guarded<float> g(std::span<const float>(gamma), at.channel);
  Guarded<float> b(std::span<const float>(beta), at.channel);
  Guarded<float> centre(std::span<const float>(mean), at.channel);
  Guarded<float> spread(std::span<const float>(variance), at.channel);
  Guarded<float> z(want_z.size(), 7.0f, at.dy), y(m.size(), 7.0f, at.dy);
  const NormConstants of{centre.data(), nullptr, spread.data(), kEpsilon, g.data(), b.data()};
  simt::launch(grid, kThreads, normalise_kernel<A, kThreads>, act, of, from.data(),
               A::kNeedsInput ? z.data() : nullptr, y.data(), m.rows, m.channels);
  ASSERT_EQ(first_difference(y.values(), want_y), "");
  ASSERT_EQ(first_difference(z.values(), want_z), "");
  ASSERT_TRUE(y.guards_hold() && z.guards_hold() && from.guards_hold());

  if (m.rows < 2) return;
  const std::vector<float>& kept_values = A::kNeedsInput ? want_z : want_y;
  const std::vector<float> dy = random.vector(m.size(), -1.0f, 1.0f);
  const std::vector<float> sums_before = random.vector(m.width(), -1.0f, 1.0f);
  std::vector<float> want_dz = dy, want_dx(m.size());
  std::vector<float> want_dgamma = sums_before, want_dbeta = sums_before;
  BatchNormBackward back;
  back.shape = m.shape(activation);
  back.x = x.data();
  back.gamma = gamma.data();
  back.mean = mean.data();
  back.inverse_std = variance.data();  // any numbers do
  back.y = kept_values.data();
  back.z = kept_values.data();
  back.dy = want_dz.data();
  back.dgamma = want_dgamma.data();
  back.dbeta = want_dbeta.data();
  back.dx = want_dx.data();
  back.accumulate = accumulate;
  room_a().batch_norm_backward(back);

  Guarded<float> kept(std::span<const float>(kept_values), at.x);
  Guarded<float> dz(std::span<const float>(dy), at.dy);
  Guarded<float> dx(m.size(), 9.0f, at.dy);
  Guarded<float> sums(2 * m.width(), 9.0f, at.channel);
  Guarded<float> dgamma(std::span<const float>(sums_before), at.channel);
  Guarded<float> dbeta(std::span<const float>(sums_before), at.channel);
  Guarded<float> partials(2 * static_cast<std::size_t>(column_sums_partials(m.rows, m.channels)),
                          99.0f);
  Guarded<std::uint32_t> tickets(static_cast<std::size_t>(column_sums_tickets(m.channels)), 0);
  const device::GradientSums<A> element{act,         kept.data(),   dz.data(),
                                        from.data(), centre.data(), spread.data()};
  simt::launch(grid, kThreads, norm_sums_kernel<A, kThreads>, element, sums.data(), dgamma.data(),
               dbeta.data(), accumulate, m.rows, m.channels, partials.data(), tickets.data());
  ASSERT_EQ(first_difference(dz.values(), want_dz), "");
  ASSERT_EQ(first_difference(dgamma.values(), want_dgamma), "");
  ASSERT_EQ(first_difference(dbeta.values(), want_dbeta), "");
  ASSERT_EQ(tickets.values(), std::vector<std::uint32_t>(tickets.size(), 0));
  simt::launch(grid, kThreads, norm_gradient_kernel<kThreads>, sums.data(), centre.data(),
               spread.data(), g.data(), from.data(), dz.data(), dx.data(), m.rows, m.channels);
  ASSERT_EQ(first_difference(dx.values(), want_dx), "");
  // In place.
  simt::launch(grid, kThreads, norm_gradient_kernel<kThreads>, sums.data(), centre.data(),
               spread.data(), g.data(), from.data(), dz.data(), dz.data(), m.rows, m.channels);
  ASSERT_EQ(first_difference(dz.values(), want_dx), "");
  ASSERT_TRUE(dz.guards_hold() && dx.guards_hold() && sums.guards_hold() && dgamma.guards_hold() &&
              dbeta.guards_hold() && partials.guards_hold() && tickets.guards_hold());
}

// Around the 128 rows of a block and the 32 blocks of a group; strips of 32 units and less.
const Matrix kMatrices[] = {{2, 1},    {127, 3},  {128, 4},  {129, 16}, {300, 12},
                            {33, 132}, {140, 33}, {31, 260}, {4097, 1}, {4300, 4}};

TEST(NormKernels, StatisticsEqualRoomA) {
  Random random(551);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (const Matrix& m : kMatrices) {
    SCOPED_TRACE(::testing::Message() << m.rows << "x" << m.channels);
    for_each_launch([&](std::uint32_t grid) {
      check_statistics(m, {}, true, grid == 2 ? 1 : 0, grid, random);
    });
    check_statistics(m, {1, 0, 0}, true, 0, 2, random);
    check_statistics(m, {4, 0, 1}, true, 0, 5, random);
    check_statistics(m, {0, 0, 2}, false, 0, 5, random);
    if (HasFatalFailure()) return;
  }
}

TEST(NormKernels, LayersEqualRoomA) {
  Random random(552);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (const Matrix& m : kMatrices) {
    SCOPED_TRACE(::testing::Message() << m.rows << "x" << m.channels);
    for_each_launch([&](std::uint32_t grid) {
      check_layer(ReluActivation{}, Activation::kRelu, m, {}, grid == 2, grid, random);
    });
    check_layer(IdentityActivation{}, Activation::kIdentity, m, {}, false, 3, random);
    check_layer(GeluActivation{}, Activation::kGelu, m, {}, true, 3, random);
    check_layer(SiluActivation{}, Activation::kSilu, m, {1, 0, 0}, false, 2, random);
    check_layer(TanhActivation{}, Activation::kTanh, m, {0, 2, 0}, false, 2, random);
    check_layer(SigmoidActivation{}, Activation::kSigmoid, m, {4, 4, 1}, true, 2, random);
    if (HasFatalFailure()) return;
  }
  check_layer(ReluActivation{}, Activation::kRelu, {1, 5}, {}, false, 2, random);
  check_layer(ReluActivation{}, Activation::kRelu, {0, 8}, {}, false, 2, random);
}

TEST(NormKernels, TilesAreBlocksThatHaveWork) {
  EXPECT_EQ(column_sums_tiles(128, 32), 1);
  EXPECT_EQ(column_sums_tiles(129, 33), 4);
  EXPECT_EQ(column_sums_tickets(33), 2);
  EXPECT_EQ(column_sums_partials(129, 5), 10);
  EXPECT_EQ(normalise_tiles(0, 5), 0);
  EXPECT_EQ(normalise_tiles(1024, 1), 1);
  EXPECT_EQ(normalise_tiles(33, 64), 4);
  // 64-bit: 2^32 rows of 2^8 columns.
  EXPECT_EQ(column_sums_partials(std::int64_t{1} << 32, 256), std::int64_t{1} << 33);
}

// Every barrier and atomic once, in launches small enough for a run under ThreadSanitizer.
TEST(NormKernels, SmallForThreadSanitizer) {
  Random random(553);
  const SetOrder shuffled(simt::Order::kShuffled, 3);
  check_statistics({257, 36}, {}, true, 0, 2, random);
  check_layer(ReluActivation{}, Activation::kRelu, {257, 36}, {}, true, 2, random);
  check_layer(GeluActivation{}, Activation::kGelu, {130, 33}, {}, false, 3, random);
}

}  // namespace
}  // namespace cuthresh::testing
