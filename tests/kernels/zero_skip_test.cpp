// Steps that leave out what is zero, beside the dense step on a twin list: the same bits after each
// of several steps, whatever the pattern of zeros, and words that are true. Then what is not read,
// what is not written, and what becomes of words when something else has written the weights.

#include <array>
#include <optional>
#include <utility>

#include "step_list.hpp"

namespace cuthresh::testing {
namespace {

enum class ZeroPattern { kRandom, kRuns, kNone, kAll };

/// Weights of a tensor; zeros of either sign.
template <class T>
void make_zeros(Random& random, ZeroPattern pattern, std::vector<T>& w) {
  bool zero = pattern == ZeroPattern::kAll;
  for (std::size_t i = 0; i < w.size(); ++i) {
    if (pattern == ZeroPattern::kRandom) zero = random.integer(0, 9) < 8;
    if (pattern == ZeroPattern::kRuns && i % 40 == 0) zero = random.integer(0, 3) != 0;
    if (zero) w[i] = random.integer(0, 15) == 0 ? -T(0) : T(0);
  }
}

/// Tensors round a word of 32 units and a tile, at every alignment; some whose arrays never reach a
/// 16-byte boundary together.
template <class Storage>
std::vector<TensorCase<Storage>> tensors_with_zeros(Random& random, ZeroPattern pattern,
                                                    std::int32_t groups) {
  constexpr std::size_t kUnit = 16 / sizeof(Storage);
  constexpr std::size_t kWord = 32 * kUnit;
  std::vector<TensorCase<Storage>> cases;
  std::int32_t at = 0;
  for (const std::size_t n :
       {std::size_t{0}, std::size_t{5}, kWord - 1, kWord, kWord + 3, 4 * kWord + 1,
        5 * kWord + kUnit, std::size_t{1024}, std::size_t{1027}, 2 * std::size_t{1024} + kWord}) {
    auto t = hard_tensor<Storage>(random, n, at % (groups + 1) - 1, 0.03125, true);
    make_zeros(random, pattern, t.w);
    const auto offset = static_cast<std::size_t>(at) % 4;
    t.w_offset = offset % (16 / sizeof(typename StepList<Storage>::Compute));
    t.g_offset = t.v_offset = t.stored_offset = offset;
    if (at % 5 == 4) t.g_offset = offset + 1;
    t.rate = at % 3;
    cases.push_back(std::move(t));
    ++at;
  }
  return cases;
}

/// A list, its words and their state.
template <class Storage>
struct SkippingList {
  static constexpr std::int64_t kTile = 1024;
  StepList<Storage> list;
  Guarded<std::uint32_t> state;
  Guarded<std::uint32_t> words;

  SkippingList(const std::vector<TensorCase<Storage>>& cases, std::int32_t groups)
      : list(cases, groups, kTile),
        state(1, 0U),
        words(list.tiles->size() * static_cast<std::size_t>(zero_words<Storage>(kTile)), 0xdeadU) {}

