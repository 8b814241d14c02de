// The interpreter itself: what it runs, in which order, and that it reports what it must.

#include "simt/interpreter.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

using namespace cuthresh::device;
using simt::Fault;
using simt::for_each_order;
using simt::Order;
using ::testing::HasSubstr;

CTH_KERNEL(64) visit_kernel(std::uint32_t* visits, std::uint32_t* ranks, std::uint32_t* next) {
  const std::uint32_t i = block_index() * block_size() + thread_index();
  ++visits[i];
  ranks[i] = atomic_add(next, 1U);
}

TEST(Interpreter, RunsEveryThreadOfTheGridOnce) {
  for_each_order([] {
    SCOPED_TRACE(simt::order_name());
    std::vector<std::uint32_t> visits(7 * 64, 0), ranks(7 * 64);
    std::uint32_t next = 0;
    simt::launch(7, 64, visit_kernel, visits.data(), ranks.data(), &next);
    EXPECT_EQ(visits, std::vector<std::uint32_t>(7 * 64, 1));
    EXPECT_EQ(std::set<std::uint32_t>(ranks.begin(), ranks.end()).size(), ranks.size());
  });
}

std::vector<std::uint32_t> ranks_in(Order order, std::uint32_t seed) {
  simt::set_order(order, seed);
  std::vector<std::uint32_t> visits(7 * 64, 0), ranks(7 * 64);
  std::uint32_t next = 0;
  simt::launch(7, 64, visit_kernel, visits.data(), ranks.data(), &next);
  simt::set_order(Order::kForward);
  return ranks;
}

TEST(Interpreter, OrdersAreWhatTheySay) {
  std::vector<std::uint32_t> up(7 * 64);
  std::iota(up.begin(), up.end(), 0U);
  EXPECT_EQ(ranks_in(Order::kForward, 1), up);
  EXPECT_EQ(ranks_in(Order::kReverse, 1), std::vector<std::uint32_t>(up.rbegin(), up.rend()));
  const auto shuffled = ranks_in(Order::kShuffled, 1);
  EXPECT_EQ(shuffled, ranks_in(Order::kShuffled, 1)) << "a seed is a schedule";
  EXPECT_NE(shuffled, ranks_in(Order::kShuffled, 2));
  EXPECT_THAT(shuffled, ::testing::UnorderedElementsAreArray(up));
  EXPECT_NE(shuffled, up);
}

TEST(Interpreter, OrdersHaveNames) {
  EXPECT_EQ(simt::parse_order(""), std::pair(Order::kForward, 1U));
  EXPECT_EQ(simt::parse_order("forward"), std::pair(Order::kForward, 1U));
  EXPECT_EQ(simt::parse_order("reverse"), std::pair(Order::kReverse, 1U));
  EXPECT_EQ(simt::parse_order("shuffled"), std::pair(Order::kShuffled, 1U));
  EXPECT_EQ(simt::parse_order("shuffled:71"), std::pair(Order::kShuffled, 71U));
  for (const char* wrong : {"Forward", "shuffled:", "shuffled:x", "shuffled:1 ", "reversed"}) {
    EXPECT_THROW(simt::parse_order(wrong), std::invalid_argument) << wrong;
  }
}

TEST(Interpreter, PutsTheOrderBack) {
  simt::set_order(Order::kReverse, 5);
  EXPECT_THROW(for_each_order([] { throw std::runtime_error("x"); }), std::runtime_error);
  EXPECT_EQ(simt::current_order(), Order::kReverse);
  std::vector<Order> seen;
  for_each_order([&](Order order) { seen.push_back(order); });
  EXPECT_THAT(seen, ::testing::ElementsAre(Order::kForward, Order::kReverse, Order::kShuffled));
  simt::set_order(Order::kForward);
}

struct Values {
  std::uint32_t value[96];
};

