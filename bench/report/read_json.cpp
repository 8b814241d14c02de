#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "bench/report/json.hpp"
#include "cuthresh/error.hpp"
#include "io/input_file.hpp"

namespace cuthresh::bench {
namespace {

using PlainJson = nlohmann::json;

constexpr const char* kRemedy = "write the file anew with cuthresh-bench --format json";

/// A value in the file, and where it stands: "OLD.json: rows[3].timing".
class Value {
 public:
  Value(const PlainJson& json, std::string file, std::string keys = "")
      : json_(json), file_(std::move(file)), keys_(std::move(keys)) {}

  Value at(const std::string& key) const {
    if (!json_.is_object()) refuse("an object");
    const auto found = json_.find(key);
    if (found == json_.end()) {
      throw InputError({where(), "this key is missing", '"' + key + '"', kRemedy});
    }
    return member(*found, key);
  }
  bool is_null() const { return json_.is_null(); }
  bool flag() const {
    if (!json_.is_boolean()) refuse("true or false");
    return json_.get<bool>();
  }
  std::string string() const {
    if (!json_.is_string()) refuse("a string");
    return json_.get<std::string>();
  }
  double number() const {
    if (!json_.is_number()) refuse("a number");
    return json_.get<double>();
  }
  std::int64_t integer() const {
    // Above 2^63 − 1 the parser makes it unsigned.
    constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (!json_.is_number_integer() ||
        (json_.is_number_unsigned() && json_.get<std::uint64_t>() > kMost)) {
      refuse("an integer of 64 bits");
    }
    return json_.get<std::int64_t>();
  }
  /// Calls use(element) for every element of an array.
  template <class Use>
  void for_each(const Use& use) const {
    if (!json_.is_array()) refuse("an array");
    std::size_t i = 0;
    for (const PlainJson& element : json_) {
      use(Value(element, file_, fmt::format("{}[{}]", keys_, i++)));
    }
  }
  /// Calls use(key, member) for every member of an object.
  template <class Use>
  void for_members(const Use& use) const {
    if (!json_.is_object()) refuse("an object");
    for (const auto& [key, value] : json_.items()) use(key, member(value, key));
  }
  [[noreturn]] void refuse(const std::string& expected) const {
    // A whole report pasted into a message helps nobody.
    std::string shown = json_.dump(-1, ' ', true, PlainJson::error_handler_t::replace);
    if (shown.size() > 60) shown = shown.substr(0, 60) + "…";
    throw InputError({where(), "expected " + expected, std::move(shown), kRemedy});
  }

 private:
  std::string where() const { return keys_.empty() ? file_ : file_ + ": " + keys_; }
  Value member(const PlainJson& json, const std::string& key) const {
    return {json, file_, keys_.empty() ? key : keys_ + '.' + key};
  }

  const PlainJson& json_;
  std::string file_;
  std::string keys_;
};

Timing timing_of(const Value& value) {
  return {value.at("min_us").number(), value.at("median_us").number(), value.at("p90_us").number(),
          value.at("samples").integer(), value.at("calls").integer()};
}

Traffic traffic_of(const Value& value) {
  const std::string name = value.string();
  for (const Traffic traffic : {Traffic::kNone, Traffic::kRead, Traffic::kCopy, Traffic::kStream}) {
    if (name == name_of(traffic)) return traffic;
  }
  value.refuse(R"("", "read", "copy 1:1" or "stream 2:1")");
}

Machine machine_of(const Value& value) {
  Machine machine;
  machine.processor = value.at("processor").string();
  machine.cores = value.at("cores").integer();
  machine.memory_bytes = value.at("memory_bytes").integer();
  machine.cache_bytes = value.at("cache_bytes").integer();
  machine.room = value.at("room").string();
  machine.why = value.at("why").string();
  machine.threads = value.at("threads").integer();
  machine.compiler = value.at("compiler").string();
  machine.build = value.at("build").string();
  machine.commit = value.at("commit").string();
  value.at("libraries").for_members([&](const std::string& name, const Value& version) {
    machine.libraries[name] = version.string();
  });
  machine.date = value.at("date").string();
  return machine;
}

Ceiling ceiling_of(const Value& value) {
  Ceiling ceiling;
  ceiling.traffic = traffic_of(value.at("traffic"));
  ceiling.footprint = value.at("footprint_bytes").integer();
  ceiling.cold = value.at("cold").flag();
  ceiling.how = value.at("how").string();
  ceiling.first = timing_of(value.at("first"));
  ceiling.last = timing_of(value.at("last"));
  return ceiling;
}

Row row_of(const Value& value) {
  Row row;
  row.name = value.at("name").string();
  row.group = value.at("group").string();
  row.cold = value.at("cold").flag();
  row.timing = timing_of(value.at("timing"));
  row.again = timing_of(value.at("again"));
  row.work = {value.at("bytes").number(), value.at("flops").number()};
  row.traffic = traffic_of(value.at("traffic"));
  const Value ceiling = value.at("ceiling_gb_per_s");
  if (!ceiling.is_null()) row.ceiling_gb_per_s = ceiling.number();
  row.checked = value.at("checked").string();
  value.at("more").for_members([&](const std::string& name, const Value& figure) {
    // What was not finite was written as null.
    row.more[name] = figure.is_null() ? std::numeric_limits<double>::quiet_NaN() : figure.number();
  });
  return row;
}

PlainJson parse(const std::string& path, const std::string& text) {
  try {
    return PlainJson::parse(text);
  } catch (const PlainJson::parse_error& error) {
    const auto end = text.begin() + static_cast<std::ptrdiff_t>(std::min(
                                        text.size(), std::max<std::size_t>(error.byte, 1) - 1));
    const auto line = 1 + std::count(text.begin(), end, '\n');
    throw InputError({fmt::format("{}:{}", path, line), "this is not JSON", "",
                      "give a file that cuthresh-bench --format json wrote"});
  } catch (const PlainJson::out_of_range&) {
    throw InputError({path, "a number in it is too large for float64", "", kRemedy});
  }
}

}  // namespace

Report read_json(const std::string& path) {
  const PlainJson json = parse(path, read_whole_file(path, "benchmark report"));
  const Value top(json, path);
  const std::int64_t schema = top.at("schema_version").integer();
  if (schema != kSchemaVersion) {
    throw InputError({path + ": schema_version",
                      fmt::format("this cuthresh-bench reads version {}", kSchemaVersion),
                      std::to_string(schema), "run the benchmark again with one version for both"});
  }
  Report report;
  report.version = top.at("version").string();
  report.smoke = top.at("smoke").flag();
  report.machine = machine_of(top.at("machine"));
  top.at("ceilings").for_each([&](const Value& v) { report.ceilings.push_back(ceiling_of(v)); });
  std::set<std::pair<std::string, bool>> seen;
  top.at("rows").for_each([&](const Value& value) {
    Row row = row_of(value);
    if (!seen.emplace(row.name, row.cold).second) {
      value.at("name").refuse("each name once cold and once warm");
    }
    report.rows.push_back(std::move(row));
  });
  top.at("left_out").for_each([&](const Value& value) {
    report.left_out.push_back({value.at("name").string(), value.at("reason").string()});
  });
  return report;
}

}  // namespace cuthresh::bench
