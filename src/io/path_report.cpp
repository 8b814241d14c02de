#include "io/path_report.hpp"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "cuthresh/error.hpp"

namespace cuthresh {
namespace {

using PathJson = nlohmann::ordered_json;

constexpr const char* kPathSchema = "cuthresh/path/1";

PathJson finite(double value) {
  return std::isfinite(value) ? PathJson(value) : PathJson(nullptr);
}

PathJson accuracy_json(const std::optional<double>& value) {
  return value ? PathJson(*value) : PathJson(nullptr);
}

PathJson network_json(const NetworkScores& scores) {
  return {{"steps", scores.steps},
          {"train_loss", finite(scores.train_loss)},
          {"test_loss", finite(scores.test_loss)},
          {"train_accuracy", accuracy_json(scores.train_accuracy)},
          {"test_accuracy", accuracy_json(scores.test_accuracy)}};
}

double read_loss(const PathJson& json, const char* name) {
  const PathJson& value = json.at(name);
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

std::optional<double> read_accuracy(const PathJson& json, const char* name) {
  const PathJson& value = json.at(name);
  if (value.is_null()) return std::nullopt;
  return value.get<double>();
}

NetworkScores read_network(const PathJson& json) {
  return {json.at("steps").get<std::int64_t>(), read_loss(json, "train_loss"),
          read_loss(json, "test_loss"), read_accuracy(json, "train_accuracy"),
          read_accuracy(json, "test_accuracy")};
}

PathJson point_json(const PathPoint& point) {
  return {{"target", point.target},   {"nnz", point.nnz},
          {"numel", point.numel},     {"achieved", point.achieved},
          {"lambda", point.lambda},   {"scores", network_json(point.scores)},
          {"seconds", point.seconds}, {"folder", point.folder}};
}

PathPoint read_point(const PathJson& json) {
  return {json.at("target").get<double>(),      json.at("nnz").get<std::int64_t>(),
          json.at("numel").get<std::int64_t>(), json.at("achieved").get<bool>(),
          json.at("lambda").get<double>(),      read_network(json.at("scores")),
          json.at("seconds").get<double>(),     json.at("folder").get<std::string>()};
}

std::string cell(double value) {
  return std::isfinite(value) ? fmt::format("{}", value) : "";
}

std::string cell(const std::optional<double>& value) {
  return value ? fmt::format("{}", *value) : "";
}

}  // namespace

std::string path_json(const PathResult& result, const std::string& key) {
  PathJson points = PathJson::array();
  for (const PathPoint& point : result.points) points.push_back(point_json(point));
  const PathJson json = {{"schema", kPathSchema},
                         {"complete", result.complete},
                         {"dense", result.dense ? network_json(*result.dense) : PathJson(nullptr)},
                         {"points", std::move(points)},
                         {"key", key}};
  return json.dump(2, ' ', false, PathJson::error_handler_t::replace) + "\n";
}

std::optional<PathResult> read_path_json(const std::string& text, const std::string& name,
                                         const std::string& key) {
  try {
    const PathJson json = PathJson::parse(text);
    if (json.at("schema") != kPathSchema) {
      throw InputError({name, std::string("is no ") + kPathSchema, json.at("schema").dump(),
                        "take another folder, or replace it with run.force"});
    }
    if (json.at("key") != key) return std::nullopt;
    PathResult result;
    for (const PathJson& point : json.at("points")) result.points.push_back(read_point(point));
    if (!json.at("dense").is_null()) result.dense = read_network(json.at("dense"));
    return result;
  } catch (const PathJson::exception& error) {
    throw InputError({name, std::string("cannot be read as a path: ") + error.what(), "",
                      "take another folder, or replace it with run.force"});
  }
}

std::string path_csv(const PathResult& result) {
  std::string text =
      "target,nnz,numel,sparsity,reached,lambda,train_loss,test_loss,train_accuracy,test_accuracy,"
      "steps,seconds,folder\n";
  for (const PathPoint& p : result.points) {
    const double sparsity = 1.0 - static_cast<double>(p.nnz) / static_cast<double>(p.numel);
    text += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{}\n", p.target, p.nnz, p.numel,
                        sparsity, p.achieved ? 1 : 0, p.lambda, cell(p.scores.train_loss),
                        cell(p.scores.test_loss), cell(p.scores.train_accuracy),
                        cell(p.scores.test_accuracy), p.scores.steps, p.seconds, p.folder);
  }
  return text;
}

}  // namespace cuthresh
