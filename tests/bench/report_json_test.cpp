#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "bench/report/json.hpp"
#include "cuthresh/error.hpp"
#include "report_cases.hpp"

namespace cuthresh::bench {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

/// A file of this test's own.
class BenchJson : public ::testing::Test {
 protected:
  BenchJson() : folder_(::testing::TempDir() + "/bench_json_" + std::to_string(::getpid())) {
    std::filesystem::create_directories(folder_);
  }
  ~BenchJson() override { std::filesystem::remove_all(folder_); }

  std::string path() const { return folder_ + "/old.json"; }
  Report read(const std::string& text) const {
    std::ofstream(path(), std::ios::binary) << text;
    return read_json(path());
  }
  /// What read_json says about the text; empty when it takes it.
  std::string refusal(const std::string& text) const {
    try {
      read(text);
    } catch (const InputError& error) {
      EXPECT_FALSE(error.info().remedy.empty());
      EXPECT_TRUE(error.info().where.starts_with(path())) << error.info().where;
      return error.what();
    }
    return "";
  }

 private:
  std::string folder_;
};

TEST_F(BenchJson, ComesBackToTheBit) {
  const Report report = testing::sample_report();
  EXPECT_EQ(testing::members_of(read(to_json(report))), testing::members_of(report));
  testing::Random random(72);
  SCOPED_TRACE(random.seed());
  for (int i = 0; i < 100; ++i) {
    const Report one = testing::random_report(random);
    ASSERT_EQ(testing::members_of(read(to_json(one))), testing::members_of(one)) << i;
  }
}

TEST_F(BenchJson, HasWhatFollowsFromTheFigures) {
  const Json json = Json::parse(to_json(testing::sample_report()));
  EXPECT_EQ(json["schema_version"], 1);
  EXPECT_EQ(json["rows"][0]["gb_per_s"], 40.0);
  EXPECT_EQ(json["rows"][0]["share_of_ceiling"], 0.8);
  EXPECT_TRUE(json["rows"][0]["gflop_per_s"].is_null());
  EXPECT_TRUE(json["rows"][2]["noise"].is_null());
  EXPECT_EQ(json["ceilings"][0]["gb_per_s"], 50.0);
  EXPECT_FALSE(json.contains("compared_with"));
}

TEST_F(BenchJson, HasTheComparisonAndIsReadWithIt) {
  const Report now = testing::sample_report();
  Report before = now;
  before.machine.commit = "0000000";
  before.rows[1].name = "gone/x";
  before.rows[0].timing.median_us /= 2.0;
  before.rows[0].again.median_us /= 2.0;
  const Comparison compared = compare(before, now, 1.5);
  const std::string text = to_json(now, &compared);
  const Json with = Json::parse(text)["compared_with"];
  EXPECT_THAT(with["before"].get<std::string>(), HasSubstr("0000000"));
  EXPECT_EQ(with["any_slower"], true);
  EXPECT_EQ(with["rows"][0]["name"], "prox_step/fp32/plain/25m_161");
  EXPECT_EQ(with["rows"][0]["ratio"], 2.0);
  EXPECT_EQ(with["rows"][0]["verdict"], "slower");
  EXPECT_EQ(with["only_before"], Json::parse(R"([{"name": "gone/x", "cold": false}])"));
  EXPECT_EQ(with["only_now"][0]["name"], "gemm/1000x128x128");
  EXPECT_EQ(testing::members_of(read(text)), testing::members_of(now));
}

TEST_F(BenchJson, AFigureThatIsNotFiniteIsNoFigure) {
  Report report = testing::sample_report();
  report.rows[0].more["loss"] = std::nan("");
  report.rows[0].more["peak"] = HUGE_VAL;
  const Report back = read(to_json(report));
  EXPECT_TRUE(std::isnan(back.rows[0].more.at("loss")));
  EXPECT_TRUE(std::isnan(back.rows[0].more.at("peak")));
}

TEST_F(BenchJson, AProcessorThatIsNotUtf8CostsNoRun) {
  Report report = testing::sample_report();
  report.machine.processor = "caf\xe9";
  EXPECT_THAT(read(to_json(report)).machine.processor, HasSubstr("caf"));
}

TEST_F(BenchJson, RefusesWhatItCannotUse) {
  const Json good = Json::parse(to_json(testing::sample_report()));
  ASSERT_EQ(refusal(good.dump()), "");
  const auto changed = [&](const char* pointer, const Json& value) {
    Json json = good;
    json[Json::json_pointer(pointer)] = value;
    return json.dump();
  };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "old.json:1: this is not JSON"},
      {"case,min_us\n", "old.json:1: this is not JSON"},
      {"{\n\"schema_version\": 1,\n\"rows\" [", "old.json:3: this is not JSON"},
      {"{\"schema_version\": 1e999}", "too large for float64"},
      {"[]", "old.json: expected an object (got [])"},
      {"{}", "old.json: this key is missing (got \"schema_version\")"},
      {R"({"rows": []})", "this key is missing (got \"schema_version\")"},
      {changed("/schema_version", 2),
       "schema_version: this cuthresh-bench reads version 1 (got 2)"},
      {changed("/schema_version", "1"), "schema_version: expected an integer"},
      {changed("/schema_version", 1.0), "schema_version: expected an integer"},
      {changed("/rows", Json::object()), "old.json: rows: expected an array (got {})"},
      {changed("/rows/1/timing/median_us", nullptr), "rows[1].timing.median_us: expected a number"},
      {changed("/rows/1/timing/samples", 18446744073709551615U), "samples: expected an integer of"},
      {changed("/rows/0/traffic", "stream"), "rows[0].traffic: expected "},
      {changed("/rows/2/cold", 0), "rows[2].cold: expected true or false (got 0)"},
      {changed("/rows/0/more/nnz", "many"), "rows[0].more.nnz: expected a number (got \"many\")"},
      {changed("/machine/libraries/oneDNN", 2), "machine.libraries.oneDNN: expected a string"},
      {changed("/rows/3/cold", true), "rows[3].name: expected each name once cold and once warm"},
      {changed("/left_out/0", std::string(500, 'x')), "left_out[0]: expected an object"},
  };
  for (const auto& [text, expected] : cases) {
    const std::string message = refusal(text);
    EXPECT_THAT(message, HasSubstr(expected)) << text.substr(0, 200);
    EXPECT_LT(message.size(), 400u) << message;
  }
}

