// The whole list of benchmark cases.

#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "bench/cases/cases.hpp"
#include "support/engines.hpp"

namespace cuthresh::testing {
namespace {

class AllCases : public ::testing::TestWithParam<bool> {};

TEST_P(AllCases, HaveNamesOfTheirOwnInTheOrderOfTheirGroups) {
  const auto backend = cpu::make_cpu_backend("reference", 1);
  const bench::Room room{*backend, 1, std::int64_t{1} << 34, std::int64_t{1} << 25, GetParam()};
  const std::vector<bench::Case> cases = bench::all_cases(room);
  const std::regex form("[a-z0-9_]+(/[a-z0-9_]+)+");
  std::set<std::string> names;
  std::vector<std::string> groups;  // in order, each once
  for (const bench::Case& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_TRUE(names.insert(c.name).second) << "twice";
    EXPECT_TRUE(std::regex_match(c.name, form));
    EXPECT_FALSE(c.what.empty());
    const bool left_out = c.lacks && !c.lacks(room).empty();
    EXPECT_TRUE(left_out || c.make != nullptr);
    EXPECT_GE(c.max_calls, 0);
    EXPECT_TRUE(left_out || c.set_bytes + c.more_bytes > 0);
    const std::string group = c.name.substr(0, c.name.find('/'));
    if (groups.empty() || groups.back() != group) groups.push_back(group);
  }
  const std::set<std::string> once(groups.begin(), groups.end());
  EXPECT_EQ(once.size(), groups.size()) << "a group lies in two places";
  ASSERT_FALSE(groups.empty());
  EXPECT_EQ(groups.front(), "prox_step");
  for (const char* group : {"count", "bracket_median", "kth", "kkt"}) {
    EXPECT_EQ(once.count(group), 1U) << group;
  }
  EXPECT_GT(groups.size(), 5U);
}

INSTANTIATE_TEST_SUITE_P(Sizes, AllCases, ::testing::Bool(), [](const auto& smoke) {
  return smoke.param ? std::string("smoke") : std::string("full");
});

}  // namespace
}  // namespace cuthresh::testing
