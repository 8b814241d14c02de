// The room's list operations on large inputs against Thrust and CUB, and on lists of thousands of
// tiny misaligned tensors against the CPU room.

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <span>

#include "cpu/cpu_backend.hpp"
#include "gpu/oracles.hpp"
#include "gpu/support.hpp"
#include "kernels/math/philox.hpp"
#include "kernels/math/step.hpp"

namespace cuthresh::testing {
namespace {

constexpr std::uint64_t kSeed = 20240801;

std::unique_ptr<Backend> make_room() {
  return cuda::make_cuda_backend(cuda::Precision::kFp32);
}

/// What initialise_uniform puts at an index.
float uniform_at(std::int64_t index, std::uint32_t stream, float bound) {
  const Philox words = Philox::block(kSeed, static_cast<std::uint64_t>(index / 4), stream,
                                     RandomPurpose::kInitialisation);
  return uniform_symmetric(words.words[index % 4], bound);
}

/// One tensor of random weights and gradients, after one step that empties some of them.
struct Stepped {
  static constexpr float kAlpha = 0.25f;
  static constexpr float kLambda = 0.5f;
  std::int64_t size;
  Array<float> w, g;
  std::unique_ptr<ProxPlan> plan;

  Stepped(Backend& room, std::int64_t n) : size(n), w(room, n), g(room, n) {
    room.initialise_uniform(w.data(), n, 0.5f, kSeed, 1);
    room.initialise_uniform(g.data(), n, 1.0f, kSeed, 2);
    const ProxTensor tensor{w.data(), g.data(), n, 0};
    plan = room.make_plan({&tensor, 1}, 1);
    room.set_lambda(*plan, {&kLambda, 1});
    room.set_rate(*plan, {kAlpha});
    room.set_stop(*plan, {});
    room.prox_step(*plan);
    room.synchronize();  // the oracles use another stream
  }

  static float weight_at(std::int64_t i) {
    return ProxGradientStep<float>{kAlpha, kAlpha * kLambda}(uniform_at(i, 1, 0.5f),
                                                             uniform_at(i, 2, 1.0f));
  }
};

void expect_slices(Backend& room, const Stepped& stepped, std::vector<std::int64_t> places) {
  constexpr std::int64_t kSlice = 100003;
  for (const std::int64_t place : places) {
    const std::int64_t first = std::clamp<std::int64_t>(place - kSlice / 2, 0, stepped.size);
    const std::int64_t count = std::min(kSlice, stepped.size - first);
    std::vector<float> got(static_cast<std::size_t>(count));
    room.download(got.data(), stepped.w.data() + first, got.size() * sizeof(float));
    for (std::int64_t i = 0; i < count; ++i) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(got[static_cast<std::size_t>(i)]),
                std::bit_cast<std::uint32_t>(Stepped::weight_at(first + i)))
          << "entry " << first + i << " of " << stepped.size;
    }
  }
}