// Reverses within the block, again and again, so that each barrier counts.
template <bool kBarrier>
CTH_KERNEL(96)
reverse_kernel(const std::uint32_t* in, std::uint32_t* out, int times) {
  CTH_SHARED(Values, shared);
  const std::uint32_t me = thread_index();
  std::uint32_t mine = in[block_index() * 96 + me];
  for (int i = 0; i < times; ++i) {
    shared.value[95 - me] = mine;
    if constexpr (kBarrier) sync_block();
    mine = shared.value[me];
    if constexpr (kBarrier) sync_block();
  }
  out[block_index() * 96 + me] = mine;
}

template <bool kBarrier>
std::vector<std::uint32_t> reverse_blocks(int times) {
  std::vector<std::uint32_t> in(3 * 96), out(3 * 96, 77);
  std::iota(in.begin(), in.end(), 1U);
  simt::launch(3, 96, reverse_kernel<kBarrier>, in.data(), out.data(), times);
  return out;
}

std::vector<std::uint32_t> reversed_blocks(int times) {
  std::vector<std::uint32_t> expected(3 * 96);
  std::iota(expected.begin(), expected.end(), 1U);
  for (int b = 0; b < 3 && times % 2 == 1; ++b) {
    std::reverse(expected.begin() + b * 96, expected.begin() + (b + 1) * 96);
  }
  return expected;
}

TEST(Interpreter, BarriersSeparate) {
  for_each_order([] {
    SCOPED_TRACE(simt::order_name());
    for (const int times : {1, 2, 9})
      EXPECT_EQ(reverse_blocks<true>(times), reversed_blocks(times));
  });
}

#if !defined(__SANITIZE_THREAD__)
TEST(Interpreter, AMissingBarrierShowsInEveryOrder) {
  for_each_order([] {
    SCOPED_TRACE(simt::order_name());
    EXPECT_NE(reverse_blocks<false>(3), reversed_blocks(3));
  });
}
#endif

template <class T>
CTH_KERNEL(64)
shuffle_kernel(const T* in, T* by_xor, T* from) {
  const std::uint32_t me = thread_index();
  T value = in[me];
  for (std::uint32_t mask = 1; mask < kWarp; mask *= 2) value = shuffle_xor(value, mask) + T(1);
  by_xor[me] = value;
  from[me] = shuffle_from(in[me], (lane() * 7 + 3) % kWarp);
}

template <class T>
void check_shuffles() {
  std::vector<T> in(64), by_xor(64), from(64);
  for (std::size_t i = 0; i < 64; ++i) in[i] = static_cast<T>(100 + i);
  simt::launch(1, 64, shuffle_kernel<T>, in.data(), by_xor.data(), from.data());
  for (std::size_t i = 0; i < 64; ++i) {
    const std::size_t warp = i / 32 * 32;
    EXPECT_EQ(by_xor[i], in[warp + 31 - (i - warp)] + T(5)) << i;
    EXPECT_EQ(from[i], in[warp + (i % 32 * 7 + 3) % 32]) << i;
  }
}

TEST(Interpreter, ShufflesExchangeInsideAWarp) {
  for_each_order([] {
    SCOPED_TRACE(simt::order_name());
    check_shuffles<float>();
    check_shuffles<double>();
    check_shuffles<std::uint32_t>();
    check_shuffles<std::int64_t>();
  });
}

CTH_KERNEL(64) ballot_kernel(std::uint32_t* votes) {
  const std::uint32_t me = thread_index();
  const std::uint32_t first = ballot(me % 3 == 0);
  votes[me] = first ^ ballot(me >= 40);
}

TEST(Interpreter, BallotsHaveABitALane) {
  for_each_order([] {
    SCOPED_TRACE(simt::order_name());
    std::vector<std::uint32_t> votes(64);
    simt::launch(1, 64, ballot_kernel, votes.data());
    // 0, 3, … of the first warp, 33, 36, … of the second; from 40 on its upper 24 lanes.
    for (std::size_t i = 0; i < 64; ++i) {
      EXPECT_EQ(votes[i], i < 32 ? 0x49249249U : 0x92492492U ^ 0xffffff00U) << i;
    }
  });
}

