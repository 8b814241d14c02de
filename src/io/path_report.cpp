#include "io/path_report.hpp"

#include <limits>

#include "cuthresh/error.hpp"
#include "io/numbers.hpp"

namespace cuthresh {
namespace {

constexpr const char* kPathSchema = "cuthresh/path/1";

double read_loss(const OrderedJson& json, const char* name) {
  const OrderedJson& value = json.at(name);
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

std::optional<double> read_accuracy(const OrderedJson& json, const char* name) {
  const OrderedJson& value = json.at(name);
  if (value.is_null()) return std::nullopt;
  return value.get<double>();
}

NetworkScores read_network(const OrderedJson& json) {
  return {json.at("steps").get<std::int64_t>(), read_loss(json, "train_loss"),
          read_loss(json, "test_loss"), read_accuracy(json, "train_accuracy"),
          read_accuracy(json, "test_accuracy")};
}

OrderedJson point_json(const PathPoint& point) {
  return {{"target", point.target},   {"nnz", point.nnz},
          {"numel", point.numel},     {"achieved", point.achieved},
          {"lambda", point.lambda},   {"scores", scores_json(point.scores)},
          {"seconds", point.seconds}, {"folder", point.folder}};
}

PathPoint read_point(const OrderedJson& json) {
  return {json.at("target").get<double>(),      json.at("nnz").get<std::int64_t>(),
          json.at("numel").get<std::int64_t>(), json.at("achieved").get<bool>(),
          json.at("lambda").get<double>(),      read_network(json.at("scores")),
          json.at("seconds").get<double>(),     json.at("folder").get<std::string>()};
}

}  // namespace

std::string path_json(const PathResult& result, const std::string& key) {
  OrderedJson points = OrderedJson::array();
  for (const PathPoint& point : result.points) points.push_back(point_json(point));
  const OrderedJson json = {{"schema", kPathSchema},
                            {"complete", result.complete},
                            {"dense", scores_json(result.dense)},
                            {"points", std::move(points)},
                            {"key", key}};
  return json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

std::optional<PathResult> read_path_json(const std::string& text, const std::string& name,
                                         const std::string& key) {
  try {
    const OrderedJson json = OrderedJson::parse(text);
    if (json.at("schema") != kPathSchema) {
      throw InputError({name, std::string("is no ") + kPathSchema, json.at("schema").dump(),
                        "take another folder, or replace it with run.force"});
    }
    if (json.at("key") != key) return std::nullopt;
    PathResult result;
    for (const OrderedJson& point : json.at("points")) result.points.push_back(read_point(point));
    if (!json.at("dense").is_null()) result.dense = read_network(json.at("dense"));
    return result;
  } catch (const OrderedJson::exception& error) {
    throw InputError({name, std::string("cannot be read as a path: ") + error.what(), "",
                      "take another folder, or replace it with run.force"});
  }
}

std::string path_csv(const PathResult& result) {
  std::string text =
      "target,nnz,numel,sparsity,reached,lambda,train_loss,test_loss,train_accuracy,test_accuracy,"
      "steps,seconds,folder\n";
  const auto cell = [&text](const auto& value) {
    append_number(text, value);
    text += ',';
  };
  for (const PathPoint& p : result.points) {
    cell(p.target);
    cell(p.nnz);
    cell(p.numel);
    cell(1.0 - static_cast<double>(p.nnz) / static_cast<double>(p.numel));
    text += p.achieved ? "1," : "0,";
    cell(p.lambda);
    append_losses(text, p.scores);
    text += ',';
    cell(p.scores.steps);
    cell(p.seconds);
    text += p.folder + '\n';
  }
  return text;
}

}  // namespace cuthresh
