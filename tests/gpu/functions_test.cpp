// The functors of kernels/math give the same bits on the device as on the host: every float through
// the elementary functions, every 16-bit pattern, PyTorch's table, Random123's known answers.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "gpu/host_functions.hpp"
#include "gpu/support.hpp"
#include "kernels/math/philox.hpp"
#include "kernels/scalar.hpp"
#include "support/parity_tables.hpp"

namespace cuthresh::testing {
namespace {

const char* name_of(Function function) {
  static constexpr const char* kNames[] = {"exp",     "log",     "tanh",   "erf",
                                           "sigmoid", "to_bf16", "to_fp16"};
  return kNames[static_cast<std::size_t>(function)];
}

/// NaN stays NaN; which one, nobody promises.
bool same(Function function, std::uint32_t a, std::uint32_t b) {
  if (a == b) return true;
  if (function == Function::kToBf16 || function == Function::kToFp16) return false;
  return std::isnan(std::bit_cast<float>(a)) && std::isnan(std::bit_cast<float>(b));
}

class EveryFloat : public ::testing::TestWithParam<Function> {};

TEST_P(EveryFloat, HasTheHostsBits) {
  const Function function = GetParam();
#if defined(NDEBUG)
  const auto step = static_cast<std::uint32_t>(sized(1, 65537));
#else
  const auto step = static_cast<std::uint32_t>(sized(97, 65537));  // plain loops take minutes
#endif
  constexpr std::uint64_t kAll = std::uint64_t{1} << 32;
  constexpr std::int64_t kChunk = std::int64_t{1} << 24;
  const auto room = cuda::make_cuda_backend(cuda::Precision::kFp32);
  Array<std::uint32_t> on_device(*room, kChunk);
  std::vector<std::uint32_t> got(static_cast<std::size_t>(kChunk));
  std::vector<std::uint32_t> want(static_cast<std::size_t>(kChunk));
  const auto threads = static_cast<std::int64_t>(std::max(1U, std::thread::hardware_concurrency()));
  std::uint64_t looked_at = 0;
  for (std::uint64_t first = 0; first < kAll; first += static_cast<std::uint64_t>(kChunk) * step) {
    const std::uint64_t left = (kAll - first + step - 1) / step;
    const std::int64_t count = std::min<std::int64_t>(kChunk, static_cast<std::int64_t>(left));
    const auto start = static_cast<std::uint32_t>(first);
    expect_success(apply(function, start, step, count, on_device.data(), stream_of(*room)),
                   "apply");
    std::vector<std::jthread> workers;
    for (std::int64_t t = 0; t < threads; ++t) {
      const std::int64_t from = count * t / threads;
      const std::int64_t to = count * (t + 1) / threads;
      workers.emplace_back([&, from, to] {
        apply_on_host(function, start + static_cast<std::uint32_t>(from) * step, step, to - from,
                      want.data() + from);
      });
    }
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(std::uint32_t);
    room->download(got.data(), on_device.data(), bytes);
    workers.clear();
    looked_at += static_cast<std::uint64_t>(count);
    if (std::memcmp(got.data(), want.data(), bytes) == 0) continue;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto at = static_cast<std::size_t>(i);
      ASSERT_TRUE(same(function, got[at], want[at]))
          << name_of(function) << " of the float with bits "
          << start + static_cast<std::uint32_t>(i) * step << ": device " << got[at] << ", host "
          << want[at];
    }
  }
  EXPECT_EQ(looked_at, (kAll + step - 1) / step);
}

INSTANTIATE_TEST_SUITE_P(Functions, EveryFloat,
                         ::testing::Values(Function::kExp, Function::kLog, Function::kTanh,
                                           Function::kErf, Function::kSigmoid, Function::kToBf16,
                                           Function::kToFp16),
                         [](const auto& test) { return std::string(name_of(test.param)); });

TEST(SixteenBits, WidenAsOnTheHost) {
  const auto room = cuda::make_cuda_backend(cuda::Precision::kFp32);
  Array<std::uint32_t> on_device(*room, 2 * 65536);
  expect_success(widen_all(on_device.data(), stream_of(*room)), "widen_all");
  const std::vector<std::uint32_t> got = on_device.to_host();
  for (std::uint32_t i = 0; i < 65536; ++i) {
    const auto pattern = static_cast<std::uint16_t>(i);
    ASSERT_EQ(got[i], std::bit_cast<std::uint32_t>(widen(Bf16{pattern}))) << i;
    ASSERT_EQ(got[65536 + i], std::bit_cast<std::uint32_t>(widen(Fp16{pattern}))) << i;
  }
}

TEST(Step, IsPyTorchsSoftshrinkToTheBit) {
  const std::vector<Row> rows = read_table("softshrink_table.csv");
  ASSERT_GT(rows.size(), 2000U);
  std::vector<StepRow> in;
  for (const Row& row : rows) {
    in.push_back({hex_float(row.at("w")), hex_float(row.at("g")), hex_float(row.at("alpha")),
                  hex_float(row.at("t"))});
  }
  const auto room = cuda::make_cuda_backend(cuda::Precision::kFp32);
  Array<StepRow> from(*room, std::span<const StepRow>(in));
  Array<StepBits> to(*room, from.size());
  expect_success(step_rows(from.data(), to.data(), from.size(), stream_of(*room)), "step_rows");
  const std::vector<StepBits> got = to.to_host();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    ASSERT_EQ(got[i].z, hex(rows[i].at("z_torch"))) << "row " << i;
    ASSERT_EQ(got[i].y, hex(rows[i].at("y_torch"))) << "row " << i;
  }
}

TEST(Philox, GivesTheKnownAnswers) {
  std::vector<PhiloxInput> in;
  std::vector<PhiloxWords> want;
  for (const Row& row : read_table("philox_vectors.csv")) {
    if (row.at("kind") != "kat") continue;
    const auto c = hex_list(row.at("counter"));
    const auto k = hex_list(row.at("key"));
    const auto v = hex_list(row.at("values"));
    in.push_back({k.at(0), k.at(1), c.at(0), c.at(1), c.at(2), c.at(3)});
    want.push_back({v.at(0), v.at(1), v.at(2), v.at(3)});
  }
  ASSERT_EQ(in.size(), 3U);
  Random random(41);
  SCOPED_TRACE(::testing::Message() << "seed " << random.seed());
  for (int i = 0; i < 10000; ++i) {
    PhiloxInput row{};
    for (std::uint32_t& word : row) word = random.bits();
    in.push_back(row);
    const cuthresh::Philox host =
        cuthresh::Philox::rounds(row[0], row[1], row[2], row[3], row[4], row[5]);
    want.push_back({host.words[0], host.words[1], host.words[2], host.words[3]});
  }
  const auto room = cuda::make_cuda_backend(cuda::Precision::kFp32);
  Array<PhiloxInput> from(*room, std::span<const PhiloxInput>(in));
  Array<PhiloxWords> to(*room, from.size());
  expect_success(philox_rows(from.data(), to.data(), from.size(), stream_of(*room)), "philox_rows");
  EXPECT_EQ(to.to_host(), want);
}

}  // namespace
}  // namespace cuthresh::testing