CTH_KERNEL(32) mixed_kernel(std::uint32_t* to) {
  const std::uint32_t me = thread_index();
  to[me] = me < 9 ? ballot(true) : shuffle_xor(me, 1);
}

TEST(Interpreter, LanesAtABallotAndAtAShuffleAreAFault) {
  std::vector<std::uint32_t> to(32);
  EXPECT_THROW(simt::launch(1, 32, mixed_kernel, to.data()), simt::Fault);
}

struct Bytes {
  unsigned char byte[37];
};

CTH_KERNEL(32) peek_kernel(std::uint32_t* wrong, const void** where) {
  CTH_SHARED(Bytes, shared);
  if (thread_index() == 0) {
    for (const unsigned char b : shared.byte) atomic_add(wrong, b == 0xA5 ? 0U : 1U);
  }
  sync_block();
  shared.byte[thread_index()] = 0;
  where[block_index() * 32 + thread_index()] = &shared;
}

TEST(Interpreter, SharedMemoryIsTheBlocksAndUnwritten) {
  for_each_order([] {
    SCOPED_TRACE(simt::order_name());
    std::uint32_t wrong = 0;
    std::vector<const void*> where(4 * 32);
    simt::launch(4, 32, peek_kernel, &wrong, where.data());
    EXPECT_EQ(wrong, 0U);
    for (std::size_t i = 0; i < where.size(); ++i) EXPECT_EQ(where[i], where[i / 32 * 32]);
  });
}

// Each block leaves a partial sum; the last one to take a ticket adds them in a fixed order.
CTH_KERNEL(64)
last_block_kernel(const double* x, double* partials, std::uint32_t* ticket, double* sum) {
  struct Shared {
    double slot[2];
    bool last;
  };
  CTH_SHARED(Shared, shared);
  double mine = x[block_index() * 64 + thread_index()];
  for (std::uint32_t mask = 16; mask > 0; mask /= 2) mine += shuffle_xor(mine, mask);
  if (lane() == 0) shared.slot[thread_index() / kWarp] = mine;
  sync_block();
  if (thread_index() == 0) {
    partials[block_index()] = shared.slot[0] + shared.slot[1];
    fence();
    shared.last = atomic_add(ticket, 1U) + 1 == block_count();
  }
  sync_block();
  if (!shared.last) return;
  if (thread_index() == 0) {
    double total = 0.0;
    for (std::uint32_t b = 0; b < block_count(); ++b) total += load_fresh(partials + b);
    *sum = total;
    *ticket = 0;
  }
}

TEST(Interpreter, TheLastBlockSeesAllOthers) {
  Random random(3);
  std::vector<double> x(5 * 64);
  for (double& v : x) v = static_cast<double>(random.uniform(-1.0f, 1.0f));
  std::set<double> sums;
  for_each_order([&] {
    std::vector<double> partials(5, -1.0);
    std::uint32_t ticket = 0;
    double sum = 0.0;
    for (int run = 0; run < 3; ++run) {
      simt::launch(5, 64, last_block_kernel, x.data(), partials.data(), &ticket, &sum);
      sums.insert(sum);
      EXPECT_EQ(ticket, 0U);
    }
  });
  EXPECT_EQ(sums.size(), 1U) << "the same bits in every order";
  EXPECT_NEAR(*sums.begin(), std::accumulate(x.begin(), x.end(), 0.0), 1e-12);
}

CTH_KERNEL(64) atomic_kernel(std::uint64_t* sum, std::uint32_t* largest, std::uint32_t* small) {
  atomic_add(sum, std::uint64_t{1} << 33);
  atomic_add(small, 3U);
  atomic_max(largest, (thread_index() * 37U) % 64U + block_index());
}

