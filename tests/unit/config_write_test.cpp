#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <string>

#include "config/keys.hpp"
#include "core/suggest.hpp"
#include "cuthresh/config.hpp"
#include "cuthresh/error.hpp"
#include "tests/unit/config_cases.hpp"

namespace cuthresh {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// writing, docs

/// A configuration with every member drawn, valid in itself.
FitConfig random_config(std::mt19937_64& rng) {
  const auto below = [&rng](std::uint64_t n) { return static_cast<std::int64_t>(rng() % n); };
  const auto real = [&rng] {
    return std::ldexp(static_cast<double>(rng() >> 11) + 1.0, -54);
  };  // (0, 0.5]
  const auto text = [&] {
    const std::vector<std::string> pieces = {"a", "\"", "\\", "\n", "\t",   "é",
                                             "λ", " ",  "#",  "=",  "\x7f", "\x01"};
    std::string out = "/";
    for (std::int64_t i = below(8); i >= 0; --i)
      out += pieces[static_cast<std::size_t>(below(pieces.size()))];
    return out;
  };
  FitConfig c;
  c.data.path = text();
  if (below(2)) {
    c.data.kind = "idx";
    c.data.train_images = text();
    c.data.train_labels = text();
    c.data.test_images = text();
    c.data.test_labels = text();
    c.data.train_rows = below(1u << 30);
    c.data.test_rows = below(1u << 30);
    for (std::int64_t i = below(4); i > 0; --i) c.data.mean.push_back(real() - 0.25);
    for (std::int64_t i = below(4); i > 0; --i) c.data.std.push_back(real() + 0.01);
    c.data.random_crop = below(9);
    c.data.random_flip = below(2) == 0;
  } else {
    c.data.kind = "csv";
    for (std::int64_t i = below(3); i > 0; --i) c.data.target_columns.push_back(text());
    if (below(2))
      c.data.train_rows = below(1u << 30) + 1;
    else
      c.data.train_fraction = real();
    c.data.shuffle = below(2) == 0;
  }
  switch (below(3)) {
    case 0:
      for (std::int64_t i = below(4); i >= -1; --i) c.model.widths.push_back(below(500) + 1);
      break;
    case 1:
      c.model.kind = "layers";
      for (std::int64_t i = below(4); i >= 0; --i) c.model.layers.push_back(text());
      break;
    default:
      c.model.kind = "resnet20";
      c.model.classes = below(2) * 7;
  }
  c.model.activation = "silu";
  c.model.leaky_slope = real();
  c.train.learning_rate = real() * 1000;
  if (below(2)) {
    c.train.steps = below(1'000'000) + 2;
  } else {
    c.train.epochs = below(1'000) + 1;
  }
  if (below(2)) {
    c.train.momentum = real() * 0.999;
    c.train.nesterov = c.train.momentum > 0.0 && below(2) == 0;
  }
  switch (below(3)) {
    case 0:
      c.train.schedule = "step";
      c.train.decay_every = below(1000) + 1;
      c.train.decay_factor = 1.0 - real() * 0.5;
      break;
    case 1:
      c.train.schedule = "cosine";
      c.train.final_learning_rate = real();
      break;
    default:
      break;
  }
  c.train.warmup = below(2);
  c.train.batch = below(3) * 17;
  c.train.eval_every = below(100) - 1;
  c.train.test_every = below(100);
  switch (below(3)) {
    case 0:
      c.sparsity.target_nnz = below(~0ull >> 1);
      break;
    case 1:
      c.sparsity.target_sparsity = real();
      break;
    default:
      for (std::int64_t i = below(4); i >= 0; --i)
        c.sparsity
            .layers[(below(3) ? "" : fmt::format("m{}, ", i)) + fmt::format("l{}{}", i, text())] =
            below(99);
      c.sparsity.layers_required = below(c.sparsity.layers.size() + 1);
  }
  if (below(2)) c.search.method = "gradient-median";
  if (c.sparsity.layers.empty()) {
    const std::vector<std::string> allocations = {"none", "uniform", "erdos-renyi"};
    c.sparsity.allocation = allocations[below(3)];
  }
  if (c.sparsity.allocation == "none" && below(2)) {
    c.search.method = "one-run";
    for (std::int64_t i = below(3); i >= 0; --i)
      c.sparsity.bounds[fmt::format("b{}", i) + text()] = {below(9), below(99) + 9};
  }
  c.sparsity.tolerance = real();
  c.sparsity.penalise = {text(), "fc?.weight"};
  c.search.stop = below(2) ? "converged" : "first-hit";
  if (c.search.method == "one-run") {
    if (below(2)) c.search.lambda = {1e-7 + real()};
  } else if (below(2)) {
    c.search.lambda = {real() * 1e-7, 1.0 + real()};
  }
  c.search.max_rounds = below(1000) + 1;
  c.search.first_hit_after = below(2);
  if (c.search.method != "one-run") c.search.warm_start = below(2) == 0;
  const bool one_lambda = c.sparsity.layers.size() < 2 && c.sparsity.allocation == "none";
  if (c.search.method != "one-run" && one_lambda) c.search.parallel = below(5) + 1;
  c.search.compare_dense = below(2) == 0;
  c.run.seed = rng() >> 1;
  c.run.out = text();
  c.run.threads = below(9);
  if (below(2)) c.run.init = text();
  c.run.force = below(2) == 0;
  return c;
}

bool same(const FitConfig& a, const FitConfig& b) {
  FitConfig x = a, y = b;
  for (const config::Key& key : config::keys()) {
    const bool equal = std::visit(
        [](auto* p, auto* q) {
          if constexpr (std::is_same_v<decltype(p), decltype(q)>) return *p == *q;
          return false;
        },
        key.field(x), key.field(y));
    if (!equal) {
      ADD_FAILURE() << key.path() << " differs";
      return false;
    }
  }
  return true;
}

TEST(ToToml, ReadsBackToTheSameValues) {
  constexpr std::uint64_t kSeed = 20240802;
  std::mt19937_64 rng(kSeed);
  for (int i = 0; i < 300; ++i) {
    const FitConfig config = random_config(rng);
    const std::string text = to_toml(config);
    ASSERT_TRUE(same(config, parse(text))) << "seed " << kSeed << ", draw " << i << "\n" << text;
  }
}

TEST(ToToml, WritesEveryKeyThatHasAValue) {
  const std::string text = to_toml(parse(kGood));
  for (const config::Key& key : config::keys()) {
    const bool absent = key.path() == "sparsity.target_sparsity" ||
                        key.path() == "sparsity.layers" || key.path() == "sparsity.bounds";
    const auto begin = text.find(fmt::format("[{}]\n", key.section));
    const std::string section = text.substr(begin, text.find("\n[", begin) - begin);
    EXPECT_EQ(section.find(fmt::format("\n{} = ", key.name)) == std::string::npos, absent)
        << key.path();
  }
  EXPECT_THAT(text, AllOf(HasSubstr("batch = \"full\""), HasSubstr("target_nnz = 20 ")));
}

TEST(ConfigTable, EveryKeyIsDocumentedInItsSection) {
  std::ifstream file(std::string(CTH_SOURCE_DIR) + "/docs/config.md");
  ASSERT_TRUE(file) << "docs/config.md is missing";
  std::map<std::string, std::string> by_section;
  std::string line, section;
  std::size_t rows = 0;
  while (std::getline(file, line)) {
    if (line.starts_with("## ")) section = line.substr(3);
    by_section[section] += line + "\n";
    rows += section.starts_with("[") && line.starts_with("| `") ? 1 : 0;
  }
  for (const config::Key& key : config::keys()) {
    const std::string& body = by_section[fmt::format("[{}]", key.section)];
    const auto at = body.find(fmt::format("\n| `{}` |", key.name));
    ASSERT_NE(at, std::string::npos) << key.path() << " has no row";
    const std::string row = body.substr(at + 1, body.find('\n', at + 1) - at);
    for (const auto choice : key.choices) {
      EXPECT_THAT(row, HasSubstr(fmt::format("`{}`", choice))) << key.path();
    }
  }
  EXPECT_EQ(rows, config::keys().size()) << "a row documents a key that does not exist";
}

TEST(ConfigTable, KeysAreUniqueAndSectionsTogether) {
  std::set<std::string> paths, seen;
  std::string_view section;
  for (const config::Key& key : config::keys()) {
    EXPECT_TRUE(paths.insert(key.path()).second) << key.path();
    if (key.section != section) {
      EXPECT_TRUE(seen.insert(std::string(key.section)).second) << key.section;
    }
    section = key.section;
    EXPECT_FALSE(key.doc.empty());
  }
}

TEST(Suggest, EditDistanceOnKnownPairs) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("abc", ""), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("serach", "search"), 1);
  EXPECT_EQ(edit_distance("First-Hit", "first_hit"), 0);
  EXPECT_EQ(edit_distance("ca", "abc"), 3) << "restricted: no edit inside a swap";
  EXPECT_EQ(nearest("tnah", {"relu", "tanh"}), "tanh");
  EXPECT_FALSE(nearest("zzzz", {"relu", "tanh"}));
}

}  // namespace
}  // namespace cuthresh