TEST(LargeLists, CountsMediansAndRanksAreThrusts) {
  const auto room = make_room();
  for (const std::int64_t n : {sized(1'000'003, 10'007), sized(25'000'000, 20'000)}) {
    SCOPED_TRACE(::testing::Message() << n << " elements");
    Stepped stepped(*room, n);
    expect_slices(*room, stepped, {0, n / 2, n});
    const std::uint64_t nonzero = oracle::count_nonzero(stepped.w.data(), n);
    EXPECT_GT(nonzero, 0U);
    EXPECT_LT(nonzero, static_cast<std::uint64_t>(n));
    EXPECT_EQ(room->read_status(*stepped.plan).total, nonzero);
    EXPECT_EQ(room->read_nonzeros(*stepped.plan).front(), nonzero);

    const float inf = std::numeric_limits<float>::infinity();
    for (const auto& [lo, hi] : {std::pair{0.0f, inf},
                                 {0.25f, 0.75f},
                                 {0.5f, std::nextafter(0.5f, 1.0f)},
                                 {0.9f, 0.91f}}) {
      const std::pair<float, float> bracket{lo, hi};
      const MedianResult got = room->read_bracket_medians(*stepped.plan, {&bracket, 1}).front();
      const oracle::Inside want = oracle::median_inside(stepped.g.data(), n, lo, hi);
      EXPECT_EQ(got.inside, want.count) << lo << " " << hi;
      ASSERT_EQ(got.median.has_value(), want.count > 0);
      if (got.median) {
        EXPECT_EQ(*got.median, want.median) << lo << " " << hi;
      }
    }
    for (const std::int64_t k : {std::int64_t{1}, std::int64_t{2}, n / 3, n - 1, n}) {
      EXPECT_EQ(room->read_kth_gradient(*stepped.plan, k),
                oracle::kth_largest(stepped.g.data(), n, k))
          << "k " << k;
    }
    const KktResult kkt = room->read_kkt(*stepped.plan).front();
    const oracle::Residuals want =
        oracle::residuals(stepped.w.data(), stepped.g.data(), n, Stepped::kLambda);
    EXPECT_EQ(kkt.nonzeros, nonzero);
    EXPECT_EQ(kkt.zeros, static_cast<std::uint64_t>(n) - nonzero);
    // One rounding of a number below 2.
    EXPECT_NEAR(static_cast<double>(kkt.on_nonzero), want.on_nonzero, 0x1p-24);
    EXPECT_NEAR(static_cast<double>(kkt.on_zero), want.on_zero, 0x1p-24);
  }
}

TEST(LargeLists, EqualValuesEndInOneBin) {
  const auto room = make_room();
  const std::int64_t n = sized(25'000'000, 20'000);
  Array<float> x(*room,
                 std::span<const float>(std::vector<float>(static_cast<std::size_t>(n), -0.3f)));
  const ProxTensor tensor{x.data(), x.data(), n, 0};
  const auto plan = room->make_plan({&tensor, 1}, 1);
  const std::pair<float, float> bracket{0.1f, 1.0f};
  const MedianResult got = room->read_bracket_medians(*plan, {&bracket, 1}).front();
  EXPECT_EQ(got.inside, static_cast<std::uint64_t>(n));
  EXPECT_EQ(got.median, 0.3f);
}

TEST(LargeLists, SquaredErrorsSumUp) {
  const auto room = make_room();
  const std::int64_t rows = sized(1'000'003, 1'003);
  const std::int64_t columns = 8;
  const std::int64_t n = rows * columns;
  Array<float> prediction(*room, n), target(*room, n);
  room->initialise_uniform(prediction.data(), n, 1.0f, kSeed, 3);
  room->initialise_uniform(target.data(), n, 1.0f, kSeed, 4);
  Array<LossSum> sum(*room, 1);
  LossArgs args;
  args.rows = rows;
  args.columns = columns;
  args.prediction = prediction.data();
  args.target = target.data();
  args.sum = sum.data();
  room->mse(args);
  const double got = sum.to_host().front().loss;
  const double want = oracle::squared_errors(prediction.data(), target.data(), n);
  // Both add the same n positive terms, in orders of their own: n units of 2^-53 each at most.
  EXPECT_NEAR(got, want, 2.0 * static_cast<double>(n) * 0x1p-53 * want);
}

TEST(LargeLists, CrossEntropyIsTheCpusToTheBit) {
  const auto room = make_room();
  const auto cpu = cpu::make_cpu_backend("reference", 0);
  Random random(43);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (const auto& [rows, columns] :
       {std::pair<std::int64_t, std::int64_t>{sized(100'003, 303), 10}, {sized(3'001, 61), 1000}}) {
    const auto n = static_cast<std::size_t>(rows * columns);
    const std::vector<float> logits = random.vector(n, -8.0f, 8.0f);
    std::vector<std::int32_t> labels(static_cast<std::size_t>(rows));
    for (auto& label : labels) label = static_cast<std::int32_t>(random.integer(0, columns - 1));
    LossSum sums[2];
    std::vector<float> gradients[2];
    Backend* rooms[] = {room.get(), cpu.get()};
    for (std::size_t i = 0; i < 2; ++i) {
      Array<float> z(*rooms[i], std::span<const float>(logits));
      Array<std::int32_t> label(*rooms[i], std::span<const std::int32_t>(labels));
      Array<float> gradient(*rooms[i], z.size());
      Array<LossSum> sum(*rooms[i], 1);
      LossArgs args;
      args.rows = rows;
      args.columns = columns;
      args.prediction = z.data();
      args.label = label.data();
      args.gradient = gradient.data();
      args.gradient_scale = 1.0f / static_cast<float>(rows);
      args.sum = sum.data();
      rooms[i]->softmax_cross_entropy(args);
      sums[i] = sum.to_host().front();
      gradients[i] = gradient.to_host();
    }
    EXPECT_EQ(std::bit_cast<std::uint64_t>(sums[0].loss),
              std::bit_cast<std::uint64_t>(sums[1].loss));
    EXPECT_EQ(sums[0].correct, sums[1].correct);
    for (std::size_t i = 0; i < n; ++i) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(gradients[0][i]),
                std::bit_cast<std::uint32_t>(gradients[1][i]))
          << i;
    }
  }
}