TEST(Interpreter, Atomics) {
  for_each_order([] {
    std::uint64_t sum = 0;
    std::uint32_t largest = 0, small = 0;
    simt::launch(3, 64, atomic_kernel, &sum, &largest, &small);
    EXPECT_EQ(sum, std::uint64_t{3 * 64} << 33);
    EXPECT_EQ(small, 3U * 3 * 64);
    EXPECT_EQ(largest, 65U);
  });
}

// Faults.

CTH_KERNEL(64) early_exit_kernel(std::uint32_t leaver) {
  if (thread_index() == leaver) return;
  sync_block();
}
CTH_KERNEL(64) half_barrier_kernel(int) {
  if (thread_index() < 40) sync_block();
  float v = 1.0f;
  if (thread_index() >= 40) v = shuffle_xor(v, 1);
}
CTH_KERNEL(64) half_shuffle_kernel(std::uint32_t leaver) {
  if (thread_index() == leaver) return;
  shuffle_xor(1.0f, 4);
}
CTH_KERNEL(32) wrong_lane_kernel(std::uint32_t source) {
  shuffle_from(1.0f, source);
}
CTH_KERNEL(64) throwing_kernel(std::uint32_t thread) {
  sync_block();
  if (block_index() == 1 && thread_index() == thread) throw std::out_of_range("entry 9 of 8");
}
CTH_KERNEL(32) two_structs_kernel(int) {
  CTH_SHARED(Bytes, first);
  CTH_SHARED(Bytes, second);
  first.byte[0] = second.byte[0];
}
CTH_KERNEL(32) huge_shared_kernel(int) {
  struct Huge {
    float value[12289];
  };
  CTH_SHARED(Huge, shared);
  shared.value[thread_index()] = 0.0f;
}

template <class... P, class... A>
std::string fault_of(std::uint32_t blocks, std::uint32_t threads, void (*kernel)(P...), A... args) {
  try {
    simt::launch(blocks, threads, kernel, args...);
  } catch (const Fault& fault) {
    return fault.what();
  }
  return "no fault";
}

TEST(InterpreterFaults, AreReportedWithTheirPlace) {
  for_each_order([] {
    SCOPED_TRACE(simt::order_name());
    EXPECT_THAT(
        fault_of(2, 64, early_exit_kernel, 17U),
        AllOf(HasSubstr("divergent barrier: thread 0 is at its barrier number 1, but thread "
                        "17 has ended"),
              HasSubstr("early_exit_kernel"), HasSubstr(" of 2, thread 0 of 64")));
    EXPECT_THAT(
        fault_of(1, 64, half_shuffle_kernel, 40U),
        AllOf(HasSubstr("divergent shuffle: thread 32 is at a shuffle, all of its warp must "
                        "take part, but thread 40 has ended"),
              HasSubstr("half_shuffle_kernel")));
    EXPECT_THAT(fault_of(1, 64, half_barrier_kernel, 0), HasSubstr("divergent shuffle: thread 40"));
    EXPECT_THAT(fault_of(3, 64, throwing_kernel, 5U),
                AllOf(HasSubstr("entry 9 of 8"), HasSubstr("block 1 of 3, thread 5 of 64")));
    EXPECT_THAT(fault_of(1, 32, wrong_lane_kernel, 32U), HasSubstr("shuffle from lane 32"));
    EXPECT_THAT(fault_of(1, 32, two_structs_kernel, 0), HasSubstr("declared twice"));
    EXPECT_THAT(fault_of(1, 32, huge_shared_kernel, 0), HasSubstr("49156 bytes"));
    // What was abandoned does not disturb the next launch.
    EXPECT_EQ(reverse_blocks<true>(3), reversed_blocks(3));
  });
}

