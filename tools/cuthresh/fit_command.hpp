#pragma once

#include <CLI/App.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cuthresh::command {

struct FitArguments {
  std::string config;
  std::vector<std::string> overrides;
  std::optional<std::string> out;
  std::optional<std::string> device;
  std::optional<std::string> engine;
  std::optional<std::string> init;
  std::optional<std::int64_t> threads;
  bool force = false;
  bool quiet = false;
  bool json = false;
};

/// Declares `cuthresh fit`; `arguments` must outlive `app`.
const CLI::App* add_fit(CLI::App& app, FitArguments& arguments);

/// Returns the exit status; throws InputError.
int run_fit(const FitArguments& arguments);

}  // namespace cuthresh::command