TEST(TinyTensors, ThousandsOfThemAtAnyAddressAreTheCpus) {
  const auto room = make_room();
  const auto cpu = cpu::make_cpu_backend("reference", 1);
  Random random(44);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const std::int64_t count = sized(5000, 200);
  constexpr std::int32_t kGroups = 7;
  std::vector<std::int64_t> sizes, w_offsets, g_offsets;
  std::int64_t w_size = 0;
  std::int64_t g_size = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    sizes.push_back(random.integer(0, 70));
    w_offsets.push_back(w_size);
    g_offsets.push_back(g_size);
    w_size += sizes.back() + random.integer(0, 5);
    g_size += sizes.back() + random.integer(0, 5);
  }
  const std::vector<float> w = random.vector(static_cast<std::size_t>(w_size), -1.0f, 1.0f);
  const std::vector<float> g = random.vector(static_cast<std::size_t>(g_size), -1.0f, 1.0f);
  const std::vector<float> lambda = {0.0f, 1e-3f, 0.1f, 0.5f, 1.0f, 2.0f, 5.0f};
  std::vector<std::pair<float, float>> brackets;
  for (std::int32_t i = 0; i < kGroups; ++i) {
    brackets.emplace_back(0.1f * static_cast<float>(i), 0.9f);
  }

  struct Seen {
    std::vector<float> w, v;
    StepStatus status;
    std::vector<MedianResult> medians;
    std::vector<KktResult> kkt;
    float third;
  };
  const auto see = [&](Backend& backend, StepKind kind) {
    Array<float> velocity(backend, w_size);
    velocity.zero();
    Array<float> weights(backend, std::span<const float>(w));
    Array<float> gradients(backend, std::span<const float>(g));
    std::vector<ProxTensor> list;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      list.push_back({weights.data() + w_offsets[i], gradients.data() + g_offsets[i], sizes[i],
                      static_cast<std::int32_t>(i % (kGroups + 1)) - 1,
                      velocity.data() + w_offsets[i]});
    }
    const auto plan = backend.make_plan(list, kGroups, kind);
    backend.set_lambda(*plan, lambda);
    backend.set_rate(*plan, {0.3f, 0.9f});
    backend.set_stop(*plan, {});
    for (int i = 0; i < 3; ++i) backend.prox_step(*plan);
    return Seen{weights.to_host(),          velocity.to_host(),
                backend.read_status(*plan), backend.read_bracket_medians(*plan, brackets),
                backend.read_kkt(*plan),    backend.read_kth_gradient(*plan, 3)};
  };
  for (const StepKind kind : {StepKind::kMomentum, StepKind::kNesterov}) {
    const Seen got = see(*room, kind);
    const Seen want = see(*cpu, kind);
    for (std::size_t i = 0; i < w.size(); ++i) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(got.w[i]), std::bit_cast<std::uint32_t>(want.w[i]));
      ASSERT_EQ(std::bit_cast<std::uint32_t>(got.v[i]), std::bit_cast<std::uint32_t>(want.v[i]));
    }
    EXPECT_EQ(got.status.nnz, want.status.nnz);
  }
  const Seen got = see(*room, {});
  const Seen want = see(*cpu, {});
  for (std::size_t i = 0; i < w.size(); ++i) {  // what lies between the tensors included
    ASSERT_EQ(std::bit_cast<std::uint32_t>(got.w[i]), std::bit_cast<std::uint32_t>(want.w[i])) << i;
  }
  EXPECT_EQ(got.status.nnz, want.status.nnz);
  EXPECT_EQ(got.status.steps, 3);
  EXPECT_EQ(got.third, want.third);
  for (std::size_t i = 0; i < brackets.size(); ++i) {
    EXPECT_EQ(got.medians[i].inside, want.medians[i].inside) << i;
    EXPECT_EQ(got.medians[i].median, want.medians[i].median) << i;
    EXPECT_EQ(got.kkt[i].nonzeros, want.kkt[i].nonzeros) << i;
    EXPECT_EQ(got.kkt[i].zeros, want.kkt[i].zeros) << i;
    EXPECT_EQ(got.kkt[i].on_nonzero, want.kkt[i].on_nonzero) << i;
    EXPECT_EQ(got.kkt[i].on_zero, want.kkt[i].on_zero) << i;
  }
}

