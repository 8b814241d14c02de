// Benchmark cases over lists of weights: in every room each small case passes its own checks, and
// no check passes where a room is wrong.

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "bench/cases/cases.hpp"
#include "bench/cases/lists.hpp"
#include "bench/faulty_backend.hpp"
#include "support/engines.hpp"
#include "support/seeded.hpp"

namespace cuthresh::testing {
namespace {

bench::Room bench_room(Backend& backend, bool smoke, std::int64_t threads = 1) {
  return {backend, threads, std::int64_t{1} << 30, std::int64_t{1} << 20, smoke};
}

std::vector<bench::Case> cases_of(const bench::Room& room, const std::string& prefix = "") {
  std::vector<bench::Case> cases;
  for (const auto& some : {bench::prox_step_cases(room)}) {
    for (const bench::Case& c : some) {
      if (c.name.rfind(prefix, 0) == 0) cases.push_back(c);
    }
  }
  return cases;
}

std::unique_ptr<bench::Workload> check_call_check(Backend& backend, const bench::Case& c,
                                                  const bench::Room& room, std::int64_t sets,
                                                  std::int64_t calls_a_set) {
  auto workload = c.make(room, sets);
  EXPECT_FALSE(workload->check().empty());
  workload->reset();
  const std::int64_t calls = calls_a_set * sets;
  for (std::int64_t i = 0; i < calls; ++i) workload->call(i % sets);
  backend.synchronize();
  workload->check_after(calls);
  return workload;
}

class BenchCases : public ::testing::TestWithParam<Room> {};

TEST_P(BenchCases, PassTheirChecksBeforeAndAfterCalls) {
  const auto backend = GetParam().make();
  const bench::Room room = bench_room(*backend, true, GetParam().threads);
  int run = 0;
  for (const bench::Case& c : cases_of(room)) {
    SCOPED_TRACE(c.name);
    if (!c.lacks(room).empty()) {
      EXPECT_EQ(c.lacks(room), "plans hold float32 weights");
      continue;
    }
    ++run;
    if (GetParam().engine == "cuda") {
      check_call_check(*backend, c, room, 2, 1);  // a launch takes milliseconds there
      continue;
    }
    for (const std::int64_t sets : {1, 3}) {
      const auto workload = check_call_check(*backend, c, room, sets, 2);
      EXPECT_FALSE(workload->check().empty());  // the initial state again, whatever was done since
    }
  }
  EXPECT_GE(run, 100);
}

INSTANTIATE_TEST_SUITE_P(Rooms, BenchCases, ::testing::ValuesIn(all_rooms()),
                         [](const auto& room) { return room.param.name(); });

class BenchFaults : public ::testing::Test {
 protected:
  /// Every case whose name begins with `prefix` sees `fault` when it is checked; with `after`, when
  /// its calls are looked back on.
  void expect_found(const std::string& prefix, Fault fault, bool after) {
    SCOPED_TRACE(::testing::Message() << "fault " << static_cast<int>(fault) << ", seed " << kSeed);
    FaultyBackend backend(cpu::make_cpu_backend("reference", 1), kSeed);
    const bench::Room room = bench_room(backend, true);
    const std::vector<bench::Case> cases = cases_of(room, prefix);
    EXPECT_FALSE(cases.empty());
    for (const bench::Case& c : cases) {
      SCOPED_TRACE(c.name);
      backend.fault = Fault::kNone;
      const auto workload = c.make(room, 2);
      if (after) {
        EXPECT_NO_THROW(workload->check());
        workload->reset();
      }
      backend.fault = fault;
      if (!after) {
        EXPECT_THROW(workload->check(), bench::CheckFailed);
        continue;
      }
      workload->call(0);
      workload->call(1);
      EXPECT_THROW(workload->check_after(2), bench::CheckFailed);
    }
  }

  static constexpr std::uint32_t kSeed = 53;
};

TEST_F(BenchFaults, OfAStepAreFoundByItsCheck) {
  for (const Fault fault :
       {Fault::kLeftOut, Fault::kWeightBit, Fault::kLivingZero, Fault::kGroupCount, Fault::kTotal,
        Fault::kStopped, Fault::kNonfinite}) {
    expect_found("prox_step/fp32", fault, false);
  }
  expect_found("prox_step/fp32/momentum", Fault::kMomentumBit, false);
  expect_found("prox_step/fp32/nesterov", Fault::kMomentumBit, false);
}

TEST_F(BenchFaults, OfAStepAreFoundAfterTheCalls) {
  for (const Fault fault : {Fault::kLeftOut, Fault::kLivingZero, Fault::kGroupCount, Fault::kTotal,
                            Fault::kStopped, Fault::kNonfinite}) {
    expect_found("prox_step/fp32", fault, true);
  }
}

}  // namespace
}  // namespace cuthresh::testing