  auto arguments(const ZeroRule& rule) {
    auto args = list.arguments();
    args.zeros = {state.data(), words.data(), rule, zero_words<Storage>(kTile)};
    return args;
  }
  ZeroState now() { return static_cast<ZeroState>(*state.data()); }
};

constexpr ZeroRule kAlways = {~std::uint64_t{0}, ~std::uint64_t{0}};

/// The first entry of a tile at which all arrays of the step lie on 16 bytes; none.
template <class Storage, class Step>
std::optional<std::int32_t> first_unit(const TensorRecord& tensor, const Tile& tile) {
  using Traits = StorageTraits<Storage>;
  using Compute = typename Traits::Compute;
  std::vector<std::pair<const void*, std::size_t>> arrays = {{tensor.w, sizeof(Storage)}};
  if (Step::kGradient) arrays.emplace_back(tensor.g, sizeof(Storage));
  if (Step::kMomentum) arrays.emplace_back(tensor.momentum, sizeof(Compute));
  if (Traits::kMaster) arrays.emplace_back(tensor.master, sizeof(Compute));
  for (std::int32_t head = 0; head < std::int32_t{16 / sizeof(Storage)}; ++head) {
    const auto entry = static_cast<std::size_t>(tile.begin + head);
    const bool together = std::all_of(arrays.begin(), arrays.end(), [&](const auto& array) {
      return (reinterpret_cast<std::uintptr_t>(array.first) + entry * array.second) % 16 == 0;
    });
    if (together && head <= tile.size) return head;
  }
  return std::nullopt;
}

/// The words of a tile by their definition: a bit a unit, 1 where any bit of its weights is; words
/// that are not full have every bit.
template <class Storage, class Step>
std::vector<std::uint32_t> words_by_definition(const TensorRecord& tensor, const Tile& tile) {
  using Compute = typename StorageTraits<Storage>::Compute;
  constexpr std::size_t kUnit = 16 / sizeof(Storage);
  std::vector<std::uint32_t> words(
      static_cast<std::size_t>(zero_words<Storage>(SkippingList<Storage>::kTile)), ~0U);
  const std::optional<std::int32_t> head = first_unit<Storage, Step>(tensor, tile);
  if (!head) return words;
  const void* const weights = StorageTraits<Storage>::kMaster ? tensor.master : tensor.w;
  const Compute* const w = static_cast<const Compute*>(weights) + tile.begin + *head;
  const std::array<Compute, kUnit> zeros{};
  const std::size_t full = static_cast<std::size_t>(tile.size - *head) / kUnit / 32;
  for (std::size_t unit = 0; unit < 32 * full; ++unit) {
    if (std::memcmp(w + unit * kUnit, zeros.data(), sizeof zeros) == 0) {
      words[unit / 32] &= ~(1U << (unit % 32));
    }
  }
  return words;
}

/// A step's gradients: most leave a zero where it is, `waking` percent of them may not; a tensor
/// now and then has none, or one that lies elsewhere.
template <class Storage>
struct NextGradients {
  using Compute = typename StorageTraits<Storage>::Compute;
  std::vector<std::vector<Storage>> values;
  std::vector<int> place;  // 0: as made, 1: elsewhere, 2: none

  NextGradients(Random& random, const std::vector<TensorCase<Storage>>& cases, int waking) {
    for (const TensorCase<Storage>& c : cases) {
      values.emplace_back();
      for (std::size_t i = 0; i < c.g.size(); ++i) {
        const float bound = random.integer(0, 99) < waking ? 2.0f : 0.0625f;
        values.back().push_back(
            StorageTraits<Storage>::narrow(static_cast<Compute>(random.uniform(-bound, bound))));
      }
      const std::int64_t draw = random.integer(0, 11);
      place.push_back(draw < 2 ? static_cast<int>(draw) + 1 : 0);
    }
  }
};

template <class Storage>
class Elsewhere {
 public:
  explicit Elsewhere(const std::vector<TensorCase<Storage>>& cases) {
    for (const TensorCase<Storage>& c : cases) {
      arrays_.push_back(std::make_unique<Guarded<Storage>>(c.g, c.g_offset + 1));
    }
  }
  void set(StepList<Storage>& list, const NextGradients<Storage>& next) {
    for (std::size_t t = 0; t < arrays_.size(); ++t) {
      Guarded<Storage>& to = next.place[t] == 1 ? *arrays_[t] : *list.g[t];
      std::copy(next.values[t].begin(), next.values[t].end(), to.data());
      list.tensors->data()[t].g = next.place[t] == 2 ? nullptr : to.data();
    }
  }