TEST_F(BenchJson, NamesTheMissingFileAndTheFolder) {
  for (const std::string& bad : {path() + ".missing", ::testing::TempDir()}) {
    try {
      read_json(bad);
      ADD_FAILURE() << bad;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(bad));
    }
  }
}

/// Calls use(parent, key) for every member of every object.
void for_all_members(Json& json, const std::function<void(Json&, const std::string&)>& use) {
  if (json.is_object()) {
    std::vector<std::string> keys;
    for (const auto& [key, value] : json.items()) keys.push_back(key);
    for (const std::string& key : keys) use(json, key);
  }
  if (json.is_structured()) {
    for (Json& value : json) for_all_members(value, use);
  }
}

TEST_F(BenchJson, EveryKeyIsNeededAndEveryKindHeldTo) {
  const Report report = testing::sample_report();
  Json json = Json::parse(to_json(report));
  int refused = 0;
  for_all_members(json, [&](Json& parent, const std::string& key) {
    static const std::vector<std::string> kNotRead = {"gb_per_s", "gflop_per_s", "noise",
                                                      "share_of_ceiling"};
    const bool free_name = key == "nnz" || key == "peak_bytes" || key == "oneDNN";
    const Json value = parent[key];
    const bool read_back = std::count(kNotRead.begin(), kNotRead.end(), key) == 0;
    parent.erase(key);
    const std::string without = refusal(json.dump());
    parent[key] = value.is_array() ? Json::object() : Json::array();
    const std::string other_kind = refusal(json.dump());
    parent[key] = value;
    EXPECT_EQ(!without.empty(), read_back && !free_name) << key << without;
    EXPECT_EQ(!other_kind.empty(), read_back) << key << other_kind;
    if (!without.empty()) {
      EXPECT_THAT(without, HasSubstr("missing (got \"" + key + "\")"));
      ++refused;
    }
  });
  EXPECT_GT(refused, 100);
  EXPECT_EQ(testing::members_of(read(json.dump())), testing::members_of(report));
}

TEST_F(BenchJson, ACutFileIsRefusedWhereverItIsCut) {
  const std::string text = to_json(testing::sample_report());
  const std::size_t end = text.find_last_of('}');
  for (std::size_t length = 0; length <= end; length += 41) {
    EXPECT_THAT(refusal(text.substr(0, length)), HasSubstr("this is not JSON")) << length;
  }
}

}  // namespace
}  // namespace cuthresh::bench