TEST(HugeTensor, EntriesBeyond32BitsAreSteppedCountedAndRanked) {
  if (is_small()) GTEST_SKIP() << "CTH_GPU_SMALL is set";
  const auto room = make_room();
  std::size_t free = 0;
  std::size_t total = 0;
  expect_success(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  constexpr std::size_t kReserve = std::size_t{2} << 30;
  // Above 2^32 where w and g fit, so that 32-bit indices of either sign show; else above 2^31.
  std::int64_t n = (std::int64_t{1} << 32) + 4099;
  const auto needed = [](std::int64_t size) {
    return 2 * static_cast<std::size_t>(size) * sizeof(float);
  };
  if (free < needed(n) + kReserve) n = (std::int64_t{1} << 31) + 4099;
  if (free < needed(n) + kReserve) {
    GTEST_SKIP() << "needs " << ((needed(n) + kReserve) >> 20) << " MiB of GPU memory, free are "
                 << (free >> 20);
  }
  RecordProperty("elements", std::to_string(n));
  Stepped stepped(*room, n);
  const std::int64_t half = std::int64_t{1} << 31;
  expect_slices(*room, stepped, {0, half / 2, half, half + half / 2, 2 * half, n});
  const std::uint64_t nonzero = oracle::count_nonzero(stepped.w.data(), n);
  EXPECT_EQ(room->read_status(*stepped.plan).total, nonzero);
  EXPECT_EQ(room->read_nonzeros(*stepped.plan).front(), nonzero);
  const KktResult kkt = room->read_kkt(*stepped.plan).front();
  EXPECT_EQ(kkt.nonzeros, nonzero);
  EXPECT_EQ(kkt.zeros, static_cast<std::uint64_t>(n) - nonzero);

  const std::pair<float, float> bracket{0.125f, 0.875f};
  const MedianResult got = room->read_bracket_medians(*stepped.plan, {&bracket, 1}).front();
  EXPECT_EQ(got.inside, oracle::count_inside(stepped.g.data(), n, bracket.first, bracket.second));
  ASSERT_TRUE(got.median.has_value());
  // The definition instead of a sort: the rank lies among the entries that equal the median.
  const std::uint64_t below = oracle::count_inside(stepped.g.data(), n, bracket.first, *got.median);
  const std::uint64_t equal = oracle::count_equal(stepped.g.data(), n, *got.median);
  const std::uint64_t rank = (got.inside - 1) / 2;
  EXPECT_LE(below, rank);
  EXPECT_GT(below + equal, rank);

  const float inf = std::numeric_limits<float>::infinity();
  const std::int64_t k = half + 12345;
  const float found = room->read_kth_gradient(*stepped.plan, k);
  const std::uint64_t above = oracle::count_inside(stepped.g.data(), n, found, inf);
  EXPECT_LT(above, static_cast<std::uint64_t>(k));
  EXPECT_GE(above + oracle::count_equal(stepped.g.data(), n, found), static_cast<std::uint64_t>(k));
}

}  // namespace
}  // namespace cuthresh::testing