 private:
  std::vector<std::unique_ptr<Guarded<Storage>>> arrays_;
};

template <class Storage>
void expect_same_lists(StepList<Storage>& skipping, StepList<Storage>& dense) {
  for (std::size_t t = 0; t < dense.w.size(); ++t) {
    ASSERT_EQ(first_difference(skipping.w[t]->values(), dense.w[t]->values()), "") << "w " << t;
    ASSERT_EQ(first_difference(skipping.v[t]->values(), dense.v[t]->values()), "") << "v " << t;
    if (!StorageTraits<Storage>::kMaster) continue;
    const auto got = skipping.stored[t]->values();
    const auto want = dense.stored[t]->values();
    for (std::size_t i = 0; i < want.size(); ++i) {
      ASSERT_TRUE(same_stored(got[i], want[i])) << "stored " << t << " " << i;
    }
  }
  ASSERT_EQ(skipping.nnz(), dense.nnz());
  ASSERT_EQ(skipping.header().nonfinite, dense.header().nonfinite);
  ASSERT_EQ(skipping.header().stopped, dense.header().stopped);
  for (const std::uint64_t sum : skipping.sums.values()) ASSERT_EQ(sum, 0U);
  ASSERT_TRUE(skipping.guards_hold());
}

/// The words of tiles whose tensor was stepped are true, those of others as they were.
template <class Storage, class Step>
void expect_true_words(SkippingList<Storage>& skipping, const std::vector<std::uint32_t>& before,
                       bool made) {
  const auto count = static_cast<std::size_t>(zero_words<Storage>(SkippingList<Storage>::kTile));
  const std::vector<std::uint32_t> words = skipping.words.values();
  for (std::size_t i = 0; i < skipping.list.tiles->size(); ++i) {
    const Tile tile = skipping.list.tiles->data()[i];
    const TensorRecord tensor = skipping.list.tensors->data()[tile.tensor];
    std::vector<std::uint32_t> want(before.begin() + static_cast<std::ptrdiff_t>(i * count),
                                    before.begin() + static_cast<std::ptrdiff_t>((i + 1) * count));
    if (Step::kGradient && tensor.g == nullptr) {
      if (made) want.assign(count, ~0U);
    } else {
      want = words_by_definition<Storage, Step>(tensor, tile);
    }
    for (std::size_t k = 0; k < count; ++k) {
      ASSERT_EQ(words[i * count + k], want[k]) << "word " << k << " of tile " << i;
    }
  }
}

template <class Storage, class Step, std::uint32_t kThreads, class Penalty>
void take_steps(const std::vector<TensorCase<Storage>>& cases, std::int32_t groups, Random random,
                std::uint32_t grid, const Penalty& penalty) {
  using Compute = typename StorageTraits<Storage>::Compute;
  SkippingList<Storage> skipping(cases, groups);
  StepList<Storage> dense(cases, groups, SkippingList<Storage>::kTile);
  Elsewhere<Storage> of_skipping(cases), of_dense(cases);
  const float flags[] = {0.0f, 1.0f};
  constexpr int kSteps = kThoroughly ? 7 : 4;
  for (int step = 0; step < kSteps; ++step) {
    SCOPED_TRACE(::testing::Message() << "step " << step);
    // Nothing wakes in some steps, and much in others; λ follows.
    const NextGradients<Storage> next(random, cases, step == 4 ? 60 : 2 * (step % 3));
    of_skipping.set(skipping.list, next);
    of_dense.set(dense, next);
    for (std::size_t g = 0; g < skipping.list.lambda.size(); ++g) {
      const auto lambda = static_cast<Compute>(random.uniform(0.1f, 0.5f));
      skipping.list.lambda.data()[g] = dense.lambda.data()[g] = lambda;
    }
    auto args = skipping.arguments(kAlways);
    auto dense_args = dense.arguments();
    const bool left_out = step == 3;
    args.skip = dense_args.skip = flags + (left_out ? 1 : 0);
    const std::vector<std::uint32_t> before = skipping.words.values();
    const ZeroState state = skipping.now();
    simt::launch(grid, kThreads, prox_step_kernel<Storage, Step, Penalty, kSkipZeros, kThreads>,
                 args, penalty);
    simt::launch(grid, kThreads, prox_step_kernel<Storage, Step, Penalty, kNoExtras, kThreads>,
                 dense_args, penalty);
    ASSERT_NO_FATAL_FAILURE(expect_same_lists(skipping.list, dense));
    ASSERT_EQ(skipping.list.header().steps, dense.header().steps);
    ASSERT_TRUE(skipping.words.guards_hold() && skipping.state.guards_hold());
    if (left_out || state == ZeroState::kIgnore) {
      ASSERT_EQ(skipping.words.values(), before);
      ASSERT_EQ(skipping.now(), left_out ? state : ZeroState::kFind);
      continue;
    }
    ASSERT_EQ(skipping.now(), ZeroState::kSkip);
    const bool made = state == ZeroState::kFind;
    ASSERT_NO_FATAL_FAILURE((expect_true_words<Storage, Step>(skipping, before, made)));
  }
}

/// Orders, grids and patterns in turn.
template <class Storage, class Step, std::uint32_t kThreads = 64>
void check_patterns(std::uint32_t seed) {
  Random random(seed);
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  constexpr std::int32_t kGroups = 3;
  std::array<std::vector<TensorCase<Storage>>, 4> lists;
  for (std::size_t i = 0; i < lists.size(); ++i) {
    lists[i] = tensors_with_zeros<Storage>(random, static_cast<ZeroPattern>(i), kGroups);
  }
  std::size_t launches = 0;
  for_each_step_launch([&](std::uint32_t grid) {
    const std::size_t pattern = launches++ % lists.size();
    SCOPED_TRACE(::testing::Message() << "pattern " << pattern);
    take_steps<Storage, Step, kThreads>(lists[pattern], kGroups, random, grid,
                                        L1Penalty<typename StorageTraits<Storage>::Compute>{});
  });
}

TEST(ZeroSkip, PlainStepsHaveTheDenseBits) {
  check_patterns<float, PlainStep<float>>(61);
}
TEST(ZeroSkip, StepsWithMomentumHaveTheDenseBits) {
  check_patterns<float, MomentumStep<float>, 32>(62);
}
TEST(ZeroSkip, NesterovsStepsHaveTheDenseBits) {
  check_patterns<float, NesterovStep<float>>(63);
}
TEST(ZeroSkip, TheThresholdAloneHasTheDenseBits) {
  check_patterns<float, ThresholdStep<float>>(64);
}
TEST(ZeroSkip, OtherNumberTypesHaveTheDenseBits) {
  check_patterns<double, PlainStep<double>>(65);
  check_patterns<Bf16, NesterovStep<float>>(66);
}

TEST(ZeroSkip, AFrozenSupportHasTheDenseBits) {
  Random random(67);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  const auto cases = tensors_with_zeros<float>(random, ZeroPattern::kRandom, 2);
  std::vector<std::vector<std::uint32_t>> support;
  for (const TensorCase<float>& c : cases) {
    support.emplace_back((c.w.size() + 31) / 32, 0U);
    for (std::size_t i = 0; i < c.w.size(); ++i) {
      if (c.w[i] != 0.0f) support.back()[i / 32] |= 1U << (i % 32);
    }
  }
  std::vector<const std::uint32_t*> table;
  for (std::size_t t = 0; t < cases.size(); ++t) {
    table.push_back(cases[t].group < 0 ? nullptr : support[t].data());
  }
  for_each_step_launch([&](std::uint32_t grid) {
    take_steps<float, PlainStep<float>, 64>(cases, 2, random, grid,
                                            FrozenSupport<float>{table.data()});
  });
}

constexpr auto kSkipping =
    prox_step_kernel<float, PlainStep<float>, L1Penalty<float>, kSkipZeros, 64>;

/// One tensor of two tiles, 80 % zeros, its state kSkip after two steps that move nothing but the
/// weights that live.
struct Settled {
  Random random;
  std::vector<TensorCase<float>> cases;
  std::optional<SkippingList<float>> skipping;

