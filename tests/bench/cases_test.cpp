// Benchmark cases over lists of weights: in every room each small case passes its own checks, and
// no check passes where a room is wrong.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
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
  for (const auto& some :
       {bench::prox_step_cases(room), bench::list_cases(room), bench::one_run_cases(room)}) {
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
      EXPECT_EQ(c.lacks(room), backend->unsupported(Operation::kSkipZeros));
      continue;
    }
    ++run;
    if (GetParam().engine == "cuda") {
      if (c.name.starts_with("one_run") && !c.name.ends_with("25k_4")) continue;  // seconds each
      check_call_check(*backend, c, room, 2, 1);  // a launch takes milliseconds there
      continue;
    }
    for (const std::int64_t sets : {1, 3}) {
      const auto workload = check_call_check(*backend, c, room, sets, 2);
      EXPECT_FALSE(workload->check().empty());  // the initial state again, whatever was done since
    }
  }
  const int skipping = backend->unsupported(Operation::kSkipZeros).empty() ? 2 * (7 + 2) : 0;
  EXPECT_EQ(run, 3 * (7 + 4 * 2) + 2 * 5 + skipping + 3 * 2 * 6 + 5 + 8 + 10 + 5 + 3 * 5);
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
  static constexpr const char* kTypes[] = {"prox_step/fp32", "prox_step/fp64", "prox_step/bf16",
                                           "prox_step/fp16"};
};

TEST_F(BenchFaults, OfAStepAreFoundByItsCheck) {
  for (const Fault fault :
       {Fault::kLeftOut, Fault::kWeightBit, Fault::kLivingZero, Fault::kGroupCount, Fault::kTotal,
        Fault::kStopped, Fault::kNonfinite}) {
    for (const char* type : kTypes) expect_found(type, fault, false);
  }
  for (const char* type : kTypes) {
    expect_found(std::string(type) + "/momentum", Fault::kMomentumBit, false);
  }
  expect_found("prox_step/fp32/nesterov", Fault::kMomentumBit, false);
  for (const char* type : {"prox_step/bf16", "prox_step/fp16"}) {
    expect_found(type, Fault::kMasterBit, false);
  }
}

TEST_F(BenchFaults, OfAStepAreFoundAfterTheCalls) {
  for (const Fault fault : {Fault::kLeftOut, Fault::kLivingZero, Fault::kGroupCount, Fault::kTotal,
                            Fault::kStopped, Fault::kNonfinite}) {
    for (const char* type : kTypes) expect_found(type, fault, true);
  }
}

TEST_F(BenchFaults, OfTheFinishAreFound) {
  for (const Fault fault : {Fault::kGroupCount, Fault::kKeptOther, Fault::kKeptBits}) {
    expect_found("one_run/keep_targets", fault, false);
  }
  expect_found("one_run/keep_targets", Fault::kGroupCount, true);
  expect_found("one_run/control", Fault::kLambda, false);
}

TEST_F(BenchFaults, OfQuestionsAreFoundByTheirCheck) {
  for (const char* group : {"count", "kkt", "kth", "bracket_median"}) {
    expect_found(group, Fault::kAnswer, false);
    expect_found(group, Fault::kAnswer, true);
  }
  for (const bool after : {false, true}) {
    expect_found("count", Fault::kWeight, after);
    expect_found("kkt", Fault::kWeight, after);
    expect_found("kkt", Fault::kGradient, after);
    expect_found("kth", Fault::kGradient, after);
    expect_found("bracket_median", Fault::kInBracket, after);
  }
}

