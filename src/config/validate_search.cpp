#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <utility>

#include "config/checks.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::config {
namespace {

/// Throws for `path`, with its place and the value as written (`value` when it was not read from a
/// file).
[[noreturn]] void refuse_search(const Origins& origins, const std::string& path, std::string what,
                                const std::string& value, std::string remedy) {
  throw InputError(
      {origins.where(path), std::move(what), origins.value(path, value), std::move(remedy)});
}

bool trains_once(const SearchConfig& search) {
  return search.method == "fixed" || search.method == "one-run";
}

void check_lambda(const SearchConfig& search, const Origins& origins) {
  const auto& lambda = search.lambda;
  const std::string path = "search.lambda";
  const std::string value = fmt::format("{}", lambda);
  if (search.method == "fixed") {
    if (lambda.size() == 1) return;
    refuse_search(origins, path,
                  "search.method = \"fixed\" trains at one lambda and needs exactly that number",
                  value, "write for instance lambda = 1e-4, or 0 for a dense network");
  }
  if (lambda.empty()) return;
  if (search.method == "one-run") {
    if (lambda.size() == 1 && static_cast<float>(lambda[0]) > 0.0f) return;
    refuse_search(
        origins, path,
        "search.method = \"one-run\" takes one number above 0, with which lambda begins, or none",
        value,
        "remove the key, or set search.method = \"gradient-median\" for a search in a bracket");
  }
  if (lambda.size() != 2) {
    refuse_search(origins, path,
                  fmt::format("search.method = \"{}\" takes a bracket of two numbers, or none",
                              search.method),
                  value, "write lambda = [low, high], or set search.method to fixed");
  }
  // As the search will hold them: two ends that are one number in float leave nothing between them.
  if (!(static_cast<float>(lambda[0]) < static_cast<float>(lambda[1]))) {
    refuse_search(origins, path,
                  "the lower end of the bracket must be below the upper end (in single precision)",
                  value,
                  "write the smaller number first, or remove the key to have the bracket found");
  }
  if (search.method == "log-midpoint" && static_cast<float>(lambda[0]) == 0.0f) {
    refuse_search(origins, path, "log-midpoint needs a lower end above 0", value,
                  "write for instance lambda = [1e-7, 1e-3]");
  }
}

void check_warm_start(const SearchConfig& search, const Origins& origins) {
  if (!search.warm_start || !trains_once(search)) return;
  refuse_search(
      origins, "search.warm_start",
      fmt::format("search.method = \"{}\" trains once, so no round follows another", search.method),
      "true", "remove the key, or set search.method = \"interpolate\"");
}

void check_one_run(const SearchConfig& search, const Origins& origins) {
  if (search.method != "one-run") return;
  const std::vector<double>& ramp = search.ramp;
  if (ramp.size() != 2 || !(ramp[0] < ramp[1])) {
    refuse_search(origins, "search.ramp", "must be two shares of the steps, the smaller one first",
                  fmt::format("{}", ramp), "write for instance ramp = [0.05, 0.6]");
  }
  if (!(ramp[1] + search.finish + search.debias <= 1.0)) {
    refuse_search(origins, "search.ramp",
                  "ends after the steps that search.finish and search.debias take begin",
                  fmt::format("{} + {} + {} > 1", ramp[1], search.finish, search.debias),
                  "let the ramp end earlier, or finish and debias take less");
  }
}

void check_parallel(const FitConfig& config, const Origins& origins) {
  const SearchConfig& search = config.search;
  if (search.parallel == 1) return;
  const std::string path = "search.parallel";
  const std::string value = std::to_string(search.parallel);
  if (trains_once(search)) {
    refuse_search(origins, path,
                  fmt::format("search.method = \"{}\" trains once, so there is one training at a "
                              "time",
                              search.method),
                  value, "remove the key, or set search.method = \"interpolate\"");
  }
  if (config.sparsity.layers.size() > 1 || config.sparsity.allocation != "none") {
    refuse_search(origins, path,
                  "several trainings at once divide the bracket of one λ, and here several layers "
                  "have one each",
                  value, "set it to 1, or give one target in all");
  }
}

}  // namespace

void check_search(const FitConfig& config, const Origins& origins) {
  check_lambda(config.search, origins);
  check_warm_start(config.search, origins);
  check_one_run(config.search, origins);
  check_parallel(config, origins);
}

}  // namespace cuthresh::config