  explicit Settled(std::uint32_t seed) : random(seed) {
    cases.push_back(hard_tensor<float>(random, 2048, 0, 0.03125f, true));
    make_zeros(random, ZeroPattern::kRandom, cases[0].w);
    for (float& g : cases[0].g) g = random.uniform(-0.0625f, 0.0625f);
    skipping.emplace(cases, 1);
    step(kAlways);
    step(kAlways);
  }
  void step(const ZeroRule& rule) {
    simt::launch(3, 64, kSkipping, skipping->arguments(rule), L1Penalty<float>{});
  }
  float* w() { return skipping->list.w[0]->data(); }
};

// What is not read cannot have been seen, what is not written stays: where the words say zero, the
// memory has something else.
TEST(ZeroSkip, UnitsThatAreZeroAreNeitherReadNorWritten) {
  Settled settled(71);
  SCOPED_TRACE(::testing::Message() << "seed " << settled.random.seed());
  ASSERT_EQ(settled.skipping->now(), ZeroState::kSkip);
  const std::vector<std::uint32_t> words = settled.skipping->words.values();
  std::vector<bool> dead(2048);
  for (std::size_t i = 0; i < dead.size(); ++i) {
    const std::size_t unit = i / 4;
    dead[i] = ((words[unit / 32] >> (unit % 32)) & 1U) == 0;
    if (dead[i]) settled.w()[i] = 77.0f;
  }
  ASSERT_GT(std::count(dead.begin(), dead.end(), true), 400);
  settled.skipping->list.g[0]->data()[100] = std::nextafter(0.25f, 1.0f);  // just wakes its unit
  settled.skipping->list.g[0]->data()[300] = 0.25f;                        // just does not
  if (!dead[100] || !dead[300]) GTEST_FAIL() << "another seed: both entries are to be zeros";
  settled.step(kAlways);
  std::uint64_t nonzero = 0;
  for (std::size_t i = 0; i < dead.size(); ++i) {
    const float w = settled.w()[i];
    if (i / 4 == 25) {  // all four are written
      ASSERT_TRUE(i == 100 ? w < 0.0f : bits_of(w) == 0U) << i << ": " << w;
    } else if (dead[i]) {
      ASSERT_EQ(w, 77.0f) << i;
      continue;
    }
    nonzero += w != 0.0f ? 1U : 0U;
  }
  EXPECT_EQ(settled.skipping->list.nnz()[0], nonzero);
  EXPECT_EQ(settled.skipping->words.values()[0] >> 25 & 1U, 1U);
  EXPECT_EQ(settled.skipping->words.values()[2] >> 11 & 1U, 0U);
}

// Weights that something else wrote: the dense bits from the next step on, once the state says so.
TEST(ZeroSkip, WhatWasForgottenIsFoundAnew) {
  Settled settled(72);
  SCOPED_TRACE(::testing::Message() << "seed " << settled.random.seed());
  for (TensorCase<float>& c : settled.cases) {
    for (float& w : c.w) w = settled.random.uniform(-1.0f, 1.0f);
  }
  StepList<float> dense(settled.cases, 1, SkippingList<float>::kTile);
  std::copy(settled.cases[0].w.begin(), settled.cases[0].w.end(), settled.w());
  *settled.skipping->state.data() = static_cast<std::uint32_t>(ZeroState::kIgnore);
  for (int step = 0; step < 4; ++step) {
    settled.step(kAlways);
    simt::launch(2, 64, prox_step_kernel<float, PlainStep<float>, L1Penalty<float>, kNoExtras, 64>,
                 dense.arguments(), L1Penalty<float>{});
    ASSERT_NO_FATAL_FAILURE(expect_same_lists(settled.skipping->list, dense));
  }
}

// A kernel that keeps no words, but is told of them, says that they are none any more.
TEST(ZeroSkip, AStepWithoutWordsForgetsThem) {
  Settled settled(73);
  const auto args = settled.skipping->arguments(kAlways);
  simt::launch(2, 64, prox_step_kernel<float, PlainStep<float>, L1Penalty<float>, kNoExtras, 64>,
               args, L1Penalty<float>{});
  EXPECT_EQ(settled.skipping->now(), ZeroState::kIgnore);
}

// The count decides, for the step after.
TEST(ZeroSkip, TheCountSwitchesItOnAndOff) {
  Settled settled(74);
  const std::uint64_t total = settled.skipping->list.header().total;
  ASSERT_GT(total, 10U);
  const auto after = [&](ZeroState was, std::uint64_t begin, std::uint64_t end) {
    *settled.skipping->state.data() = static_cast<std::uint32_t>(was);
    settled.step({begin, end});
    return settled.skipping->now();
  };
  // The step itself moves few of them: 5 to either side is not near.
  using enum ZeroState;
  const std::uint64_t now = settled.skipping->list.header().total;
  EXPECT_EQ(after(kIgnore, now / 2, now * 2), kIgnore);
  EXPECT_EQ(after(kIgnore, now * 2, now * 2), kFind);
  EXPECT_EQ(after(kFind, now / 2, now * 2), kSkip);
  EXPECT_EQ(after(kSkip, now / 2, now * 2), kSkip);
  EXPECT_EQ(after(kSkip, now / 2, now / 2), kIgnore);
  EXPECT_EQ(next_zero_state(kIgnore, 10, {10, 20}), kFind);
  EXPECT_EQ(next_zero_state(kIgnore, 11, {10, 20}), kIgnore);
  EXPECT_EQ(next_zero_state(kSkip, 20, {10, 20}), kSkip);
  EXPECT_EQ(next_zero_state(kFind, 21, {10, 20}), kIgnore);
}

// NaN in a gradient of a unit that is zero shows, and ends the run.
TEST(ZeroSkip, ALostValueShowsAmongZerosToo) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    Settled settled(75);
    std::size_t entry = 0;
    while ((settled.skipping->words.values()[entry / 128] >> (entry / 4 % 32) & 1U) != 0) ++entry;
    settled.skipping->list.g[0]->data()[entry] = bad;
    settled.step(kAlways);
    EXPECT_EQ(settled.skipping->list.header().nonfinite, 1U);
    EXPECT_EQ(settled.skipping->list.header().stopped, 1U);
    EXPECT_FALSE(std::isfinite(settled.w()[entry]));
    const std::vector<float> w = settled.skipping->list.w[0]->values();
    settled.step(kAlways);  // not taken
    EXPECT_EQ(first_difference(settled.skipping->list.w[0]->values(), w), "");
  }
}

}  // namespace
}  // namespace cuthresh::testing