// At their full size cases move the bytes that their definition says, and sets are as large as what
// is allocated.
TEST(BenchCaseList, SaysWhatACallMovesAndNeeds) {
  const auto backend = cpu::make_cpu_backend("reference", 1);
  std::map<std::string, bench::Case> cases;
  for (const bench::Case& c : cases_of(bench_room(*backend, false))) {
    EXPECT_TRUE(cases.emplace(c.name, c).second) << c.name << " twice";
    if (c.lacks(bench_room(*backend, false)).empty()) {
      EXPECT_GE(static_cast<double>(c.set_bytes) * 3.0, c.work.bytes) << c.name;
    }
  }
  const bench::Case& plain = cases.at("prox_step/fp32/plain/25k_4/zeros_90_clustered");
  EXPECT_EQ(plain.work.bytes, 12.0 * 25408);
  EXPECT_EQ(plain.set_bytes, 8 * 25408);
  EXPECT_EQ(plain.traffic, bench::Traffic::kStream);
  EXPECT_TRUE(plain.rotates);
  const bench::Case& nesterov = cases.at("prox_step/fp32/nesterov/687k_5/dense");
  EXPECT_EQ(nesterov.work.bytes, 20.0 * 687392);
  EXPECT_EQ(nesterov.set_bytes, 12 * 687392);
  const bench::Case& large = cases.at("prox_step/fp32/momentum/1g_200/dense");
  EXPECT_EQ(large.work.bytes, 20e9);
  EXPECT_FALSE(large.rotates);
  EXPECT_EQ(cases.at("prox_step/fp32/threshold/64m/dense").work.bytes, 8.0 * 64e6);
  EXPECT_EQ(cases.at("prox_step/fp32/threshold/64m/dense").set_bytes, 4 * 64'000'000);
  EXPECT_EQ(cases.at("prox_step/fp32/frozen/64m/zeros_90_random").work.bytes, 12.125 * 64e6);
  // Of float64 every array is twice as wide; 16-bit weights are stepped as float32 and written too.
  EXPECT_EQ(cases.at("prox_step/fp64/plain/64m/dense").work.bytes, 24.0 * 64e6);
  EXPECT_EQ(cases.at("prox_step/fp64/momentum/64m/dense").set_bytes, 24 * 64'000'000);
  EXPECT_EQ(cases.at("prox_step/bf16/plain/64m/dense").work.bytes, 12.0 * 64e6);
  EXPECT_EQ(cases.at("prox_step/bf16/plain/64m/dense").set_bytes, 8 * 64'000'000);
  EXPECT_EQ(cases.at("prox_step/bf16/plain/64m/dense").traffic, bench::Traffic::kCopy);
  EXPECT_EQ(cases.at("prox_step/fp16/momentum/25m_161/zeros_90_random").work.bytes,
            20.0 * 25557032);
  EXPECT_EQ(cases.at("count/fp32/64m").work.bytes, 4.0 * 64e6);
  EXPECT_EQ(cases.at("kkt/fp32/25m_1").work.bytes, 8.0 * 25e6);
  EXPECT_TRUE(cases.at("kkt/fp32/25m_1").waits);
  // The published number of parameters of a ResNet-50.
  EXPECT_EQ(cases.at("kth/fp32/50_percent/25m_161").work.bytes, 4.0 * 25557032);
  EXPECT_EQ(cases.at("bracket_median/fp32/over_all/25m_161").traffic, bench::Traffic::kRead);
}

// The zeros are as many as the name says, apart or in runs.
TEST(BenchLists, HaveZerosAsTheirNameSays) {
  const bench::ListShape list = bench::make_list("687k_5", false);
  for (const bench::ZeroPlaces places :
       {bench::ZeroPlaces::kRandom, bench::ZeroPlaces::kClustered}) {
    for (const int percent : {50, 90, 99}) {
      const bench::Zeros zeros{places, percent};
      SCOPED_TRACE(zeros.name());
      const bench::ListSource source(list, zeros);
      bench::ListValues values = source.make_block(list.extent, true);
      source.fill(0, list.extent, values, 1);
      double zero = 0.0;
      double begun = 0.0;  // runs of zeros
      for (std::size_t i = 0; i < values.w.size(); ++i) {
        zero += values.w[i] == 0.0f ? 1.0 : 0.0;
        begun += values.w[i] == 0.0f && (i == 0 || values.w[i - 1] != 0.0f) ? 1.0 : 0.0;
        ASSERT_LT(std::abs(values.v[i]), 1.0f);
        if (values.w[i] == 0.0f) {
          ASSERT_LT(std::abs(values.g[i]), 0.1f) << i;
        } else {
          ASSERT_LT(values.g[i] * values.w[i], -1.0f + 0x1p-20f) << i;
        }
      }
      const double share = percent / 100.0;
      // Five standard deviations of independent ones; whole runs round to one run of 2048.
      EXPECT_NEAR(zero / 687392.0, share, places == bench::ZeroPlaces::kRandom ? 0.003 : 0.006);
      if (places == bench::ZeroPlaces::kRandom) {
        EXPECT_NEAR(begun / 687392.0, share * (1.0 - share), 0.003);
      } else {
        EXPECT_LE(begun, zero / 2048.0);
        EXPECT_GE(begun, 3.0);
      }
    }
  }
}

// What the host draws is what a room draws, wherever a piece begins.
TEST(BenchLists, DrawWhatARoomDraws) {
  const auto backend = cpu::make_cpu_backend("reference", 1);
  Array<float> all(*backend, 1003);
  backend->initialise_uniform(all.data(), all.size(), 0.75f, bench::kListSeed, 7);
  const std::vector<float> want = all.to_host();
  for (const std::size_t first : {0U, 1U, 2U, 3U, 4U, 501U}) {
    std::vector<float> got(want.size() - first);
    bench::draw(static_cast<std::int64_t>(first), got, 0.75f, 7);
    EXPECT_TRUE(
        std::equal(got.begin(), got.end(), want.begin() + static_cast<std::ptrdiff_t>(first)))
        << first;
  }
}

}  // namespace
}  // namespace cuthresh::testing