TEST(InterpreterFaults, GeometryIsChecked) {
  EXPECT_THAT(fault_of(0, 32, early_exit_kernel, 99U), HasSubstr("launch of 0 blocks"));
  EXPECT_THAT(fault_of(1, 0, early_exit_kernel, 99U), HasSubstr("of 0 threads"));
  EXPECT_THAT(fault_of(1, 33, early_exit_kernel, 99U), HasSubstr("multiple of 32"));
  EXPECT_THAT(fault_of(1, 2048, early_exit_kernel, 99U), HasSubstr("up to 1024"));
  EXPECT_EQ(fault_of(1, 1024, early_exit_kernel, 2000U), "no fault");
}

TEST(InterpreterFaults, KernelsHaveNames) {
  EXPECT_EQ(simt::kernel_name(reinterpret_cast<const void*>(&reverse_kernel<true>)),
            "testing::reverse_kernel<true>");
}

// What only a sanitizer sees.

#if defined(__SANITIZE_ADDRESS__)
CTH_KERNEL(64) overrun_kernel(std::uint32_t at) {
  CTH_SHARED(Bytes, shared);
  auto* first = reinterpret_cast<volatile unsigned char*>(&shared);
  first[at] = 1;
}
CTH_KERNEL(32) local_kernel(float* out, int at) {
  volatile float local[4] = {1.0f, 2.0f, 3.0f, 4.0f};
  const volatile float* volatile first = local;
  sync_block();  // red zones of a frame outlive a switch
  out[thread_index()] = first[at];
}

TEST(InterpreterDeathTest, OneByteBehindSharedMemory) {
  EXPECT_EQ(fault_of(1, 64, overrun_kernel, 36U), "no fault");
  EXPECT_DEATH(simt::launch(1, 64, overrun_kernel, 37U), "heap-buffer-overflow");
}
TEST(InterpreterDeathTest, OneElementBehindALocalArray) {
  float out[32];
  EXPECT_DEATH(simt::launch(1, 32, local_kernel, out, 4), "stack-buffer-overflow");
}
#endif

#if defined(__SANITIZE_THREAD__)
CTH_KERNEL(32) plain_add_kernel(std::uint32_t* sum) {
  if (thread_index() == 0) *sum += 1;
}
CTH_KERNEL(32) unfenced_kernel(double* partials, std::uint32_t* ticket, double* sum) {
  if (thread_index() != 0) return;
  partials[block_index()] = 1.0;
  if (atomic_add(ticket, 1U) + 1 < block_count()) return;
  double total = 0.0;
  for (std::uint32_t b = 0; b < block_count(); ++b) total += load_fresh(partials + b);
  *sum = total;
}
// The write after the second barrier races with the read before it by a thread that is late.
CTH_KERNEL(64) one_barrier_kernel(float* out) {
  struct Shared {
    float value[64];
  };
  CTH_SHARED(Shared, shared);
  for (int i = 0; i < 2; ++i) {
    shared.value[thread_index()] = static_cast<float>(i);
    sync_block();
    out[thread_index()] = shared.value[63 - thread_index()];
  }
}

// TSan goes on after a report and ends with 66.
TEST(InterpreterDeathTest, RacesBetweenBlocksAndThreadsAreReported) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto exits_with_race = ::testing::ExitedWithCode(66);
  std::uint32_t sum = 0;
  EXPECT_EXIT((simt::launch(2, 32, plain_add_kernel, &sum), std::exit(0)), exits_with_race,
              "data race");
  double partials[3], total = 0.0;
  EXPECT_EXIT((simt::launch(3, 32, unfenced_kernel, partials, &sum, &total), std::exit(0)),
              exits_with_race, "data race");
  float out[64];
  EXPECT_EXIT((simt::launch(1, 64, one_barrier_kernel, out), std::exit(0)), exits_with_race,
              "data race");
  EXPECT_EXIT((reverse_blocks<true>(3), std::exit(0)), ::testing::ExitedWithCode(0), "");
}
#endif

}  // namespace
}  // namespace cuthresh::testing
