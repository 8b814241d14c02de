// cuthresh-peer-bench: our side of tools/peers/compare.py. One JSON line on standard output for
// each line on standard input; the protocol is in tools/peers/README.md.

#include <CLI/CLI.hpp>
#include <exception>
#include <functional>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <variant>

#include "bench/peer/case.hpp"
#include "bench/peer/memory.hpp"
#include "core/registry.hpp"
#include "cuthresh/error.hpp"

namespace cuthresh::peer {
namespace {

using Json = nlohmann::ordered_json;
using MakeCase = std::function<std::unique_ptr<Case>(Backend&, const ModelFile&)>;

constexpr std::int64_t kLarge = 25'000'000;
constexpr std::int64_t kMiddle = 1'000'000;

/// `make` for one tensor of `size`; such a case needs nothing of the state file.
MakeCase over(std::unique_ptr<Case> (*make)(Backend&, std::int64_t), std::int64_t size) {
  return [=](Backend& backend, const ModelFile&) { return make(backend, size); };
}

MakeCase medians_over(const std::vector<std::int64_t>& sizes) {
  return [=](Backend& backend, const ModelFile&) { return make_median_case(backend, sizes); };
}

const std::map<std::string, MakeCase> kCases = {
    {"bracket_median_1m", medians_over({kMiddle})},
    {"bracket_median_25m", medians_over({kLarge})},
    {"certificate_25m", over(make_certificate_case, kLarge)},
    {"conv_step", make_conv_case},
    {"count_25m", over(make_count_case, kLarge)},
    {"kth_25m", over(make_kth_case, kLarge)},
    {"mackey_glass_step", make_training_case},
    {"prox_step_25k", make_small_prox_case},
    {"prox_step_25m", make_large_prox_case},
    // The weights of conv_step, a bracket each.
    {"search_pivot_687k", medians_over({288, 18432, 73728, 589824, 5120})}};

class Server {
 public:
  Server(Backend& backend, const ModelFile& state) : backend_(backend), state_(state) {}

  /// The answer to one request, `CASE`, `check CASE` or `memory CASE`.
  Json answer(const std::string& request) {
    std::istringstream words(request);
    std::string verb, name, rest;
    words >> name;
    if (name == "check" || name == "memory") {
      verb = name;
      name.clear();
      words >> name;
    }
    const auto found = kCases.find(name);
    if (found == kCases.end() || words >> rest) return unknown(request);
    if (verb == "memory") {
      case_.reset();
      name_.clear();
      const std::int64_t before = restart_peak();
      found->second(backend_, state_)->time();
      return {{"case", name}, {"before_kib", before}, {"peak_kib", peak_resident()}};
    }
    if (name != name_) {
      case_.reset();  // one at a time: the large case holds 300 MB
      name_.clear();  // the next may fail to be made
      case_ = found->second(backend_, state_);
      name_ = name;
    }
    if (verb == "check") {
      Json answer = {{"case", name}};
      for (const auto& [figure, value] : case_->check()) {
        std::visit([&, &key = figure](auto number) { answer[key] = number; }, value);
      }
      return answer;
    }
    const Timing timing = case_->time();
    return {{"case", name},
            {"min_ms", timing.min_ms},
            {"median_ms", timing.median_ms},
            {"samples", timing.samples}};
  }

 private:
  static Json unknown(const std::string& request) {
    std::string names;
    for (const auto& [name, make] : kCases) names += (names.empty() ? "" : ", ") + name;
    return {{"error", "unknown request '" + request +
                          "'; expected CASE, check CASE or memory CASE with CASE of " + names}};
  }

  Backend& backend_;
  const ModelFile& state_;
  std::string name_;
  std::unique_ptr<Case> case_;
};

void say(const Json& json) {
  // A request may hold bytes that are no UTF-8; they must not keep the answer from being written.
  std::cout << json.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
}

void serve(const std::string& path, const std::string& device, std::int64_t threads) {
  const ModelFile state = read_safetensors(path);
  const ChosenBackend chosen = make_backend({.device = device, .threads = threads});
  say({{"ready", true},
       {"what", "cuthresh " CTH_VERSION ", " + chosen.backend->description()},
       {"device", device},
       {"threads", threads}});
  Server server(*chosen.backend, state);
  for (std::string line; std::getline(std::cin, line);) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      say(server.answer(line));
    } catch (const std::exception& error) {
      say({{"error", error.what()}});
    }
  }
}

}  // namespace
}  // namespace cuthresh::peer

int main(int argc, char** argv) {
  CLI::App app(
      "Times steps of cuthresh for tools/peers/compare.py (protocol: tools/peers/README.md)");
  std::string state;
  std::string device = "cpu";
  bool serve = false;  // the only way to run it
  std::int64_t threads = 0;
  app.add_flag("--serve", serve, "answer requests on standard input")->required();
  app.add_option("--device", device, "cpu (as if not given) or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--threads", threads, "threads to take")->required()->check(CLI::Range(1, 1024));
  app.add_option("--state", state, "safetensors file with data, weights and gradients")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    cuthresh::peer::serve(state, device, threads);
    return 0;
  } catch (const cuthresh::InputError& error) {
    std::cerr << "cuthresh-peer-bench: " << error.what() << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "cuthresh-peer-bench: " << error.what() << '\n';
    return 1;
  }
}
