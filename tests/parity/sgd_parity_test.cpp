// Steps against PyTorch's SGD to the bit, over 100 random gradients, in every room: momentum,
// Nesterov's, weight decay; vector bodies and tails.

#include <gtest/gtest.h>

#include <span>
#include <string>

#include "core/array.hpp"
#include "support/engines.hpp"
#include "support/parity_tables.hpp"

namespace cuthresh::testing {
namespace {

/// make_sgd_table.py's generator.
class Congruential {
 public:
  explicit Congruential(std::uint32_t seed) : state_(seed * 2654435761U) {}
  std::vector<float> vector(std::size_t size) {
    std::vector<float> values(size);
    for (float& value : values) {
      state_ = state_ * 1664525U + 1013904223U;
      value = static_cast<float>(state_ >> 8) * 0x1p-23f - 1.0f;
    }
    return values;
  }

 private:
  std::uint32_t state_;
};

StepKind kind_named(const std::string& name) {
  if (name == "plain") return StepKind::kPlain;
  return name == "momentum" ? StepKind::kMomentum : StepKind::kNesterov;
}

struct SgdResult {
  std::vector<float> w, v;
};

/// The case of this row: 100 steps.
SgdResult after_100_steps(Backend& backend, const Row& row, std::uint32_t number) {
  const auto size = static_cast<std::size_t>(std::stoul(row.at("size")));
  Congruential draw(number);
  Array<float> w(backend, std::span<const float>(draw.vector(size)));
  Array<float> v(backend, std::span<const float>(std::vector<float>(size, 0.0f)));
  Array<float> g(backend, static_cast<std::int64_t>(size));
  const ProxTensor tensor{w.data(), g.data(), w.size(), -1, v.data()};
  const auto plan = backend.make_plan({&tensor, 1}, 0, kind_named(row.at("kind")));
  backend.set_rate(
      *plan, {hex_float(row.at("alpha")), hex_float(row.at("mu")), hex_float(row.at("decay"))});
  backend.set_stop(*plan, {});
  for (int step = 0; step < 100; ++step) {
    const std::vector<float> gradient = draw.vector(size);
    backend.upload(g.data(), gradient.data(), g.bytes());
    backend.prox_step(*plan);
  }
  return {w.to_host(), v.to_host()};
}

class Sgd : public ::testing::TestWithParam<Room> {};

TEST_P(Sgd, IsPyTorchsToTheBit) {
  const auto backend = GetParam().make();
  std::string last;
  std::uint32_t number = 0;
  SgdResult result;
  const std::vector<Row> table = read_table("sgd_table.csv");
  ASSERT_EQ(table.size(), 192U);
  for (const Row& row : table) {
    std::string what;
    for (const char* column : {"kind", "alpha", "mu", "decay", "size"})
      what += row.at(column) + " ";
    if (what != last) result = after_100_steps(*backend, row, ++number);
    last = what;
    const auto entry = static_cast<std::size_t>(std::stoul(row.at("entry")));
    ASSERT_EQ(__builtin_bit_cast(std::uint32_t, result.w[entry]), hex(row.at("w")))
        << what << "entry " << entry;
    ASSERT_EQ(__builtin_bit_cast(std::uint32_t, result.v[entry]), hex(row.at("v")))
        << what << "entry " << entry;
  }
  EXPECT_EQ(number, 40U);
}

INSTANTIATE_TEST_SUITE_P(Rooms, Sgd, ::testing::ValuesIn(all_rooms()),
                         [](const auto& test) { return test.param.name(); });

}  // namespace
}  // namespace cuthresh::testing
