#include "bench/report/json.hpp"

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

namespace cuthresh::bench {
namespace {

using OrderedJson = nlohmann::ordered_json;

// JSON has no NaN and no infinity.
OrderedJson json_number(double value) {
  return std::isfinite(value) ? OrderedJson(value) : OrderedJson(nullptr);
}

OrderedJson json_number(const std::optional<double>& value) {
  return value ? json_number(*value) : OrderedJson(nullptr);
}

OrderedJson timing_json(const Timing& timing) {
  return {{"min_us", json_number(timing.min_us)},
          {"median_us", json_number(timing.median_us)},
          {"p90_us", json_number(timing.p90_us)},
          {"samples", timing.samples},
          {"calls", timing.calls}};
}

OrderedJson machine_json(const Machine& machine) {
  return {{"processor", machine.processor},
          {"cores", machine.cores},
          {"memory_bytes", machine.memory_bytes},
          {"cache_bytes", machine.cache_bytes},
          {"room", machine.room},
          {"why", machine.why},
          {"threads", machine.threads},
          {"compiler", machine.compiler},
          {"build", machine.build},
          {"commit", machine.commit},
          {"libraries", OrderedJson(machine.libraries)},
          {"date", machine.date}};
}

OrderedJson ceiling_json(const Ceiling& ceiling) {
  return {{"traffic", name_of(ceiling.traffic)},
          {"footprint_bytes", ceiling.footprint},
          {"cold", ceiling.cold},
          {"how", ceiling.how},
          {"first", timing_json(ceiling.first)},
          {"last", timing_json(ceiling.last)},
          {"gb_per_s", json_number(gb_per_s(ceiling))}};
}

OrderedJson row_json(const Row& row) {
  OrderedJson more = OrderedJson::object();
  for (const auto& [name, value] : row.more) more[name] = json_number(value);
  return {{"name", row.name},
          {"group", row.group},
          {"cold", row.cold},
          {"timing", timing_json(row.timing)},
          {"again", timing_json(row.again)},
          {"bytes", json_number(row.work.bytes)},
          {"flops", json_number(row.work.flops)},
          {"traffic", name_of(row.traffic)},
          {"ceiling_gb_per_s", json_number(row.ceiling_gb_per_s)},
          {"checked", row.checked},
          {"more", std::move(more)},
          {"gb_per_s", json_number(gb_per_s(row))},
          {"gflop_per_s", json_number(gflop_per_s(row))},
          {"share_of_ceiling", json_number(share_of_ceiling(row))},
          {"noise", json_number(noise(row))}};
}

OrderedJson compared_json(const Compared& row) {
  return {{"name", row.name},
          {"cold", row.cold},
          {"before_us", json_number(row.before_us)},
          {"now_us", json_number(row.now_us)},
          {"ratio", json_number(row.ratio)},
          {"min_ratio", json_number(row.min_ratio)},
          {"noise_floor", json_number(row.floor)},
          {"verdict", name_of(row.verdict)}};
}

template <class Item, class ToJson>
OrderedJson array_of(const std::vector<Item>& items, const ToJson& to_json) {
  OrderedJson array = OrderedJson::array();
  for (const Item& item : items) array.push_back(to_json(item));
  return array;
}

OrderedJson comparison_json(const Comparison& comparison) {
  const auto one_sided = [](const OneSided& row) {
    return OrderedJson{{"name", row.name}, {"cold", row.cold}};
  };
  return {{"before", comparison.before},
          {"slower_factor", json_number(comparison.slower_factor)},
          {"any_slower", comparison.any_slower_than(comparison.slower_factor)},
          {"warnings", comparison.warnings},
          {"rows", array_of(comparison.rows, compared_json)},
          {"only_before", array_of(comparison.only_before, one_sided)},
          {"only_now", array_of(comparison.only_now, one_sided)}};
}

}  // namespace

std::string to_json(const Report& report, const Comparison* compared) {
  const auto left_out = [](const LeftOut& one) {
    return OrderedJson{{"name", one.name}, {"reason", one.reason}};
  };
  OrderedJson json = {{"schema_version", kSchemaVersion},
                      {"version", report.version},
                      {"smoke", report.smoke},
                      {"machine", machine_json(report.machine)},
                      {"ceilings", array_of(report.ceilings, ceiling_json)},
                      {"rows", array_of(report.rows, row_json)},
                      {"left_out", array_of(report.left_out, left_out)}};
  if (compared != nullptr) json["compared_with"] = comparison_json(*compared);
  // A processor's name that is not UTF-8 must not cost a finished run.
  return json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

}  // namespace cuthresh::bench
