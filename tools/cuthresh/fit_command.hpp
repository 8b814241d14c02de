#pragma once

#include <CLI/App.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cuthresh/config.hpp"

namespace cuthresh::command {

struct FitArguments {
  std::string config;
  std::vector<std::string> overrides;
  std::optional<std::string> out;
  std::optional<std::string> device;
  std::optional<std::string> engine;
  std::optional<std::string> init;
  std::optional<std::int64_t> threads;
  bool fresh = false;
  bool force = false;
  bool quiet = false;
  bool json = false;
};

/// CONFIG and the options that a run of any kind takes; `arguments` must outlive `command`.
void add_run_options(CLI::App& command, FitArguments& arguments);

/// The file's values, then --set, then the options of their own name. Throws InputError.
FitConfig configuration(const FitArguments& arguments);

/// Declares `cuthresh fit`; `arguments` must outlive `app`.
const CLI::App* add_fit(CLI::App& app, FitArguments& arguments);

/// Returns the exit status; throws InputError.
int run_fit(const FitArguments& arguments);

}  // namespace cuthresh::command
